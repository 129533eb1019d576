"""When the loop looks: at once after a hint, by poll without one, and no more often."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from percyd.clock import SystemClock
from percyd.core.operations.agents import Join
from percyd.lookout import FIRST_PAUSE_S, Lookout
from percyd.session import Percyd
from tests.support.gitrepo import commit, git
from tests.support.shop import Shop
from tests.support.state import agent

LONG_S = 3600.0


class Timepiece(SystemClock):
    """A clock that a test moves; a wait takes no time, and is noted."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.waited: list[float] = []

    def boot_s(self) -> float:
        return self.s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        if event.is_set():
            return True
        self.s += timeout_s
        return False


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def clock() -> Timepiece:
    return Timepiece()


@pytest.fixture
def timed(shop: Shop, clock: Timepiece) -> Iterator[Percyd]:
    """The same clone, on a clock that a test moves."""
    percyd = replace(shop.percyd, clock=clock)
    yield percyd
    percyd.close()


@pytest.fixture
def wake() -> threading.Event:
    return threading.Event()


def lookout(percyd: Percyd, wake: threading.Event, takes_in: bool = True) -> Lookout:
    return Lookout(percyd, wake, threading.Event(), takes_in=takes_in)


def quiet(wake: threading.Event) -> None:
    """Until no hint comes any more."""
    while wake.wait(0.3):
        wake.clear()


@pytest.mark.parametrize("takes_in", [True, False])
def test_what_matters_to_a_loop_wakes_it_and_its_own_looks_do_not(
    shop: Shop, wake: threading.Event, takes_in: bool
) -> None:
    plans = shop.clone / ".percy/plans"
    plans.mkdir(parents=True)
    with lookout(shop.percyd, wake, takes_in) as out:
        out.look([])
        quiet(wake)
        for _ in range(3):
            out.look(["refs/heads/main"])
            out.pace(changed=False)
        assert not wake.wait(0.3)
        shop.percyd.home.wake.touch()
        assert wake.wait(10)
        quiet(wake)
        git(shop.clone, "push", "-q", "origin", "HEAD:refs/heads/other")
        assert wake.wait(10)
        quiet(wake)
        (plans / "p.yaml").write_text("title: P\n")
        assert wake.wait(10 if takes_in else 0.3) is takes_in
        wake.clear()
        commit(shop.clone, {"a.txt": "a"})
        assert wake.wait(10 if takes_in else 0.3) is takes_in


def test_without_hints_the_pauses_grow_to_the_longest_and_a_hint_resets_them(
    timed: Percyd, clock: Timepiece, wake: threading.Event
) -> None:
    out = lookout(timed, wake)
    looks: list[float] = []
    for _ in range(14):
        assert out.is_due
        out.look([])
        looks.append(clock.s)
        out.pace(changed=False)
        out.wait(LONG_S)
    pauses = [round(b - a, 2) for a, b in pairwise(looks)]
    assert pauses[:3] == [0.3, 0.45, 0.67]
    assert pauses[-1] == 15.0
    wake.set()
    out.wait(LONG_S)
    wake.clear()
    assert out.is_due
    out.look([])
    out.pace(changed=True)
    before = clock.s
    out.wait(LONG_S)
    assert round(clock.s - before, 2) == FIRST_PAUSE_S


def test_what_the_loop_does_itself_is_no_look_and_after_a_failure_waits_for_one(
    timed: Percyd, clock: Timepiece, wake: threading.Event
) -> None:
    out = lookout(timed, wake)
    out.look([])
    for _ in range(20):
        out.pace(changed=False)
    out.wait(1.0)
    assert not out.is_due
    out.back_off()
    out.wait(0.05)
    assert clock.waited[-1] > 1.0
    assert out.is_due


def test_many_hints_are_one_look_and_two_looks_are_a_little_apart(
    timed: Percyd, clock: Timepiece, wake: threading.Event
) -> None:
    out = lookout(timed, wake)
    out.look([])
    out.pace(changed=False)
    for _ in range(100):
        wake.set()
    out.wait(LONG_S)
    wake.clear()
    out.look([])
    assert 0 < clock.waited[-1] <= 0.05
    out.pace(changed=False)
    assert not out.is_due


def test_a_look_finds_what_others_did_and_where_branches_stand(
    shop: Shop, wake: threading.Event
) -> None:
    out = lookout(shop.percyd, wake)
    before = shop.store.state
    assert out.look(["refs/heads/main", "refs/heads/none"])["refs/heads/main"]
    assert shop.store.state.tip == before.tip
    assert shop.store.state.read_number > before.read_number
    other = shop.clone.with_name("other")
    git(shop.clone, "clone", "-q", str(shop.remote), str(other))
    there = Percyd.open(other, dict(shop.percyd.environ))
    there.store.apply(Join(there.store.stamp(), agent("box-000009")))
    there.close()
    out.look([])
    assert shop.store.state.tip != before.tip


def test_the_hooks_find_where_to_knock(shop: Shop, wake: threading.Event) -> None:
    with lookout(shop.percyd, wake):
        lines = shop.percyd.home.woken_for.read_text().splitlines()
    assert lines == sorted([str(shop.clone / ".git"), str(shop.remote)])
