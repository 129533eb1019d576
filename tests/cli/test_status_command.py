"""``percyd status``: what is left out, what is wrong with the remote, and watching."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from percyd.cli.refusal import refusal_lines
from percyd.cli.status import render_status
from percyd.cli.watch import fitting
from percyd.core.snapshot import build
from percyd.errors import StateRefused
from percyd.views.seen import Seen
from percyd.views.status import cluster_status
from tests.cli.test_render import HOSTILE, INERT, NOW
from tests.support.gitrepo import git, tip
from tests.support.newuser import PROJECT, new_user, percyd, start
from tests.support.state import agent, plan, task

STATE = "refs/heads/percy/state"
PLAN = "title: {}\nstatus: draft\ntasks: [{{id: a, title: A, run: 'true'}}]\n"


def page_of(
    width: int = 80, seen: dict[str, float] | None = None, **counts: int
) -> str:
    status = cluster_status("a" * 40, NOW, build([agent()]), seen=seen)
    out = io.StringIO()
    render_status(Console(file=out, width=width, highlight=False), status, (), **counts)
    return out.getvalue()


def test_plans_that_are_left_out_are_counted() -> None:
    assert "2 plans landed or cancelled: percyd status --all" in page_of(settled=2)
    assert "no plans yet" in page_of()
    assert "no plans yet" not in page_of(settled=1)


@pytest.mark.parametrize(
    ("age", "words"), [(12.3, "seen 12 s ago"), (150.0, "seen 2 min ago"), (None, "")]
)
def test_an_agent_says_when_it_was_seen(age: float | None, words: str) -> None:
    page = page_of(seen={} if age is None else {"box-000001": age})

    assert words in page
    assert ("seen" in page) == bool(words)


def test_only_a_heartbeat_that_moves_tells_when() -> None:
    seen = Seen()
    seen.note({"a": "1", "b": "1"}, 10.0)
    seen.note({"a": "2", "b": "1", "c": "1"}, 20.0)
    assert seen.ages(25.0) == {"a": 5.0}
    seen.note({"b": "1"}, 30.0)
    assert seen.ages(30.0) == {}


def test_a_command_that_mends_has_a_line_of_its_own() -> None:
    command = "git --git-dir=/hub push /remote abc:refs/heads/percy/state"
    error = StateRefused("it was deleted", hint=f"push it back: {command}")

    assert refusal_lines(error) == ("it was deleted; push it back:", f"  {command}")
    assert refusal_lines(StateRefused("it is odd", hint="see: percyd verify")) == (
        "it is odd; see: percyd verify",
    )


@pytest.mark.parametrize("height", [2, 10, 24, 60])
def test_a_watched_page_fits_the_window(height: int) -> None:
    tasks = [task("p", f"t{n}", title=HOSTILE) for n in range(100)]
    shown = cluster_status("a" * 40, NOW, build([plan(), *tasks, agent()]))
    out = Console(file=io.StringIO(), width=80, height=height, force_terminal=True)

    def page(console: Console, document: Any, trouble: Any, limit: int) -> None:
        render_status(console, document, trouble, 0, limit)

    lines = fitting(out, shown, ("the remote is down",), page)

    assert len(lines) <= height - 1
    if height >= 24:
        assert len(lines) >= height - 3
        assert any(INERT[:20] in line for line in lines)
        assert any("the remote is down" in line for line in lines)


@pytest.mark.spoiled
def test_status_shows_the_last_good_state_above_what_is_wrong(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    user.commit_plan("one.yaml", PLAN.format("One"))
    user.percyd("plan", "submit", ".percy/plans/one.yaml")
    user.percyd("status")
    good = tip(user.remote, STATE)
    git(user.remote, "update-ref", STATE, f"{good}~1")

    done = user.percyd("status", code=4)

    assert "one  draft" in done.out
    said = done.err.splitlines()
    assert said[0].startswith("above is the last good state, read 20")
    assert said[1].startswith("percyd: percy/state was rewound")
    assert said[1].endswith(":")
    assert user.percyd("status", "--json", code=4).document["error"]["hint"]
    subprocess.run(said[2].strip(), shell=True, check=True, capture_output=True)
    assert tip(user.remote, STATE) == good
    assert user.percyd("status").code == 0


def _lines_until(process: subprocess.Popen[str], wanted: str, most: int = 200) -> str:
    assert process.stdout is not None
    read = ""
    for _ in range(most):
        read += process.stdout.readline()
        if wanted in read:
            return read
    raise AssertionError(read)


def test_a_watched_status_is_told_again_when_it_changes(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    watchers = [
        start(*words, cwd=user.clone)
        for words in (("status", "--watch"), ("status", "--watch", "--json"))
    ]
    page, documents = watchers
    _lines_until(page, "percy/state at ")
    assert json.loads(_lines_until(documents, "\n"))["plans"] == []

    user.commit_plan("one.yaml", PLAN.format("One"))
    user.percyd("plan", "submit", ".percy/plans/one.yaml")

    assert "one  draft" in _lines_until(page, "percy/state at ")
    (found,) = json.loads(_lines_until(documents, "\n"))["plans"]
    assert found["id"] == "one"
    for process in watchers:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert (process.returncode, said) == (0, "")
    assert "no plan onee" in percyd(user.clone, "status", "onee", "--watch", code=2).err


def start_on(*args: str, cwd: Path, stdout: int) -> subprocess.Popen[str]:
    """Start percyd with this output."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "percyd", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_on_a_terminal_a_watched_status_has_a_screen_of_its_own(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    ours, theirs = pty.openpty()
    process = start_on("status", "--watch", cwd=user.clone, stdout=theirs)
    os.close(theirs)
    read = b""
    try:
        while b"percy/state at" not in read:
            assert select.select([ours], [], [], 30)[0], read
            read += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        while b"\x1b[?1049l" not in read:
            assert select.select([ours], [], [], 30)[0], read
            read += os.read(ours, 65536)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert b"\x1b[?1049h" in read
    assert (process.returncode, said) == (0, "")
