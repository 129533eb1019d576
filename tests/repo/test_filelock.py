"""Locks between processes: whoever is stopped with one does not stop the others."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from percyd.errors import GitError
from percyd.repo import filelock
from percyd.repo.objects import write_commits
from percyd.repo.runner import Git
from percyd.repo.usage import Usage
from percyd.repo.values import NewCommit
from percyd.repo.worktrees import SlotClone
from tests.support.gitrepo import WHEN, make_bare, make_remote, open_hub

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "ab")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def stopped_holder(path: Path) -> Iterator[Callable[[], None]]:
    """A process that was stopped while it held the lock; the way to end it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )

    def end() -> None:
        holder.kill()
        holder.communicate()

    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            os.kill(holder.pid, signal.SIGSTOP)
            yield end
        finally:
            end()


def test_whoever_writes_commits_gives_up_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = Git(make_bare(tmp_path / "bare.git"))
    commits = [NewCommit("one", WHEN, {"a": b"1"})]
    with stopped_holder(git.git_dir / "percyd-pending") as end:
        with monkeypatch.context() as patch:
            patch.setattr(filelock, "WAIT_S", 0.1)
            with pytest.raises(GitError, match="percyd-pending is held by another"):
                write_commits(git, None, commits)
        end()
        assert write_commits(git, None, commits)


def test_a_slot_that_another_process_holds_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = make_remote(tmp_path / "remote.git", {"a": "a\n"})
    hub = open_hub(tmp_path / "hub.git", remote)
    slot = SlotClone.open(tmp_path / "slot", hub)
    with stopped_holder(tmp_path / "slot" / ".percyd" / "lock") as end:
        with monkeypatch.context() as patch:
            patch.setattr(filelock, "WAIT_S", 0.1)
            with pytest.raises(GitError, match="lock is held by another"):
                slot.pristine()
        end()
        slot.pristine()


def test_nobody_uses_a_repository_in_which_somebody_clears_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = make_bare(tmp_path / "bare.git")
    with stopped_holder(bare / "percyd-users") as end:
        with monkeypatch.context() as patch:
            patch.setattr(filelock, "WAIT_S", 0.1)
            with pytest.raises(GitError, match="percyd-users is held by another"):
                Usage(bare)
        end()
        first, second = Usage(bare), Usage(bare)
    first.end()
    second.end()


def test_a_lock_that_is_given_back_is_had_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with filelock.held(path), path.open("ab") as other:
        assert not filelock.try_to_take(other.fileno(), fcntl.LOCK_EX)
    with filelock.held(path):
        pass
