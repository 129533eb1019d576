"""Remotes that are down, silent, slow or here and there: nothing is lost or doubled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from percyd.clock import SystemClock
from percyd.core.ids import STATE_REF, plan_branch
from percyd.errors import (
    IllegalTransition,
    OutcomeUnknown,
    PercydError,
    RemoteUnreachable,
)
from percyd.state.heartbeat import Heart
from tests.support.checker import check
from tests.support.daemonised import DEADLINE_S, FarBench, FarRemote, beside, until
from tests.support.gitrepo import commit, git
from tests.support.newuser import NewUser, finish, new_user, start
from tests.support.proxy import FETCHES, PACKED, PUSHES, Proxy
from tests.support.state import plan, task

Fault = Callable[[Proxy], None]

#: What may happen to a push, and whether the server then has all of it.
FAULTS: dict[str, tuple[Fault, bool]] = {
    "down": (Proxy.refuse, False),
    "silent": (Proxy.black_hole, False),
    "silent to pushes": (lambda proxy: proxy.black_hole(after=PUSHES), False),
    "gone before the pack": (lambda proxy: proxy.cut(up=0, after=PACKED), False),
    "gone in the pack": (lambda proxy: proxy.cut(up=40, after=PACKED), False),
    "silent after the pack": (lambda proxy: proxy.half_open(after=PACKED), True),
    "gone with the answer": (lambda proxy: proxy.cut(down=0, after=PACKED), True),
    "gone in the answer": (lambda proxy: proxy.cut(down=9, after=PACKED), True),
}
#: Far above what a deadline of a second may come to, far below the default ones.
BOUND_S = 25.0


@pytest.mark.parametrize("name", FAULTS)
def test_a_write_under_a_fault_has_an_answer_in_time_and_is_done_once(
    bench: FarBench, remote: FarRemote, proxy: Proxy, name: str
) -> None:
    fault, arrives = FAULTS[name]
    bench.set_deadline(1.0)
    bench.store.refresh()
    before = remote.tip
    fault(proxy)

    error = beside(lambda: bench.enter(1)).exception(BOUND_S)

    if arrives:
        assert error is None
        assert remote.joins(1) == 1
    else:
        assert isinstance(error, OutcomeUnknown)
        assert remote.tip == before
    proxy.clear()
    bench.set_deadline(DEADLINE_S)
    bench.enter(2)
    assert remote.joins(1) == int(arrives)
    assert remote.joins(2) == 1


@pytest.mark.parametrize("name", ["down", "silent", "gone in the pack"])
def test_a_write_that_waits_for_the_remote_goes_on_once_it_is_back(
    bench: FarBench, remote: FarRemote, proxy: Proxy, name: str
) -> None:
    bench.store.refresh()
    bench.set_deadline(DEADLINE_S)
    bench.store.refresh()
    before = proxy.connections
    FAULTS[name][0](proxy)
    answer = beside(lambda: bench.enter(1))
    if name != "down":
        until(lambda: proxy.connections > before, "it has been tried")
    proxy.clear()
    proxy.drop()

    assert answer.result(BOUND_S).commit == remote.tip
    assert remote.joins(1) == 1


def test_an_answer_that_is_lost_for_both_refs_moves_both_once(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    base = bench.base(readme="hello")
    proxy.cut(down=0, after=PACKED)

    bench.take_in(plan(base=base), task("p", "a"))

    assert remote.refs[plan_branch("p")] == base
    assert sum("take-in" in line for line in remote.operations()) == 1


def test_a_read_of_a_silent_remote_says_that_it_cannot_be_reached(
    bench: FarBench, proxy: Proxy
) -> None:
    proxy.black_hole(after=FETCHES)
    error = beside(lambda: bench.backend.fetch_state(1.0)).exception(BOUND_S)
    assert isinstance(error, RemoteUnreachable)
    proxy.clear()
    assert bench.store.refresh().snapshot.agents


def test_whoever_waits_behind_a_silent_remote_is_answered_in_time(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    bench.set_deadline(1.0)
    bench.store.refresh()
    proxy.black_hole()
    answers = [beside(partial(bench.enter, n)) for n in range(1, 7)]

    errors = [answer.exception(BOUND_S) for answer in answers]

    assert all(isinstance(error, PercydError) for error in errors)
    proxy.clear()
    bench.set_deadline(DEADLINE_S)
    for number in range(1, 7):
        bench.enter(number)
    assert [remote.joins(n) for n in range(1, 7)] == [1] * 6


def test_a_beat_of_a_silent_remote_is_not_confirmed_and_the_next_one_is(
    bench: FarBench, proxy: Proxy
) -> None:
    heart = Heart(bench.backend, SystemClock(), bench.agent, busy=lambda: True)
    assert heart.beat(DEADLINE_S)
    left = heart.left_s()
    proxy.half_open()
    assert not heart.beat(1.0)
    assert heart.left_s() < left
    proxy.clear()
    assert heart.beat(DEADLINE_S)


def enter_all(bench: FarBench, numbers: range) -> None:
    """Let agents join, as a caller must that takes its answers at their word."""
    for number in numbers:
        in_doubt = False
        while True:
            try:
                bench.enter(number)
            except RemoteUnreachable:
                continue  # not done: whoever joins twice is refused
            except OutcomeUnknown:
                in_doubt = True
                continue
            except IllegalTransition:
                assert in_doubt
            break


@pytest.mark.timeout(120)
def test_a_flapping_remote_costs_tries_and_nothing_else(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    bench.set_deadline(60)
    bench.store.refresh()
    before = proxy.connections
    numbers = range(10, 30)
    answers = [beside(partial(enter_all, bench, numbers[n::4])) for n in range(4)]
    pause = threading.Event()
    for _ in range(8):
        proxy.refuse()
        pause.wait(0.1)
        proxy.clear()
        pause.wait(0.15)

    for answer in answers:
        answer.result(60)

    assert [remote.joins(number) for number in numbers] == [1] * 20
    assert proxy.connections - before < 200


def test_a_slow_remote_answers_late_and_is_not_asked_twice(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    bench.set_deadline(60)
    bench.store.refresh()
    proxy.delay(0.25, rate=20_000)
    before = proxy.connections
    bench.enter(1)
    bench.enter(2)
    assert proxy.connections == before + 2
    assert remote.operations()[-2:] == [
        f"join: box-00000{n} with 4 slots" for n in (1, 2)
    ]


# From the command line


SLOW_LEASE = "[lease]\nbeat_s = 1.0\nlease_s = 8.0\nidle_beat_s = 1.0\n"


@pytest.fixture
def user(tmp_path: Path, server: tuple[Path, Proxy], proxy: Proxy) -> Iterator[NewUser]:
    """A clone whose origin is reached through the proxy."""
    made = new_user(tmp_path)
    config = made.clone / ".percy/config.toml"
    commit(made.clone, {".percy/config.toml": config.read_text() + SLOW_LEASE}, "slow")
    tasks = [
        {"id": "a", "title": "A", "run": "echo a > a.txt"},
        {"id": "b", "title": "B", "run": "cat a.txt > b.txt", "depends_on": ["a"]},
    ]
    made.commit_plan("p.yaml", {"title": "P", "tasks": tasks})
    served = server[0] / tmp_path.name
    served.symlink_to(made.remote)
    git(made.clone, "remote", "set-url", "origin", proxy.url(tmp_path.name))
    yield made
    proxy.clear()


def has_closed(user: NewUser, plan_id: str) -> bool:
    log = git(user.remote, "log", "--format=%s", STATE_REF, "--")
    return f"close: {plan_id}" in log


def is_done(user: NewUser) -> None:
    """Every task is completed in its first attempt; the history is good."""
    shown = user.status()["tasks"]
    assert {t["status"] for t in shown} == {"completed"}
    assert all([a["outcome"] for a in t["attempts"]] == ["completed"] for t in shown)
    assert check(user.remote) == []
    assert git(user.remote, "fsck", "--connectivity-only", "--no-dangling") == ""


@pytest.mark.timeout(120)
def test_a_command_says_that_the_remote_cannot_be_reached(
    user: NewUser, proxy: Proxy
) -> None:
    proxy.refuse()
    done = user.percyd("plan", "submit", ".percy/plans/p.yaml", code=3)
    assert "cannot be reached" in done.err
    assert "Connection refused" in done.err


@pytest.mark.timeout(120)
def test_serve_outlives_a_remote_that_is_down_for_a_while(
    user: NewUser, proxy: Proxy
) -> None:
    process = start("serve", cwd=user.clone)
    try:
        until(lambda: has_closed(user, "p"), "the first plan is done", 60)
        proxy.refuse()
        assert process.stderr is not None
        assert any("waits" in line for line in process.stderr)
        proxy.clear()
        task = {"id": "c", "title": "C", "run": "echo c > c.txt"}
        user.commit_plan("q.yaml", {"title": "Q", "tasks": [task]})
        until(lambda: has_closed(user, "q"), "the second plan is done", 60)
    finally:
        process.terminate()
        done = finish(process)
    assert done.code == 0
    is_done(user)


@pytest.mark.timeout(120)
def test_a_slow_remote_costs_no_agent_its_lease(user: NewUser, proxy: Proxy) -> None:
    proxy.delay(0.1, rate=20_000)
    user.percyd("serve", "--until-idle")
    proxy.clear()
    is_done(user)
