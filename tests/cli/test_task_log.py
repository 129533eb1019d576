"""``percyd task log`` from outside: what an attempt has printed, and where it is."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from percyd.cli.untrusted import Rows, inert
from tests.support.newuser import PROJECT, NewUser, finish, new_user, percyd, start

_NOISE = r"printf 'red \033[31mred\033[0m \033]0;title\007 tab\there\r\nlast' "


def on_a_terminal(user: NewUser, *args: str) -> str:
    """What a command prints where standard output is a terminal."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(PROJECT), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-m", "percyd", *args],
        cwd=user.clone,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # Linux: the other end was closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


def cut(data: bytes, size: int) -> list[tuple[str, bool]]:
    """What comes of a stream in pieces of a size."""
    found: list[tuple[str, bool]] = []
    rows = Rows(lambda row, ended: found.append((row, ended)))
    for at in range(0, len(data), size):
        rows.feed(data[at : at + size])
    rows.flush()
    return found


def test_lines_are_cut_wherever_the_pieces_end_and_long_ones_do_not_pile_up() -> None:
    for size, long in ((1, 10), (2, 10), (3, 10), (7, 10), (50_000, 200_000)):
        text = "one\r\ntwo\rthree é\n\n" + "x" * long
        rows = cut(text.encode(), size)
        assert rows[:4] == [("one", True), ("two", True), ("three é", True), ("", True)]
        assert "".join(row for row, _ in rows[4:]) == "x" * long
        assert max(len(row) for row, _ in rows) <= 64 * 1024 + size


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        ("\x1b[1;32mok\x1b[0m\x1b[K\tdone", "ok\tdone"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\x9b2Jb\u202ec", "a\\x9b2Jb\\u202ec"),
        ("\x1b[2J", "\\x1b[2J"),
    ],
)
def test_nothing_but_text_and_tabs_reaches_a_terminal(row: str, shown: str) -> None:
    assert inert(row) == shown


def test_a_log_is_shown_with_its_gate_and_followed_to_its_end(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    go = tmp_path / "go"
    wait = f"until [ -e {go} ]; do sleep 0.05; done"
    plan = {
        "title": "P",
        "verify": "echo the gate; test $PERCY_ATTEMPT = 2",
        "tasks": [
            {
                "id": "a",
                "title": "A",
                "run": f"{_NOISE}; [ $PERCY_ATTEMPT = 1 ] || {{ {wait}; }}; echo a > a",
            },
            {
                "id": "b",
                "title": "B",
                "run": "true",
                "depends_on": ["a"],
                "max_attempts": 1,
            },
        ],
    }
    user.commit_plan("p.yaml", plan)
    user.percyd("plan", "submit", ".percy/plans/p.yaml")
    assert "has not been run yet" in user.percyd("task", "log", "p.a", code=1).said[0]
    assert "did you mean p." in user.percyd("task", "log", "p.x", code=2).said[0]
    serve = start("serve", "--until-idle", cwd=user.clone)
    _wait_for_attempt(user, 2)
    follow = start("task", "log", "p.a", "-f", cwd=user.clone)
    given_up = start("task", "log", "p.a", "-f", cwd=user.clone)
    assert given_up.stdout is not None
    assert given_up.stdout.readline().startswith("red ")
    given_up.send_signal(signal.SIGINT)
    assert finish(given_up).code == 0
    assert follow.poll() is None
    go.touch()

    followed = finish(follow)

    assert followed.code == 0
    assert followed.out.endswith("lastthe gate\n")
    assert "percyd: the gate of attempt 2:" in followed.said
    finish(serve)
    documents = user.percyd("task", "log", "p.a", "-f", "--json").out
    rows = [json.loads(line) for line in documents.splitlines()]
    assert [(row["from"], row["text"]) for row in rows][-2:] == [
        ("program", "last"),
        ("gate", "the gate"),
    ]
    first = user.percyd("task", "log", "p.a", "--attempt", "1", "--json").document
    assert first["attempt"] == 1
    assert first["agent"] == user.task("p.a")["attempts"][0]["agent"]
    assert first["program"].startswith("red \x1b[31mred")
    assert first["gate"] == "the gate\n"
    shown = on_a_terminal(user, "task", "log", "p.a")
    assert shown.splitlines()[:3] == [
        "red red \\x1b]0;title\\x07 tab\there",
        "last",
        "the gate",
    ]
    assert "\x1b[31m" in on_a_terminal(user, "task", "log", "p.a", "--raw")
    silent = user.percyd("task", "log", "p.b")
    assert silent.out == ""
    assert silent.said == ["percyd: attempt 1 has printed nothing"]
    other = user.clone_again("other")
    agent = first["agent"]
    elsewhere = percyd(other, "task", "log", "p.a", code=1).said[0]
    assert f"attempt 2 at p.a was run by {agent} on " in elsewhere
    assert (
        "there is no attempt 3"
        in (user.percyd("task", "log", "p.a", "--attempt", "3", code=1).said[0])
    )


def _wait_for_attempt(user: NewUser, number: int) -> None:
    log = f"logs/p.a/{number}.log"
    state = Path(os.environ["PERCYD_STATE_DIR"])
    pause = threading.Event()
    for _ in range(3000):
        if any(path.stat().st_size for path in state.glob(f"*/{log}")):
            return
        pause.wait(0.02)
    raise AssertionError(f"no attempt {number}")
