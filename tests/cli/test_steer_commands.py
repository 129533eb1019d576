"""What people type to steer: words, JSON, exit codes, and what is already so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk
from tests.support.gitrepo import commit, git, make_bare, make_repo
from tests.support.shop import Shop

PLAN = """\
title: Two
tasks:
  - {id: a, title: A, run: echo a > a.txt}
  - {id: b, title: B, run: cat a.txt > b.txt, depends_on: [a]}
"""


@pytest.fixture
def desk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Desk:
    shop = Shop(tmp_path)
    commit(shop.clone, {".percy/plans/two.yaml": PLAN})
    git(shop.clone, "push", "-q")
    shop.close()
    return Desk(shop.clone, capfd)


def test_a_cancel_names_only_what_it_ends(desk: Desk) -> None:
    two = "title: T\ntasks:\n- {id: x, title: X, run: 'true'}\n"
    two += two.splitlines()[-1].replace("x", "y").replace("X", "Y") + "\n"
    two += "- {id: z, title: Z, run: 'true', depends_on: [x, y]}\n"
    (desk.clone / "t.yaml").write_text(two)
    desk("plan", "submit", str(desk.clone / "t.yaml"))
    assert desk("task", "cancel", "t.x") == "t.x is cancelled, and with it: t.z\n"
    assert desk("task", "cancel", "t.y") == "t.y is cancelled\n"


def test_every_move_says_what_it_did_and_is_already_so_the_second_time(
    desk: Desk,
) -> None:
    desk("plan", "submit", str(desk.clone / ".percy/plans/two.yaml"))
    assert desk("plan", "pause", "two") == "two is paused\n"
    assert desk("plan", "pause", "two") == "two is paused already\n"
    assert desk.json("plan", "pause", "two") == {"plan": "two", "commit": None}
    assert desk("plan", "resume", "two") == "two goes on\n"
    assert desk("plan", "resume", "two").startswith("two is not paused")
    line = desk("plan", "rerun", "two", code=1)
    assert "two is ready; rerun needs" in line
    ended = desk.json("task", "cancel", "two.a")
    assert ended["cancelled"] == ["two.a", "two.b"]
    assert ended["commit"]
    assert desk("task", "cancel", "two.b") == "two.b is cancelled already\n"
    line = desk("plan", "pause", "two", code=1)
    assert "two is failed; pause needs a plan that is open" in line
    assert "percyd plan cancel two gives it up" in line
    assert "two  failed" in desk("status")
    assert desk("plan", "cancel", "two") == "two is cancelled\n"
    assert "two  failed" not in desk("status")
    again = desk.json("plan", "rerun", "two")
    assert (again["plan"], again["tasks"], again["rerun_of"]) == ("two-2", 2, "two")
    assert desk("plan", "cancel", "two-2") == "two-2 is cancelled, with 2 tasks\n"
    assert desk("plan", "cancel", "two-2") == "two-2 is cancelled already\n"
    for move in ("pause", "resume", "start"):
        assert "two-2 is cancelled" in desk("plan", move, "two-2", code=1)
    assert "did you mean two-2" in desk("plan", "cancel", "two-22", code=2)
    assert "did you mean two.a" in desk("task", "cancel", "two.aa", code=2)
    back = desk("task", "retry", "two-2.a")
    assert back == "back in the queue: two-2.a\n"
    shown = desk.json("plan", "show", "two-2")
    assert (shown["status"], shown["reason"]) == ("executing", None)


def test_a_new_plan_is_written_once_under_a_legal_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk.clone)
    said = desk("plan", "new", "three")
    assert "git add .percy/plans/three.yaml && git commit -m 'Plan three'" in said
    assert "ok, plan three, 2 tasks" in desk("plan", "check", ".percy/plans/three.yaml")
    assert "three.yaml is there already" in desk("plan", "new", "three", code=1)
    assert "two.yaml is there already" in desk("plan", "new", "two", code=1)
    assert desk("plan", "new", "My Plan!", code=2).endswith("; percyd plan new my-plan")
    for name in ("lock", "readme", "../x", "", "land-1"):
        desk("plan", "new", name, code=2)
    found = desk.json("plan", "new", "four.yaml")
    assert found["path"] == str(desk.clone / ".percy/plans/four.yaml")
    assert sorted(path.name for path in (desk.clone / ".percy/plans").iterdir()) == [
        *("four.yaml", "three.yaml", "two.yaml")
    ]


def test_run_makes_a_plan_of_one_task_and_says_if_nobody_is_there(desk: Desk) -> None:
    found = desk.json("run", "Mend it", "-d", "All.", "--sh", "true", "--verify", "x")
    assert (found["plan"], found["task"]) == ("mend-it", "mend-it.task")
    shown = desk.json("task", "show", "mend-it.task")
    assert (shown["title"], shown["description"]) == ("Mend it", "All.")
    assert (shown["run"], shown["verify"], shown["runner"]) == ("true", "x", None)
    assert "plan mend-it-2" in desk("run", "Mend it", "--sh", "true")
    assert "exclude each other" in desk(
        "run", "X", "--sh", "true", "--runner", "tool", code=2
    )
    nothing = desk("run", "X", code=2)
    assert "no default runner is configured; give a command with --sh" in nothing
    assert "run.json" not in nothing
    assert desk("run", "", "--sh", "true", code=2).startswith("percyd: TITLE ")
    assert desk("run", "X", "--sh", " ", code=2).startswith("percyd: --sh ")
    (agent,) = desk.json("agent", "list")["agents"]
    assert (agent["liveness"], agent["last_seen_s"]) == ("idle", None)
    assert agent["id"] in desk("agent", "list")


def test_run_says_that_no_agent_is_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clone, bare = make_repo(tmp_path / "alone"), make_bare(tmp_path / "alone.git")
    git(clone, "remote", "add", "origin", str(bare))
    git(clone, "push", "-q", "-u", "origin", "main")
    desk = Desk(clone, capfd)
    desk("init", "--no-hooks")
    desk("run", "It", "--sh", "true")
    assert "it.task waits: there is no agent; run percyd serve" in desk.err
    assert "no agent is online" in desk("agent", "list")
