"""kill -9 at every named step: the next serve finishes the plan, and nothing is left."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import psutil
import pytest

from percyd import failpoints
from tests.support.checker import check
from tests.support.gitrepo import commit, git
from tests.support.newuser import PROJECT, NewUser, finish, new_user, start

LEASE = "[lease]\nbeat_s = 0.3\nlease_s = 1.5\nidle_beat_s = 1.0\n"
PLAN = """\
title: Die
verify: test -e a.txt
defaults: {max_attempts: 9}
tasks:
  - {id: a, title: A, run: echo a > a.txt; git add .; git commit -qm a; echo x > x}
  - {id: b, title: B, run: cat a.txt > b.txt, depends_on: [a]}
  - {id: c, title: C, run: cat b.txt > c.txt, depends_on: [b]}
"""
#: Reached only where another agent fell silent: tested with the leases.
ELSEWHERE = {"lost-decided"}
#: What a slot keeps: its clone, and the index files of its checkouts.
OWN = ("repo.git", ".percyd")
#: An agent's lock file is gone with it; those of slots and of the hub stay.
AGENT_LOCK = re.compile(r"-[0-9a-f]{6}\.lock$")


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    made = new_user(tmp_path)
    config = made.clone / ".percy/config.toml"
    commit(made.clone, {".percy/config.toml": config.read_text() + LEASE}, "lease")
    made.commit_plan("die.yaml", PLAN)
    return made


def leftovers(folder: Path) -> list[str]:
    """Worktrees, locks and half-made things in the local state; processes in it."""
    state = folder / "state"
    found = [str(p) for p in state.glob("*/slots/*/*") if p.name not in OWN]
    found += [
        str(path)
        for path in state.rglob("*.lock")
        if path.parent.name != "locks" or AGENT_LOCK.search(path.name)
    ]
    for process in psutil.process_iter():
        try:
            words = " ".join([*process.cmdline(), process.cwd()])
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if str(state) in words:
            found.append(f"process {process.pid}: {words}")
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", sorted(set(failpoints.NAMES) - ELSEWHERE))
def test_after_a_kill_at_this_step_the_next_serve_finishes_the_plan(
    user: NewUser, tmp_path: Path, name: str
) -> None:
    process = start(
        "serve",
        "--until-idle",
        cwd=user.clone,
        PERCY_FAILPOINT=f"{name}:kill@2"
        if name in ("commit-built", "push-accepted")
        else f"{name}:kill",
    )
    assert finish(process).code == -signal.SIGKILL

    user.percyd("serve", "--until-idle")

    assert user.file("die", "c.txt") == "a"
    assert user.merges("die") == ["die.a", "die.b", "die.c"]
    assert check(user.remote) == []
    assert git(user.remote, "fsck", "--connectivity-only", "--no-dangling") == ""
    assert leftovers(tmp_path) == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["claimed", "collected", "before-complete"])
def test_an_error_at_this_step_ends_the_attempt_with_a_reason(
    user: NewUser, name: str
) -> None:
    process = start(
        "serve", "--until-idle", cwd=user.clone, PERCY_FAILPOINT=f"{name}:error"
    )
    done = finish(process)
    assert done.code == 1
    reason = user.task("die.a")["attempts"][0]["reason"]
    assert (reason["code"], name in reason["message"]) == ("workspace_failed", True)
    assert check(user.remote) == []


def test_every_name_is_a_place_in_the_code_and_every_place_has_a_name() -> None:
    found: list[str] = []
    for path in (PROJECT / "percyd").rglob("*.py"):
        found += re.findall(r'\bhit\("([a-z-]+)"\)', path.read_text())
    assert sorted(found) == sorted(failpoints.NAMES)


@pytest.mark.parametrize("text", ["nowhere:kill", "claimed:explode", "claimed"])
def test_a_failpoint_that_there_is_not_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="PERCY_FAILPOINT"):
        failpoints.parse(text)
