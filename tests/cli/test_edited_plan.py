"""A plan that is edited by commits while it runs, from outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.checker import check
from tests.support.daemonised import until
from tests.support.gitrepo import git
from tests.support.newuser import NewUser, finish, new_user, start

pytestmark = pytest.mark.timeout(120)


def edit(user: NewUser, *tasks: dict[str, Any], **fields: Any) -> str:
    """Commit another version of the plan, and wait until it is followed."""
    user.commit_plan("p.yaml", {"title": "P", **fields, "tasks": list(tasks)})
    return git(user.clone, "rev-parse", "HEAD:.percy/plans/p.yaml")


def is_followed(user: NewUser, blob: str) -> bool:
    return blob in git(user.remote, "show", "percy/state:plans/p/plan.json")


def test_a_running_plan_follows_two_edits_and_ends_with_the_right_tasks(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    marks = tmp_path / "marks"
    marks.mkdir()
    wait = f"touch {marks}/on; until [ -e {marks}/go ]; do sleep 0.02; done; ls > a"
    a = {"id": "a", "title": "A", "run": wait}
    b = {"id": "b", "title": "B", "run": "echo old > b", "depends_on": ["a"]}
    c = {"id": "c", "title": "C", "run": "echo c > c", "depends_on": ["b"]}
    edit(user, a, b, c)

    loop = start("serve", "--until-idle", "--slots", "1", cwd=user.clone)
    until((marks / "on").exists, "the first task runs", within_s=60)
    until(lambda: user.task("p.a")["status"] == "working", "it is told", within_s=60)
    b = {**b, "run": "echo new > b"}
    d = {"id": "d", "title": "D", "run": "echo d > d", "depends_on": ["b"]}
    e = {"id": "e", "title": "E", "run": "echo e > e"}
    blob = edit(user, {**a, "title": "Another A"}, b, d, e)
    until(lambda: is_followed(user, blob), "the first edit is followed", within_s=60)
    assert user.task("p.c")["reason"]["code"] == "removed"
    blob = edit(user, {**a, "title": "Another A"}, b, c, e, title="Q")
    until(lambda: is_followed(user, blob), "the second edit is followed", within_s=60)
    (marks / "go").touch()
    done = finish(loop)

    assert done.code == 0, done.err
    tasks = {t["id"]: t["status"] for t in user.status()["tasks"]}
    assert tasks == {
        **dict.fromkeys(("p.a", "p.b", "p.c", "p.e"), "completed"),
        "p.d": "cancelled",
    }
    (plan,) = user.status()["plans"]
    assert (plan["status"], plan["title"]) == ("done", "Q")
    assert git(user.remote, "show", "percy/plan/p:b") == "new"
    assert user.task("p.a")["title"] == "A"
    assert '"2 added, 1 updated, 1 cancelled, 1 kept"' in done.err
    assert '"1 cancelled, 1 reopened"' in done.err
    assert done.err.count("p.a (edited, but working)") == 1
    assert check(user.remote) == []

    # It is finished: an edit is told by the first run, and no more by the next.
    edit(user, a, title="R")
    runs = [user.percyd("serve", "--until-idle") for _ in range(2)]
    assert [run.err.count("not followed") for run in runs] == [1, 0]
    assert "percyd plan rerun p" in runs[0].err
    refused = user.percyd("plan", "submit", ".percy/plans/p.yaml", "--json", code=1)
    assert refused.document["error"]["code"] == "plan_finished"
