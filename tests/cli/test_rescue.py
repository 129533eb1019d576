"""``percyd rescue``, ``task diff`` and ``task show``: what a task has made, from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.daemonised import until
from tests.support.gitrepo import commit, git
from tests.support.newuser import (
    NewUser,
    checkout,
    finish,
    new_user,
    percyd,
    settings,
    start,
)

_RESCUES = "refs/percy/rescue"


def test_work_is_shown_and_brought_back_also_while_the_remote_is_down(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    user.commit_plan(
        "p.yaml",
        {
            "title": "P",
            "tasks": [
                {"id": "a", "title": "A", "run": "printf 'a\\033[31m\\n' > a.txt"},
                {
                    "id": "b",
                    "title": "B",
                    "run": "echo b > b.txt; false",
                    "max_attempts": 1,
                    "depends_on": ["a"],
                },
            ],
        },
    )
    user.percyd("serve", "--until-idle", code=1)
    other = user.clone_again("other")
    git(other, "switch", "-q", "-c", "mine")

    landed = percyd(other, "task", "diff", "p.a")
    document = user.percyd("task", "diff", "p.a", "--json").document
    failed = percyd(other, "task", "diff", "p.b", "--stat")

    assert landed.said == ["percyd: p.a, as it was merged into percy/plan/p"]
    assert landed.out.startswith("diff --git a/a.txt b/a.txt\n")
    assert landed.out.endswith("+a\x1b[31m\n")
    assert document["patch"] == landed.out
    assert document["files"] == [
        {"path": "a.txt", "old_path": None, "added": 1, "removed": 0}
    ]
    assert failed.said == [
        f"percyd: attempt 1 at p.b (failed), kept in {_RESCUES}/p.b/1"
    ]
    assert failed.out.splitlines()[1:] == [
        " 1 file changed, 1 insertion(+)",
        " create mode 100644 b.txt",
    ]
    (listed,) = percyd(other, "rescue", "list").out.splitlines()
    assert listed.startswith("p.b/1  failed  ")
    assert "1 commit, 1 file" in listed
    shown = percyd(other, "rescue", "show", "p.b/1", "-p", "--json").document
    assert [row["subject"] for row in shown["log"]] == ["B"]
    assert shown["patch"].endswith("+b\n")
    before = checkout(other)
    user.remote.rename(tmp_path / "away.git")
    down = percyd(other, "rescue", "show", "p.b/1", code=3)
    assert "b.txt | 1 +" in down.out
    assert "last known state" in down.said[0]
    assert percyd(other, "task", "diff", "p.b", code=3).out.endswith("+b\n")
    made = percyd(other, "rescue", "restore", "p.b/1", code=3)
    assert f"git log -p {shown['base'][:10]}..rescue/p.b/1" in made.out
    assert git(other, "show", "rescue/p.b/1:b.txt") == "b"
    git(other, "branch", "-q", "-D", "rescue/p.b/1")
    assert checkout(other) == before
    (tmp_path / "away.git").rename(user.remote)


def is_working(user: NewUser) -> bool:
    return any(task["status"] == "working" for task in user.status()["tasks"])


def test_work_that_only_this_machine_has_and_work_that_came_late_are_found(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    commit(user.clone, {".percy/config.toml": settings()})
    go = tmp_path / "go"
    run = f"until [ -e {go} ]; do sleep 0.02; done; echo a > a.txt"
    plan = {"title": "P", "tasks": [{"id": "a", "title": "A", "run": run}]}
    user.commit_plan("p.yaml", plan)
    process = start(
        "serve", "--until-idle", cwd=user.clone, PERCY_FAILPOINT="collected:kill"
    )
    until(lambda: is_working(user), "its beginning is told", within_s=60)
    go.touch()
    assert finish(process).code == -signal.SIGKILL

    (row,) = user.percyd("rescue", "list", "--json").document["rescues"]

    assert (row["task"], row["attempt"], row["only_here"]) == ("p.a", 1, True)
    assert row["ref"] == "refs/percyd/pin/work/0/p.a.1"
    assert "only on this machine" in user.percyd("rescue", "list").out
    # As a worker does that wakes up after it was called lost.
    hub = next(Path(os.environ["PERCYD_STATE_DIR"]).glob("*/hub.git"))
    late = f"{_RESCUES}/p.a/1"
    git(hub, "push", "-q", str(user.remote), f"{row['commit']}:{late}")
    (row,) = user.percyd("rescue", "list", "--json").document["rescues"]
    assert (row["only_here"], row["outcome"]) == (False, "working")
    assert "so far" in user.percyd("task", "diff", "p.a").said[0]
    user.percyd("serve", "--until-idle")
    record = user.task("p.a")["attempts"][0]
    assert (record["outcome"], record["rescue"]) == ("lost", late)
    assert f"kept in     {late}" in user.percyd("task", "show", "p.a").out
