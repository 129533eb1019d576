"""``percyd rescue``, ``task diff`` and ``task show``: what a task has made, from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.gitrepo import commit, git, refs, tip
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


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    """A task that landed, one that failed twice with work of its own, one that waits."""
    user = new_user(tmp_path)
    half = "git commit -q --allow-empty -m half-done && echo $PERCY_ATTEMPT > b.txt"
    user.commit_plan(
        "p.yaml",
        {
            "title": "P",
            "tasks": [
                {"id": "a", "title": "A", "run": "printf 'a\\033[31m\\n' > a.txt"},
                {
                    "id": "b",
                    "title": "B",
                    "run": f"{half} && false",
                    "max_attempts": 2,
                    "depends_on": ["a"],
                },
                {"id": "c", "title": "C", "run": "true", "depends_on": ["b"]},
            ],
        },
    )
    user.percyd("serve", "--until-idle", code=1)
    return user


def test_work_is_shown_listed_and_brought_back_whatever_became_of_it(
    user: NewUser, tmp_path: Path
) -> None:
    # One after the other: each run of the plan takes seconds.
    other = user.clone_again("other")
    what_a_task_has_changed_is_shown(user, other)
    kept_work_is_listed_shown_and_made_a_branch_of(user, other)
    while_the_remote_is_down_what_was_seen_is_shown(user, tmp_path)
    once_a_plans_branch_has_gone_its_base_tells_what_was_made(user, other)


def what_a_task_has_changed_is_shown(user: NewUser, other: Path) -> None:
    task = user.task("p.a")
    merge = task["result"]["integration_commit"]

    landed = percyd(other, "task", "diff", "p.a")
    failed = percyd(other, "task", "diff", "p.b")

    assert landed.said == ["percyd: p.a, as it was merged into percy/plan/p"]
    assert landed.out.startswith("diff --git a/a.txt b/a.txt\n")
    assert landed.out.endswith("+a\x1b[31m\n")
    assert failed.said == [
        f"percyd: attempt 2 at p.b (failed), kept in {_RESCUES}/p.b/2"
    ]
    assert failed.out.endswith("+2\n")
    assert "a.txt" not in failed.out
    stat = user.percyd("task", "diff", "p.b", "--stat").out
    assert stat.splitlines()[1:] == [
        " 1 file changed, 1 insertion(+)",
        " create mode 100644 b.txt",
    ]
    document = user.percyd("task", "diff", "p.a", "--json").document
    assert (document["commit"], document["kind"]) == (merge, "merge")
    assert document["base"] == tip(user.clone, "origin/main")
    assert document["patch"] == landed.out
    assert document["files"] == [
        {"path": "a.txt", "old_path": None, "added": 1, "removed": 0}
    ]
    nothing = user.percyd("task", "diff", "p.c", code=1).said[0]
    assert "p.c is cancelled, and nothing of it is on the remote" in nothing
    user.percyd("task", "diff", "p.z", code=2)


def kept_work_is_listed_shown_and_made_a_branch_of(user: NewUser, other: Path) -> None:
    git(other, "switch", "-q", "-c", "mine")
    (other / "untracked").write_text("mine")
    before, branches = checkout(other), refs(other, "refs/heads")

    rows = percyd(other, "rescue", "list", "--json").document["rescues"]

    assert [(row["task"], row["attempt"], row["outcome"]) for row in rows] == [
        ("p.b", 1, "failed"),
        ("p.b", 2, "failed"),
    ]
    last = rows[-1]
    assert (last["commits"], last["files"], last["only_here"]) == (2, 1, False)
    assert last["ref"] == f"{_RESCUES}/p.b/2"
    assert last["commit"] == user.refs()[last["ref"]]
    assert last["agent"] == user.task("p.b")["attempts"][1]["agent"]
    listed = percyd(other, "rescue", "list").out.splitlines()
    assert len(listed) == 2
    assert "p.b/2" in listed[1]
    assert "2 commits, 1 file" in listed[1]
    shown = percyd(other, "rescue", "show", "p.b/2").out
    assert "half-done" in shown
    assert "b.txt | 1 +" in shown
    assert percyd(other, "rescue", "show", "p.b/2", "--patch").out.endswith("+2\n")
    document = percyd(other, "rescue", "show", "p.b/2", "-p", "--json").document
    assert [row["subject"] for row in document["log"]] == ["B", "half-done"]
    assert document["patch"].endswith("+2\n")
    near = percyd(other, "rescue", "show", "p.b/3", code=2).said[0]
    assert "did you mean p.b/" in near
    assert "write TASK/ATTEMPT" in percyd(other, "rescue", "show", "b", code=2).said[0]

    made = percyd(other, "rescue", "restore", "p.b/2")

    assert refs(other, "refs/heads") == {
        **branches,
        "refs/heads/rescue/p.b/2": last["commit"],
    }
    git(other, "branch", "-m", "rescue/p.b/2", "seen")
    git(other, "branch", "-D", "-q", "seen")
    assert checkout(other) == before
    assert f"git log -p {last['base'][:10]}..rescue/p.b/2" in made.out
    percyd(other, "rescue", "restore", "p.b/2", "again")
    for name, code, words in (
        ("again", 1, "there is a branch again already"),
        ("again/more", 1, "cannot be made"),
        ("percy/state", 2, "percyd's own"),
        ("a..b", 2, "no name for a branch"),
    ):
        said = percyd(other, "rescue", "restore", "p.b/1", name, code=code).said[0]
        assert words in said
    assert git(other, "show", "again:b.txt") == "2"


def while_the_remote_is_down_what_was_seen_is_shown(
    user: NewUser, tmp_path: Path
) -> None:
    user.percyd("rescue", "list")
    user.remote.rename(tmp_path / "away.git")

    done = user.percyd("rescue", "list", code=3)

    assert "p.b/2" in done.out
    assert "last known state" in done.said[0]
    assert "b.txt | 1 +" in user.percyd("rescue", "show", "p.b/2", code=3).out
    user.percyd("rescue", "restore", "p.b/2", code=3)
    assert git(user.clone, "show", "rescue/p.b/2:b.txt") == "2"
    assert user.percyd("task", "diff", "p.b", code=3).out.endswith("+2\n")
    (tmp_path / "away.git").rename(user.remote)


def once_a_plans_branch_has_gone_its_base_tells_what_was_made(
    user: NewUser, other: Path
) -> None:
    plan = "refs/heads/percy/plan/p"
    landed = tip(user.remote, plan)
    git(user.remote, "update-ref", "refs/heads/main", landed)
    git(user.remote, "update-ref", "-d", plan)
    assert percyd(other, "task", "diff", "p.b").out.endswith("+2\n")
    git(user.remote, "update-ref", plan, landed)


def test_work_that_only_this_machine_has_and_work_that_came_late_are_found(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    commit(user.clone, {".percy/config.toml": settings()})
    run = "echo a > a.txt"
    user.commit_plan("p.yaml", f"title: P\ntasks: [{{id: a, title: A, run: {run}}}]\n")
    process = start(
        "serve", "--until-idle", cwd=user.clone, PERCY_FAILPOINT="collected:kill"
    )
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
    git(hub, "push", "-q", str(user.remote), f"{row['commit']}:{_RESCUES}/p.a/7")
    assert user.percyd("task", "show", "p.a", "--json").document["kept"] == {
        "1": late,
        "7": f"{_RESCUES}/p.a/7",
    }
