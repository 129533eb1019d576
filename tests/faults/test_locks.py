"""Lock files that somebody has left behind: named, waited for, and gone in the end."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from percyd.errors import ContentionError, GitError, OutcomeUnknown
from percyd.repo.hub import Hub
from percyd.repo.values import Remote
from percyd.repo.worktrees import SlotClone
from tests.support.daemonised import FarBench, FarRemote, beside, until
from tests.support.gitrepo import git, make_remote, open_hub, tip
from tests.support.proxy import PACKED, Proxy

STATE_LOCK = "refs/heads/percy/state.lock"
SEEN_LOCK = "refs/percyd/seen/state.lock"
#: What a fetch and a push do not need is in nobody's way.
HARMLESS = ("packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock")


def put(git_dir: Path, name: str, age_s: float = 0) -> Path:
    """A lock file that nobody holds."""
    path = git_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    then = path.stat().st_mtime - age_s
    os.utime(path, (then, then))
    return path


def be_quick(bench: FarBench) -> None:
    """Let git wait a tenth of a second for a lock in the hub, and not two."""
    git(bench.hub.path, "config", "core.filesRefLockTimeout", "100")


def test_a_stale_lock_of_the_branch_is_named_and_nothing_is_done_until_it_is_gone(
    bench: FarBench, remote: FarRemote
) -> None:
    before = remote.tip
    lock = put(remote.path, STATE_LOCK)

    with pytest.raises(ContentionError, match=r"percy/state\.lock'?: File exists"):
        bench.enter(1)

    assert remote.tip == before
    lock.unlink()
    bench.enter(1)
    assert remote.joins(1) == 1


def test_a_lock_that_goes_while_a_push_is_tried_again_is_nobodys_problem(
    bench: FarBench, remote: FarRemote
) -> None:
    lock = put(remote.path, STATE_LOCK)
    # The first push finds it and is refused; the server removes it before the next.
    remote.hook(
        "pre-receive",
        f"[ -e {remote.path}/once ] && rm -f {lock}; :> {remote.path}/once",
    )

    bench.enter(1)

    assert remote.joins(1) == 1
    assert not lock.exists()


@pytest.mark.parametrize("name", HARMLESS)
def test_a_lock_that_no_push_needs_is_in_nobodys_way(
    bench: FarBench, remote: FarRemote, name: str
) -> None:
    put(remote.path, name)
    put(bench.hub.path, name)
    other = FarBench(remote, 7)
    other.enter(7)

    bench.enter(1)

    assert [remote.joins(n) for n in (1, 7)] == [1, 1]


def test_a_stale_lock_in_the_hub_is_not_taken_for_a_damaged_branch(
    bench: FarBench, remote: FarRemote
) -> None:
    bench.store.refresh()
    FarBench(remote, 7).enter(7)
    be_quick(bench)
    lock = put(bench.hub.path, SEEN_LOCK)

    with pytest.raises(GitError, match=r"seen/state\.lock': File exists") as caught:
        bench.store.refresh()

    assert "push" not in str(caught.value)
    lock.unlink()
    assert bench.store.refresh().tip == remote.tip


def test_a_lock_in_the_hub_leaves_a_push_without_an_answer_in_doubt(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    bench.store.refresh()
    be_quick(bench)
    remote.hold("post-receive")
    answer = beside(lambda: bench.enter(1))
    until(remote.held, "the push has landed")
    lock = put(bench.hub.path, SEEN_LOCK)
    proxy.cut(up=0, down=0, after=PACKED)
    proxy.drop()

    assert isinstance(answer.exception(40), OutcomeUnknown)
    lock.unlink()
    proxy.clear()
    assert bench.store.refresh().tip == remote.tip
    assert remote.joins(1) == 1


def test_a_lock_on_what_is_built_is_named_and_costs_nothing_else(
    bench: FarBench, remote: FarRemote
) -> None:
    be_quick(bench)
    lock = put(bench.hub.path, "refs/percyd/pending.lock")
    with pytest.raises(GitError, match=r"pending\.lock': File exists"):
        bench.enter(1)
    lock.unlink()
    bench.enter(1)
    assert remote.joins(1) == 1


def test_the_first_process_in_a_hub_removes_what_dead_ones_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote = make_remote(tmp_path / "remote.git")
    path = tmp_path / "hub.git"
    with Hub.open(path, Remote(str(remote))):
        names = [SEEN_LOCK, *HARMLESS, "refs/percyd/pending.lock"]
        names += ["objects/pack/tmp_pack_x", "objects/0a/tmp_obj_x"]
        old = [put(path, name, age_s=60) for name in names]
        young = put(path, "refs/percyd/adopted.lock")
        with Hub.open(path, Remote(str(remote))):
            assert all(lock.exists() for lock in old)

    with caplog.at_level(logging.WARNING), Hub.open(path, Remote(str(remote))):
        assert not any(lock.exists() for lock in old)
        # A git process may outlive its percyd, and hold one for a moment.
        assert young.exists()
    assert "stale file removed" in caplog.text


def test_a_hub_that_is_used_keeps_its_locks_whoever_comes_and_goes(
    tmp_path: Path,
) -> None:
    remote = make_remote(tmp_path / "remote.git")
    path = tmp_path / "hub.git"
    with Hub.open(path, Remote(str(remote))):
        Hub.open(path, Remote(str(remote))).close()
        lock = put(path, SEEN_LOCK, age_s=60)
        Hub.open(path, Remote(str(remote))).close()
        assert lock.exists()
    Hub.open(path, Remote(str(remote))).close()
    assert not lock.exists()


def test_a_slot_begins_with_a_clone_that_no_lock_stops(tmp_path: Path) -> None:
    remote = make_remote(tmp_path / "remote.git")
    main = "refs/heads/main"
    hub = open_hub(tmp_path / "hub.git", remote)
    commit = hub.fetch_refs([main])[main]
    assert commit is not None
    clone = SlotClone.open(tmp_path / "slots/0", hub)
    branch = "refs/heads/agent/a-000001/p.t"
    for name in (*HARMLESS, "index.lock", "refs/heads/other.lock", f"{branch}.lock"):
        put(clone.git_dir, name)

    path = clone.checkout("p.t.1", branch, commit)
    put(clone.git_dir / "worktrees/p.t.1", "index.lock")
    put(clone.git_dir / "worktrees/p.t.1", "HEAD.lock")
    clone.switch_branch(path, branch, commit)
    clone.remove(path)

    assert tip(clone.checkout("p.t.1", branch, commit)) == commit
