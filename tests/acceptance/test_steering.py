"""A person steers a fleet from another clone: what runs elsewhere ends, or goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checker import check
from tests.support.desk import Desk
from tests.support.gitrepo import git, has_ended, refs, tip
from tests.support.newuser import finish, new_user, start

pytestmark = pytest.mark.timeout(180)


def wait_for(condition: Callable[[], object]) -> None:
    """Look again and again, for a minute at most."""
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        threading.Event().wait(0.02)


def test_a_task_is_cancelled_from_another_clone_while_a_paused_plan_waits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    user = new_user(tmp_path)
    here, there = Desk(user.clone, capfd), Desk(user.clone_again("there"), capfd)
    marks = tmp_path / "marks"
    marks.mkdir()
    base = tip(user.remote, "main")
    daemon = start("serve", "--slots", "1", "--grace", "0.5", cwd=user.clone)
    stays = (
        f"echo part > part.txt; echo $$ > '{marks}/program'; "
        f"(trap '' TERM; sleep 300; echo never) & echo $! > '{marks}/child'; wait"
    )
    long = there.json("run", "Long one", "--sh", stays)
    assert (long["plan"], long["task"]) == ("long-one", "long-one.task")
    wait_for(lambda: (marks / "child").exists() and (marks / "child").read_text())
    (agent,) = here.json("agent", "list")["agents"]
    assert (agent["liveness"], agent["tasks"]) == ("working", ["long-one.task"])
    assert agent["last_seen_s"] == 0
    there("run", "Later", "--sh", "echo later > later.txt")
    assert "later is paused" in there("plan", "pause", "later")

    done = there("task", "cancel", "long-one.task")

    assert done == "long-one.task is cancelled\n"
    for name in ("program", "child"):
        pid = int((marks / name).read_text())
        wait_for(lambda pid=pid: has_ended(pid))  # type: ignore[misc]
    kept = "refs/percy/rescue/long-one.task/1"
    wait_for(lambda: kept in refs(user.remote, "refs/percy/rescue"))
    assert git(user.remote, "show", f"{kept}:part.txt") == "part"
    # Its slot is free, and still nothing of the paused plan is claimed.
    short = there("run", "Short", "--sh", "echo s > s.txt", "--wait")
    assert short == ("short.task is completed, and merged into percy/plan/short\n")
    assert user.file("short", "s.txt") == "s"
    later = there.json("task", "show", "later.task")
    assert (later["status"], later["attempt"]) == ("submitted", 0)
    assert [wait["code"] for wait in later["blocked_by"]] == ["paused"]
    assert user.plan_tip("long-one") == base
    assert not any("long-one" in ref for ref in user.refs("refs/heads/agent"))
    (attempt,) = there.json("task", "show", "long-one.task")["attempts"]
    assert attempt["outcome"] == "cancelled"
    assert attempt["reason"]["message"] == "by Tess Ter"

    there("plan", "resume", "later")
    failed = there("run", "Bad", "--sh", "exit 3", "--wait", code=1)
    assert "bad.task is failed: attempts_exhausted" in failed
    wait_for(lambda: there.json("plan", "show", "later")["status"] == "done")
    assert "later is done" in there("plan", "cancel", "later", code=1)
    daemon.send_signal(signal.SIGTERM)
    assert finish(daemon, 60).code == 0
    there("verify")
    assert check(user.remote) == []
