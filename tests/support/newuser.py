"""A new user of percyd: a real repository, and the command line as it is installed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from tests.support import forked
from tests.support.gitrepo import commit, git, make_bare, make_repo, refs, tip

PROJECT = Path(__file__).parents[2]
TIMEOUT_S = 150
#: What a gate leaves behind when it imports the package is not to be committed.
_IGNORE = "__pycache__/\n"

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """What percyd itself has to say on stderr: no log lines."""
        return [line for line in self.err.splitlines() if line.startswith("percyd: ")]

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def start(*args: str, cwd: Path, **env: str) -> subprocess.Popen[str]:
    """Start ``percyd ARGS`` in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "percyd", *args],
        cwd=cwd,
        env={**_environ(), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _environ() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def finish(process: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> Done:
    """Wait for a started command; one that does not end is ended."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"did not end in {timeout_s} s\n{out}\n{err}") from None
    return Done(process.returncode, out, err)


def percyd(cwd: Path, *args: str, code: int | None = 0) -> Done:
    """Run ``percyd ARGS`` to its end; with ``code`` it must end that way."""
    ended, out, err = forked.run(args, cwd, _environ(), TIMEOUT_S)
    assert ended is not None, f"did not end in {TIMEOUT_S} s\n{out}\n{err}"
    done = Done(ended, out, err)
    assert code in (None, done.code), f"{args}: {done.code}\n{done.out}\n{done.err}"
    return done


@dataclass(frozen=True)
class NewUser:
    """A clone with percyd set up in it, and the remote that it was pushed to."""

    clone: Path
    remote: Path

    def percyd(self, *args: str, code: int | None = 0) -> Done:
        """Run a command in the clone."""
        return percyd(self.clone, *args, code=code)

    def commit_plan(self, name: str, plan: Document | str) -> None:
        """Write a plan file, commit it and push it."""
        text = plan if isinstance(plan, str) else yaml.safe_dump(dict(plan))
        commit(self.clone, {f".percy/plans/{name}": text}, f"Plan {name}")
        self.push()

    def push(self) -> None:
        """Push the current branch, if there is anywhere to push to."""
        if self.remote != self.clone:
            git(self.clone, "push", "-q", "origin", "main")

    def clone_again(self, name: str) -> Path:
        """Another clone of the remote, as on another machine."""
        path = self.clone.parent / name
        git(self.clone.parent, "clone", "-q", str(self.remote), str(path))
        return path

    def status(self) -> Any:
        """``percyd status --json``."""
        return self.percyd("status", "--json").document

    def task(self, name: str) -> Any:
        """One task, as ``status --json`` shows it."""
        (found,) = (t for t in self.status()["tasks"] if t["id"] == name)
        return found

    def plan_tip(self, plan: str) -> str:
        """The integration branch."""
        return tip(self.remote, f"refs/heads/percy/plan/{plan}")

    def file(self, plan: str, path: str) -> str:
        """A file on the integration branch."""
        return git(self.remote, "show", f"refs/heads/percy/plan/{plan}:{path}")

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """The remote's refs."""
        return refs(self.remote, prefix)

    def merges(self, plan: str) -> list[str]:
        """The ``Percy-Task`` of the merges on the integration branch, oldest first."""
        found = git(
            self.remote,
            "log",
            "--first-parent",
            "--reverse",
            "--format=%(trailers:key=Percy-Task,valueonly,separator=%x2C)",
            f"refs/heads/main..refs/heads/percy/plan/{plan}",
        )
        return found.splitlines()


def settings(**limits: float) -> str:
    """A configuration for tests: a short pause before the next attempt."""
    rows = {"backoff_s": 0.1, **limits}
    return 'base = "main"\n[limits]\n' + "".join(
        f"{k} = {v}\n" for k, v in rows.items()
    )


def new_user(
    folder: Path,
    files: Mapping[str, str] | None = None,
    *,
    with_remote: bool = True,
    **limits: float,
) -> NewUser:
    """A repository, its bare remote, ``percyd init``, a configuration: pushed."""
    clone = make_repo(folder / "shop", {".gitignore": _IGNORE, **(files or {})})
    remote = clone
    if with_remote:
        remote = make_bare(folder / "shop.git")
        git(clone, "remote", "add", "origin", str(remote))
        git(clone, "push", "-q", "-u", "origin", "main")
    user = NewUser(clone, remote)
    user.percyd("init", "--no-hooks")
    commit(clone, {".percy/config.toml": settings(**limits)}, "Set up percyd")
    user.push()
    return user


def click_sources() -> dict[str, str]:
    """The modules of the installed click, below ``lib/click/``."""
    package = Path(click.__file__).parent
    return {
        f"lib/click/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted(package.glob("*.py"))
    }


def checkout(clone: Path) -> dict[str, str]:
    """All of a user's checkout that percyd has no business with."""
    git_dir = clone / ".git"
    work = {
        str(path.relative_to(clone)): _digest(path)
        for path in sorted(clone.rglob("*"))
        if path.is_file() and git_dir not in path.parents
    }
    private = {name: _digest(git_dir / name) for name in ("index", "config", "HEAD")}
    return {
        **work,
        **private,
        "tip": tip(clone),
        "branches": str(
            {
                name: oid
                for name, oid in refs(clone, "refs/heads").items()
                if not name.startswith(("refs/heads/percy/", "refs/heads/agent/"))
            }
        ),
        "stash": git(clone, "stash", "list"),
        "worktrees": git(clone, "worktree", "list", "--porcelain"),
        "status": git(clone, "--no-optional-locks", "status", "--porcelain"),
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def meet(folder: Path, me: str, others: Sequence[str]) -> str:
    """Shell: say that ``me`` is there, and wait until all ``others`` have been."""
    wanted = " && ".join(f"[ -e '{folder}/{other}' ]" for other in others)
    return (
        f"touch '{folder}/{me}'; n=0; until {wanted}; do n=$((n+1)); "
        f"if [ $n -gt 1000 ]; then echo alone >&2; exit 9; fi; sleep 0.02; done"
    )


def copy_into(clone: Path, *sources: tuple[Path, str]) -> None:
    """Copy files into a clone and commit them."""
    for source, target in sources:
        path = clone / target
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
    commit(clone, {}, "Add tools")
