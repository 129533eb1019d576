"""Real events of real folders: what is a hint, what is none, what is only polled."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import watchdog.observers

from percyd.intake.watch import Place, Watcher, refs_of
from tests.support.gitrepo import commit, git, make_repo

#: An event takes milliseconds; half a second where watchdog waits for a pair.
SOON_S = 10.0
#: What never comes is waited for no longer than this.
NEVER_S = 0.3


@pytest.fixture
def hint() -> threading.Event:
    return threading.Event()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def watcher(repo: Path, hint: threading.Event) -> Iterator[Watcher]:
    watcher = Watcher([*refs_of(repo / ".git"), Place(repo / "plans")], hint.set)
    watcher.start()
    yield watcher
    watcher.stop()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record)["why"] for record in caplog.records]


def test_a_commit_a_packed_ref_and_a_branch_with_slashes_are_hints(
    watcher: Watcher, repo: Path, hint: threading.Event
) -> None:
    for command in (
        ("commit", "-q", "--allow-empty", "-m", "more"),
        ("pack-refs", "--all"),
        ("branch", "deep/er/branch"),
        ("update-ref", "refs/heads/deep/er/branch", "HEAD~1"),
        ("symbolic-ref", "HEAD", "refs/heads/other"),
    ):
        hint.clear()
        git(repo, *command)
        assert hint.wait(SOON_S)


def test_a_commit_in_a_linked_worktree_is_a_hint(
    watcher: Watcher, repo: Path, tmp_path: Path, hint: threading.Event
) -> None:
    git(repo, "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    watcher.renew()
    settle(hint)

    commit(tmp_path / "linked", {"b.txt": "b"})

    assert hint.wait(SOON_S)


def settle(hint: threading.Event) -> None:
    """Until nothing comes any more."""
    while hint.wait(NEVER_S):
        hint.clear()


def test_looking_is_no_hint_nor_is_what_names_no_branch(
    watcher: Watcher, repo: Path, hint: threading.Event
) -> None:
    settle(hint)
    for command in (
        ("for-each-ref",),
        ("ls-remote", "."),
        ("log", "--all"),
        ("cat-file", "-p", "HEAD"),
        ("update-ref", "refs/percy/agents/a-000001", "HEAD"),
        ("hash-object", "-w", "README.md"),
        ("config", "some.key", "value"),
    ):
        git(repo, *command)
    (repo / ".git/index.lock").touch()
    (repo / ".git/refs/heads/main.lock").touch()

    assert not hint.wait(NEVER_S)


def test_a_folder_that_comes_and_goes_is_watched_while_it_is_there(
    watcher: Watcher,
    repo: Path,
    hint: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plans = repo / "plans"
    for _ in range(2):
        plans.mkdir()
        watcher.renew()
        settle(hint)
        (plans / "p.yaml").write_text("title: P")
        assert hint.wait(SOON_S)
        shutil.rmtree(plans)
        watcher.renew()

    assert said(caplog) == [f"{plans} is gone; it is looked at by poll"]


def test_where_no_watch_can_be_had_one_line_says_so(
    repo: Path,
    hint: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watchdog.observers.Observer, "schedule", full)
    watcher = Watcher([Place(repo)], hint.set)
    watcher.start()
    watcher.renew()
    watcher.renew()
    watcher.stop()

    (line,) = said(caplog)
    assert "inotify watch limit reached; it is looked at by poll" in line


def test_a_network_file_system_is_polled(
    repo: Path,
    hint: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Mount:
        mountpoint = str(repo)
        fstype = "nfs4"

    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [Mount])
    watcher = Watcher([Place(repo / ".git")], hint.set)
    watcher.start()
    watcher.renew()
    watcher.stop()

    (line,) = said(caplog)
    assert "is on a network file system (nfs4); it is looked at by poll" in line
