"""Where local state lives, and who may hold a lock on it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from percyd.errors import RefusedError, UsageError
from percyd.home import FileLock, Home, state_root, workspace_of


def home_in(tmp_path: Path) -> Home:
    return Home.of(tmp_path / "state", "shop", tmp_path / "clone" / ".git")


# The root


def test_the_state_directory_can_be_chosen() -> None:
    assert state_root({"PERCYD_STATE_DIR": "/var/lib/percyd"}) == Path(
        "/var/lib/percyd"
    )


def test_a_relative_state_directory_is_refused() -> None:
    with pytest.raises(UsageError, match="absolute"):
        state_root({"PERCYD_STATE_DIR": "state"})


def test_the_default_is_the_users_state_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PERCYD_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    root = state_root(os.environ)
    assert root.is_relative_to("/home/somebody")
    assert root.name == "percyd"


def test_without_home_the_accounts_home_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PERCYD_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    assert state_root(os.environ).is_absolute()
    assert state_root(os.environ).name == "percyd"


def test_without_any_home_a_chosen_directory_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PERCYD_STATE_DIR", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "")
    with pytest.raises(UsageError, match="set PERCYD_STATE_DIR"):
        state_root(os.environ)
    assert state_root({"PERCYD_STATE_DIR": "/s"}) == Path("/s")


# The home of one clone


def test_clones_of_one_name_have_homes_of_their_own(tmp_path: Path) -> None:
    first = Home.of(tmp_path, "shop", tmp_path / "a" / ".git")
    second = Home.of(tmp_path, "shop", tmp_path / "b" / ".git")
    assert first != second
    assert first.path.parent == tmp_path
    assert first.path.name.startswith("shop-")
    assert len(first.path.name) == len("shop-") + 12


def test_every_way_to_a_clone_leads_to_the_same_home(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "clone")
    plain = Home.of(tmp_path, "x", tmp_path / "clone" / ".git")
    assert Home.of(tmp_path, "x", tmp_path / "link" / ".." / "clone" / ".git") == plain
    assert Home.of(tmp_path, "x", tmp_path / "link" / ".git") == plain


@pytest.mark.parametrize("name", ["", "..", "a/../b", "ü", "-x", "a" * 300, "a\nb"])
def test_no_clone_name_leads_out_of_the_root(tmp_path: Path, name: str) -> None:
    home = Home.of(tmp_path, name, tmp_path)
    assert home.path.parent == tmp_path
    assert not home.path.name.startswith((".", "-"))
    home.ensure()


def test_everything_lies_in_the_home(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    places = [
        home.hub,
        home.slot(2),
        home.log_of("shop.api", 3),
        home.run_of("shop.api", 3),
        home.lock("daemon"),
        home.wake,
    ]
    assert [str(place.relative_to(home.path)) for place in places] == [
        "hub.git",
        "slots/2",
        "logs/shop.api/3.log",
        "runs/shop.api/3",
        "locks/daemon.lock",
        "hooks/wake",
    ]


def test_ensure_makes_folders_for_this_account_only(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    home.ensure()
    home.ensure()
    folders = [home.path.parent, home.path, home.slots, home.logs, home.runs]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


@pytest.mark.parametrize("entry", ["file", "folder"])
def test_a_state_directory_inside_a_repository_is_refused(
    tmp_path: Path, entry: str
) -> None:
    git = tmp_path / ".git"
    git.mkdir() if entry == "folder" else git.write_text("gitdir: elsewhere\n")
    with pytest.raises(
        UsageError, match=r"inside the repository .*; set PERCYD_STATE_DIR"
    ):
        home_in(tmp_path).ensure()
    assert not (tmp_path / "state").exists()


def test_a_state_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    home.ensure()
    home.path.chmod(0o770)
    with pytest.raises(UsageError, match=r"others may write .*; run: chmod go-w "):
        home.ensure()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_directory_of_another_account_is_refused(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    home.ensure()
    os.chown(home.path, 12345, -1)
    with pytest.raises(UsageError, match="belongs to another account"):
        home.ensure()


def test_a_path_in_a_slot_is_in_a_workspace(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    root = home.path.parent
    (tmp_path / "link").symlink_to(home.slot(1), target_is_directory=True)
    assert workspace_of(home.slot(1), root)
    assert workspace_of(home.slot(1) / "work" / "src", root)
    assert workspace_of(tmp_path / "link" / "x", root)
    assert not workspace_of(home.slots, root)
    assert not workspace_of(home.hub / "slots" / "1", root)
    assert not workspace_of(home.slot(1) / ".." / "..", root)
    assert not workspace_of(tmp_path, root)


# Locks


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    assert second.holder() is None
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert (first.holder(), second.holder()) == (os.getpid(), os.getpid())
    first.release()
    first.release()
    assert first.holder() is None
    assert second.acquire()
    second.release()


def test_as_a_context_a_held_lock_is_refused_by_name(tmp_path: Path) -> None:
    with FileLock(tmp_path / "daemon.lock") as lock:
        assert lock.holder() == os.getpid()
        with (
            pytest.raises(
                RefusedError, match=f"daemon.lock is held by .* {os.getpid()}"
            ),
            FileLock(tmp_path / "daemon.lock"),
        ):
            pass
    assert lock.holder() is None


def test_looking_at_a_lock_does_not_keep_anybody_from_taking_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "l")
    with (tmp_path / "l").open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not lock.acquire()
    assert lock.acquire()
    lock.release()


def test_a_lock_is_free_when_its_holder_was_killed(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from percyd.home import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
    path = tmp_path / "l"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert FileLock(path).holder() == holder.pid
        assert not FileLock(path).acquire()
        holder.kill()
        holder.wait()
        assert FileLock(path).holder() is None
        lock = FileLock(path)
        assert lock.acquire()
        assert path.read_text() == str(os.getpid())
        lock.release()


def test_a_lock_that_a_child_inherited_is_free_when_both_have_let_go(
    tmp_path: Path,
) -> None:
    lock, other = FileLock(tmp_path / "l"), FileLock(tmp_path / "l")
    with pytest.raises(ValueError, match="l is not held"):
        lock.fileno()
    assert lock.acquire()
    with subprocess.Popen(
        ["cat"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    ) as child:
        lock.release()
        assert not lock.acquire()
        assert not other.acquire()
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
        assert other.acquire()
    other.release()
