"""What an agent leaves to the other processes of its clone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from percyd.core.ids import agent_branch, plan_branch
from percyd.home import FileLock
from percyd.membership import Membership, bury_the_dead
from percyd.repo.worktrees import SlotClone
from tests.support.gitrepo import git, write_hook
from tests.support.shop import Shop
from tests.support.state import task


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def begun(shop: Shop) -> Membership:
    return Membership.begin(shop.percyd, threading.Event(), threading.Event())


def half_done(shop: Shop, member: Membership) -> Path:
    """What an attempt leaves that may publish nothing any more."""
    shop.take_in(task("p", "a"))
    base = shop.percyd.hub.fetch_refs([plan_branch("p")])[plan_branch("p")]
    assert base is not None
    slot = SlotClone.open(shop.percyd.home.slot(0), shop.percyd.hub)
    path = slot.checkout("p.a.1", agent_branch(member.agent.id, "p.a"), base)
    (path / "half.txt").write_text("half")
    return path


def test_what_a_cut_off_attempt_leaves_is_seen_to_by_whoever_lives(shop: Shop) -> None:
    member = begun(shop)
    path = half_done(shop, member)

    member.leave(0)
    assert path.is_dir()
    bury_the_dead(shop.percyd)

    assert not path.exists()
    assert git(shop.remote, "show", "refs/percy/rescue/p.a/1:half.txt") == "half"
    assert list(shop.percyd.home.locks.glob(f"{member.agent.id}*")) == []


def test_work_that_the_remote_does_not_take_now_is_tried_again(shop: Shop) -> None:
    member = begun(shop)
    path = half_done(shop, member)
    member.leave(0)
    write_hook(shop.remote, "update", 'case "$1" in refs/percy/rescue/*) exit 1;; esac')
    lock = shop.percyd.home.lock(member.agent.id)

    bury_the_dead(shop.percyd)
    assert path.is_dir()
    write_hook(shop.remote, "update", "exit 0")
    bury_the_dead(shop.percyd)
    assert path.is_dir()  # it rests for a while, or until the next start
    os.utime(lock, (0, 0))
    bury_the_dead(shop.percyd)

    assert not path.exists()
    assert not lock.exists()


def test_a_start_waits_for_no_rest(shop: Shop) -> None:
    member = begun(shop)
    path = half_done(shop, member)
    member.leave(0)
    lock = shop.percyd.home.lock(member.agent.id)
    lock.touch()

    begun(shop).leave(0)

    assert not path.exists()
    assert not lock.exists()


def test_what_lies_in_a_slot_is_rescued_by_whoever_takes_the_slot(shop: Shop) -> None:
    """Its owner's programs may have ended between the burial and the taking."""
    member = begun(shop)
    path = half_done(shop, member)
    member.leave(0)
    slot = FileLock(shop.percyd.home.lock("slot-0"))
    assert slot.acquire()
    bury_the_dead(shop.percyd, starting=True)
    slot.release()
    assert path.is_dir()
    assert list(shop.percyd.home.locks.glob(f"{member.agent.id}*")) == []

    other = Membership(shop.percyd, threading.Event(), threading.Event(), ExitStack())

    assert not path.exists()
    assert git(shop.remote, "show", "refs/percy/rescue/p.a/1:half.txt") == "half"
    other._held.close()


def test_who_dies_before_it_joins_is_seen_to_by_whoever_lives(shop: Shop) -> None:
    member = begun(shop)
    path = half_done(shop, member)
    member.leave(0)
    shop.percyd.home.lock(member.agent.id).unlink()
    # As a process that is killed leaves it, after it has taken the slot of the other.
    unborn = FileLock(shop.percyd.home.lock("box-0f0f0f"))
    assert unborn.acquire()
    bury_the_dead(shop.percyd)
    assert path.is_dir()
    unborn.release()
    unborn.path.write_text("4711")
    os.utime(unborn.path, (0, 0))

    bury_the_dead(shop.percyd)

    assert not path.exists()
    assert not unborn.path.exists()


def test_a_lock_that_nobody_has_held_yet_is_left_to_its_owner(shop: Shop) -> None:
    new = shop.percyd.home.lock("box-0f0f0f")
    new.touch()
    bury_the_dead(shop.percyd, starting=True)
    assert new.exists()
    os.utime(new, (0, 0))  # its owner was refused long ago
    bury_the_dead(shop.percyd)
    assert not new.exists()


def test_who_leaves_nothing_leaves_no_lock_file(shop: Shop) -> None:
    member = begun(shop)
    lock = shop.percyd.home.lock(member.agent.id)
    assert lock.exists()

    member.leave(0)

    assert not lock.exists()
