"""S12: a state branch that is not one to build on is left alone, named, and mended."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from percyd.home import Home
from tests.support import tampering
from tests.support.gitrepo import commit, git, make_bare, make_repo
from tests.support.newuser import PROJECT, Done, percyd, settings
from tests.support.tampering import STATE, Branch

TWO = """\
title: Two
defaults: {max_attempts: 1}
tasks:
  - {id: a, title: A, run: test -e go && echo a > a.txt}
  - {id: b, title: B, run: cat a.txt > b.txt, depends_on: [a]}
"""
THREE = """\
title: Three
tasks: [{id: a, title: A, run: echo three > three.txt}]
"""
#: Everything that would write, if it could.
WRITERS = (
    ("serve", "--until-idle"),
    ("plan", "submit", ".percy/plans/three.yaml"),
    ("task", "retry", "two.a"),
    ("init",),
)
COMMAND = re.compile(r": ((?:git|mv) .*)$")
#: Runs one command line after the other as the program does: Python starts only once.
_ONE_BY_ONE = """
import contextlib, io, json, sys
from percyd.cli.main import main
done = []
for args in json.load(sys.stdin):
    sys.argv = ["percyd", *args]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
    out.seek(0), err.seek(0)
    done.append([code, out.read(), err.read()])
print(json.dumps(done))
"""

pytestmark = [pytest.mark.spoiled, pytest.mark.timeout(120)]


@dataclass(frozen=True)
class Site:
    """A clone that has worked with percyd, and its remote."""

    clone: Path
    remote: Path
    home: Path

    @classmethod
    def at(cls, folder: Path) -> Site:
        clone = folder / "shop"
        home = Home.of(folder / "state", "shop", clone / ".git").path
        return cls(clone, folder / "shop.git", home)

    @property
    def hub(self) -> Path:
        return self.home / "hub.git"

    def percyd(self, *args: str, code: int | None = 0) -> Done:
        return percyd(self.clone, *args, code=code)

    def run(self, *lines: Sequence[str]) -> list[Done]:
        """Run command lines one after the other."""
        ended = subprocess.run(
            [sys.executable, "-c", _ONE_BY_ONE],
            cwd=self.clone,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            input=json.dumps(lines),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return [Done(*row) for row in json.loads(ended.stdout)]

    def refs(self) -> dict[str, str]:
        """Every ref of the remote as its files have it, damaged ones too."""
        folder = self.remote / "refs"
        files = {
            str(path.relative_to(self.remote)): path.read_text("latin-1")
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        packed = self.remote / "packed-refs"
        return files | {"packed": packed.read_text() if packed.exists() else ""}


def make_site(folder: Path) -> Site:
    """A plan of two tasks that has failed, and one that nobody has taken in yet."""
    clone = make_repo(folder / "shop")
    site = Site.at(folder)
    git(clone, "remote", "add", "origin", str(make_bare(site.remote)))
    git(clone, "push", "-q", "-u", "origin", "main")
    site.percyd("init")
    files = {".percy/config.toml": settings(), ".percy/plans/two.yaml": TWO}
    commit(clone, dict(files), "plan")
    git(clone, "push", "-q")
    site.percyd("serve", "--until-idle", code=1)
    commit(clone, {".percy/plans/three.yaml": THREE}, "another plan")
    git(clone, "push", "-q")
    return site


@pytest.fixture
def site(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """A copy of a site of which there is one for each test process."""
    made = tmp_path_factory.getbasetemp() / "site"
    if not made.exists():
        with monkeypatch.context() as there:
            there.setenv("PERCYD_STATE_DIR", str(made / "state"))
            make_site(made)
    old, new = Site.at(made), Site.at(tmp_path)
    shutil.copytree(old.clone, new.clone, symlinks=True)
    shutil.copytree(old.remote, new.remote, symlinks=True)
    shutil.copytree(old.hub, new.hub, symlinks=True)
    for folder in (new.home.parent, new.home):
        folder.chmod(0o700)
    git(new.clone, "remote", "set-url", "origin", str(new.remote))
    return new


def command_in(done: Done) -> str:
    """The command that an error's hint ends with."""
    found = COMMAND.search(done.document["error"]["hint"])
    assert found, done.out
    return found[1]


def type_in(command: str, cwd: Path) -> None:
    """Run a command as a person would who copies it."""
    done = subprocess.run(
        ["sh", "-c", command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


def line_of(done: Done) -> str:
    """The one line of a command that ended with exit code 4."""
    assert done.code == 4, done
    assert "Traceback" not in done.err
    assert len(done.said) == 1, done.err
    assert done.said[0].isprintable()
    return done.said[0]


@pytest.mark.parametrize("name", list(tampering.SHAPES))
def test_it_is_left_alone_and_named_and_mended_as_it_is_printed(
    site: Site, name: str
) -> None:
    branch = Branch.of(site.remote)
    tampering.SHAPES[name](branch)
    before = site.refs()
    seen = branch.file.read_text("latin-1").strip() if branch.file.is_file() else ""

    *done, as_json = site.run(*WRITERS, ("status",), ("status", "--json"))

    assert site.refs() == before
    for line in map(line_of, done):
        assert branch.good in line
        assert seen in line or not re.fullmatch("[0-9a-f]{40}", seen)
        assert len(line) < 1500
    # What git says of a remote that breaks off is not always the same.
    assert len({line_of(one).partition("cannot be read")[0] for one in done}) == 1
    if name not in tampering.NO_WAY:
        type_in(command_in(as_json), site.clone)
        assert_goes_on(site, branch.good)


def assert_goes_on(site: Site, good: str) -> None:
    """The site works again, from no earlier than the good tip."""
    submit, retry, status = site.run(
        ("plan", "submit", ".percy/plans/three.yaml"),
        ("task", "retry", "two.a"),
        ("status", "--json"),
    )
    assert (submit.code, retry.code, status.code) == (0, 0, 0), (submit, retry, status)
    now = git(site.remote, "rev-parse", STATE)
    git(site.remote, "merge-base", "--is-ancestor", good, now)
    tasks = {task["id"]: task["status"] for task in status.document["tasks"]}
    assert tasks == {"two.a": "submitted", "two.b": "blocked", "three.a": "submitted"}
