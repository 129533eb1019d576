"""What an agent leaves to the other processes of its clone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import agent_branch
from percyd.membership import Membership, bury_the_dead
from percyd.repo.worktrees import SlotClone
from tests.support.gitrepo import git
from tests.support.shop import Shop
from tests.support.state import task


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def begun(shop: Shop) -> Membership:
    return Membership.begin(shop.percyd, threading.Event(), threading.Event())


def test_what_a_cut_off_attempt_leaves_is_seen_to_by_whoever_lives(shop: Shop) -> None:
    member = begun(shop)
    shop.take_in(task("p", "a"))
    base = shop.percyd.hub.fetch_refs(["refs/heads/percy/plan/p"])
    tip = base["refs/heads/percy/plan/p"]
    assert tip is not None
    # As an attempt that may publish nothing any more.
    slot = SlotClone.open(shop.percyd.home.slot(0), shop.percyd.hub)
    path = slot.checkout("p.a.1", agent_branch(member.agent.id, "p.a"), tip)
    (path / "half.txt").write_text("half")

    member.leave(0)
    assert path.is_dir()
    bury_the_dead(shop.percyd)

    assert not path.exists()
    assert git(shop.remote, "show", "refs/percy/rescue/p.a/1:half.txt") == "half"
    assert list(shop.percyd.home.locks.glob(f"{member.agent.id}*")) == []


def test_who_leaves_nothing_leaves_no_lock_file(shop: Shop) -> None:
    member = begun(shop)
    lock = shop.percyd.home.lock(member.agent.id)
    assert lock.exists()

    member.leave(0)

    assert not lock.exists()
