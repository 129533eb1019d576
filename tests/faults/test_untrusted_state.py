"""S12: a state branch that is not one to build on is left alone, named, and mended."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
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
        """Run command lines one after the other, however they end."""
        return [self.percyd(*line, code=None) for line in lines]

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


def problem_in(doctor: Done, name: str) -> dict[str, str]:
    """The one check that `doctor` ended with exit code 4 for."""
    assert doctor.code == 4, doctor
    (found,) = (
        check
        for check in doctor.document["checks"]
        if check["mark"] == "problem" and check["name"] == name
    )
    return dict(found)


@pytest.mark.parametrize("name", list(tampering.SHAPES))
def test_it_is_left_alone_and_named_and_mended_as_it_is_printed(
    site: Site, name: str
) -> None:
    branch = Branch.of(site.remote)
    tampering.SHAPES[name](branch)
    before = site.refs()
    seen = branch.file.read_text("latin-1").strip() if branch.file.is_file() else ""

    *done, as_json, doctor = site.run(
        *WRITERS, ("status",), ("status", "--json"), ("doctor", "--json")
    )

    assert site.refs() == before
    found = problem_in(doctor, "state")
    assert branch.good in found["message"]
    assert found["hint"] == as_json.document["error"]["hint"]
    for line in map(line_of, done):
        assert branch.good in line
        assert seen in line or not re.fullmatch("[0-9a-f]{40}", seen)
        assert len(line) < 1500
    # What git says of a remote that breaks off is not always the same; and `status` has
    # the command on a line of its own.
    ends = re.compile(r"cannot be read.*|:( (git|mv) .*)?$")
    assert len({ends.sub("", line_of(one), count=1) for one in done}) == 1
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


def unpack(repo: Path) -> None:
    """Make every object of a repository a file of its own."""
    packs = repo / "objects/pack"
    aside = packs.rename(repo / "packs-aside")
    packs.mkdir()
    for pack in aside.glob("*.pack"):
        with pack.open("rb") as file:
            subprocess.run(
                ["git", f"--git-dir={repo}", "unpack-objects", "-q"],
                stdin=file,
                check=True,
            )
    shutil.rmtree(aside)


def hub_object(site: Site, what: str) -> Path:
    """One object of the tip that percyd has adopted, in its own repository."""
    unpack(site.hub)
    branch = Branch.of(site.remote)
    name = {
        "blob": f"{branch.good}:{branch.path('/a.json')}",
        "tree": f"{branch.good}^{{tree}}",
        "commit": branch.good,
        "old commit": f"{branch.good}~2",
    }[what]
    oid = git(site.hub, "rev-parse", name)
    return site.hub / "objects" / oid[:2] / oid[2:]


@pytest.mark.parametrize("how", [tampering.lose, tampering.flip])
@pytest.mark.parametrize("what", ["blob", "tree", "commit", "old commit"])
def test_damage_of_our_own_hub_is_no_fault_of_the_branch(
    site: Site, what: str, how: Callable[[Path], None]
) -> None:
    good = Branch.of(site.remote).good
    how(hub_object(site, what))
    before = site.refs()

    *done, as_json, doctor = site.run(
        ("status",), *WRITERS, ("status", "--json"), ("doctor", "--json")
    )

    if as_json.code == 0:
        # Git fetches a commit anew that it does not find, and old ones are not read.
        assert {one.code for one in done} == {0}
        git(site.remote, "merge-base", "--is-ancestor", good, STATE)
        return
    assert site.refs() == before
    for line in map(line_of, done):
        assert "own copy" in line
        assert good in line
    assert problem_in(doctor, "hub")["hint"] == as_json.document["error"]["hint"]
    type_in(command_in(as_json), site.clone)
    assert_goes_on(site, good)


@pytest.mark.parametrize(
    "name", sorted(set(tampering.CONTENTS) | {"format 2", "lost blob", "no bytes"})
)
def test_a_fresh_clone_begins_nothing_on_what_it_cannot_read(
    site: Site, name: str
) -> None:
    branch = Branch.of(site.remote)
    tampering.SHAPES[name](branch)
    shutil.rmtree(site.home)
    before = site.refs()

    done = site.run(*WRITERS, ("status",))

    assert site.refs() == before
    seen = "cannot be read" if name == "no bytes" else branch.file.read_text().strip()
    for line in map(line_of, done):
        assert seen in line


def test_a_bad_tip_is_mended_after_the_newest_good_commit(site: Site) -> None:
    branch = Branch.of(site.remote)
    tampering.SHAPES["bad and more"](branch)
    newest = git(site.remote, "rev-parse", f"{STATE}~2")
    (done,) = site.run(("status", "--json"))

    type_in(command_in(done), site.clone)

    assert git(site.remote, "log", "-1", "--format=%s%n%b", STATE).startswith(
        f"repair: the files of {newest[:10]}\nPercy-Operation: repair\nPercy-Op-Id: "
    )
    assert git(site.remote, "diff", newest, STATE) == ""


def test_what_is_put_aside_is_kept_and_nobody_elses_work_is_overwritten(
    site: Site,
) -> None:
    branch = Branch.of(site.remote)
    tampering.SHAPES["unrelated root"](branch)
    seen = git(site.remote, "rev-parse", STATE)
    (done,) = site.run(("status", "--json"))
    command = command_in(done)
    tampering.SHAPES["side history"](branch)

    moved = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    assert moved.returncode != 0
    branch.move(seen)
    type_in(command, site.clone)

    assert git(site.remote, "rev-parse", f"refs/percy/refused/{seen[:12]}") == seen
    assert git(site.remote, "rev-parse", STATE) == branch.good
    site.percyd("verify")


def until(holds: Callable[[], bool], log: Path, within_s: float = 60) -> None:
    """Wait for a condition, at most so long."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.05)):
        if holds():
            return
        pause.wait(0.05)
    raise AssertionError(f"did not happen in {within_s} s\n{log.read_text()}")


@dataclass(frozen=True)
class Served:
    """A running ``percyd serve``; every git command that it starts is written down."""

    site: Site
    process: subprocess.Popen[bytes]
    log: Path
    calls: Path

    def until(self, holds: Callable[[], bool]) -> None:
        assert self.process.poll() is None, self.log.read_text()
        until(holds, self.log)

    def until_it_says(self, word: str) -> None:
        self.until(lambda: word in self.log.read_text())

    def until_it_has_looked_again(self, times: int = 3) -> None:
        wanted = self._looks() + times
        self.until(lambda: self._looks() >= wanted)

    def _looks(self) -> int:
        return self.calls.read_text().count("looked")

    def status_of(self, task: str) -> str:
        plan, _, short = task.partition(".")
        found = git(
            self.site.remote,
            "log",
            "-1",
            "-p",
            "--format=",
            "-G",
            '"status"',
            STATE,
            "--",
            f"plans/{plan}/tasks/*/{short}.json",
            check=False,
        )
        return "".join(re.findall(r'^\+ "status": "(\w+)"', found, re.M))


@pytest.fixture
def served(site: Site, tmp_path: Path) -> Iterator[Served]:
    calls, log, tools = tmp_path / "calls", tmp_path / "log", tmp_path / "tools"
    tools.mkdir()
    calls.touch()
    shim = tools / "git"
    shim.write_text(
        f"""#!/bin/sh
case "$*" in *" ls-remote "*{STATE}*|*" fetch "*{STATE}*) echo looked >>'{calls}';; esac
exec '{shutil.which("git")}' "$@"
"""
    )
    shim.chmod(0o755)
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "percyd", "serve", "--grace", "0"],
            cwd=site.clone,
            env={
                **os.environ,
                "PYTHONPATH": str(PROJECT),
                "PATH": f"{tools}:{os.environ['PATH']}",
                "PERCYD_WATCH__POLL_S": "0.2",
            },
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield Served(site, process, log, calls)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def lasting(site: Site) -> dict[str, str]:
    """The remote's refs but the heartbeats: nobody decides anything by these alone."""
    found = site.refs()
    return {ref: oid for ref, oid in found.items() if "refs/percy/agents/" not in ref}


@pytest.mark.parametrize("name", ["rewound", "deleted", "bad json", "lost tree"])
def test_a_running_serve_halts_says_so_once_and_goes_on(
    served: Served, site: Site, name: str
) -> None:
    served.until(lambda: served.status_of("three.a") == "completed")
    git(site.remote, "pack-refs", "--all")  # from now on a look asks git
    served.until_it_has_looked_again()
    branch = Branch.of(site.remote)
    tampering.SHAPES[name](branch)
    commit(site.clone, {".percy/plans/four.yaml": THREE}, "four")
    git(site.clone, "push", "-q")
    before = lasting(site)

    served.until_it_says(" waits ")
    served.until_it_has_looked_again()
    (done,) = site.run(("status", "--json"))

    assert lasting(site) == before
    assert served.log.read_text().count(" waits ") == 1
    assert branch.good in served.log.read_text()
    type_in(command_in(done), site.clone)
    served.until_it_says(" goes on")
    served.until(lambda: served.status_of("four.a") == "completed")


def test_a_task_that_ends_while_the_branch_is_refused_lands_when_it_is_mended(
    served: Served, site: Site, tmp_path: Path
) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    run = f"touch {began}; until [ -e {go} ]; do sleep 0.05; done; echo 4 > four.txt"
    plan = f"title: Four\ntasks: [{{id: a, title: A, run: '{run}'}}]\n"
    commit(site.clone, {".percy/plans/four.yaml": plan}, "four")
    git(site.clone, "push", "-q")
    served.until(began.exists)
    served.until(lambda: served.status_of("four.a") == "working")
    # Else it may move the branch between the look at it and its deletion.
    served.until(lambda: served.status_of("three.a") == "completed")
    branch = Branch.of(site.remote)
    git(site.remote, "update-ref", "-d", STATE)
    before = lasting(site)
    served.until_it_says(" waits ")
    go.touch()
    served.until_it_has_looked_again()

    assert lasting(site) == before
    branch.move(branch.good)
    served.until(lambda: served.status_of("four.a") == "completed")
    assert git(site.remote, "show", "percy/plan/four:four.txt") == "4"
