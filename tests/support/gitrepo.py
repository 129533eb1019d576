"""Real repositories for tests: made, changed and asked with the git binary."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import psutil

from percyd.core.refs import Oid
from percyd.repo.hub import Hub
from percyd.repo.values import Remote

WHEN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
DATE = "2026-03-01T12:00:00Z"
#: A commit that exists nowhere.
NOWHERE = "1" * 40

_OPENED: list[Hub] = []


def git(repo: Path, *args: str, stdin: str | None = None, check: bool = True) -> str:
    """Run git in ``repo`` as a person would; returns its output, stripped."""
    env = dict(os.environ, GIT_AUTHOR_DATE=DATE, GIT_COMMITTER_DATE=DATE, LC_ALL="C")
    done = subprocess.run(
        ["git", "-C", str(repo), *args],
        env=env,
        input=stdin,
        text=True,
        capture_output=True,
        check=False,
    )
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.stderr}")
    return done.stdout.strip()


def make_repo(path: Path, files: Mapping[str, str] | None = None) -> Path:
    """A repository on branch ``main`` with one commit of ``files``."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    commit(path, files or {"README.md": "hello\n"}, "first")
    return path


def make_bare(path: Path) -> Path:
    """An empty bare repository."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "--bare", "-b", "main")
    return path


def commit(repo: Path, files: Mapping[str, str | None], message: str = "change") -> Oid:
    """Write ``files`` (None: remove) in a work tree and commit everything."""
    for name, content in files.items():
        target = repo / name
        if content is None:
            target.unlink()
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", message)
    return tip(repo)


def tip(repo: Path, name: str = "HEAD") -> Oid:
    """The commit that ``name`` stands for."""
    return git(repo, "rev-parse", "--verify", f"{name}^{{commit}}")


def refs(repo: Path, prefix: str = "refs/") -> dict[str, Oid]:
    """The refs of ``repo`` below ``prefix``."""
    rows = git(repo, "for-each-ref", "--format=%(refname) %(objectname)", prefix)
    return dict(row.split(" ") for row in rows.splitlines())


def make_remote(path: Path, files: Mapping[str, str] | None = None) -> Path:
    """A bare repository with one commit on ``main``."""
    seed = make_repo(path.with_name(path.name + "-seed"), files)
    bare = make_bare(path)
    git(seed, "push", "-q", str(bare), "main")
    return bare


def open_hub(path: Path, remote: Path, *, is_local: bool = False) -> Hub:
    """A hub on a remote that is a folder; closed when the test ends."""
    hub = Hub.open(path, Remote(str(remote), is_local=is_local))
    _OPENED.append(hub)
    return hub


def close_hubs() -> None:
    """Close what `open_hub` has opened."""
    while _OPENED:
        _OPENED.pop().close()


def write_hook(repo: Path, name: str, script: str) -> Path:
    """Install a hook, a ``sh`` script, in a repository."""
    hooks = Path(git(repo, "rev-parse", "--absolute-git-dir")) / "hooks"
    hooks.mkdir(exist_ok=True)
    hook = hooks / name
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)
    return hook


def has_ended(pid: int, within_s: float = 5) -> bool:
    """Whether a process ends: is gone, or a zombie that nobody has collected."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.01)):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        pause.wait(0.01)
    return False
