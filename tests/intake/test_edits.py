"""Edited plan files: followed, told once, or left alone; from one clone and from two."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.operations.archive import ArchivePlan, Retention
from percyd.core.operations.retry import Retry
from percyd.core.operations.steer import CancelPlan, CancelTask
from percyd.core.records import Plan
from percyd.errors import PlanDiverged, PlanFinished, PlanRenamed
from percyd.intake.again import rerun
from percyd.intake.submit import submit
from percyd.session import Percyd
from tests.support.gitrepo import commit, git, write_hook
from tests.support.shop import Shop

FILE = ".percy/plans/two.yaml"
PLAN = "title: Two\ntasks: [{id: a, title: A, run: 'true'}]\n"
MORE = PLAN.replace("]", ", {id: b, title: B, run: 'true'}]")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def another(shop: Shop, tmp_path: Path) -> Iterator[Percyd]:
    """percyd in a second clone, which has the first version of the plan."""
    commit(shop.clone, {FILE: PLAN})
    push(shop.clone)
    path = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(shop.remote), str(path))
    made = Percyd.open(path, dict(os.environ))
    yield made
    made.close()


def push(clone: Path, *args: str) -> None:
    git(clone, "push", "-q", *args)


def folder_of(percyd: Percyd) -> Path:
    assert percyd.clone.work_tree is not None
    return percyd.clone.work_tree


def looked(percyd: Percyd) -> list[str]:
    """What one look changes: the subjects of its commits."""
    percyd.store.refresh()
    applied = percyd.intake.step()
    return [a.decision.subject for a in applied if a.decision is not None]


def record_of(percyd: Percyd, plan: str = "two") -> Plan:
    return percyd.store.refresh().snapshot.plans[plan].record


def told(caplog: pytest.LogCaptureFixture, word: str) -> list[str]:
    return [r.__dict__["why"] for r in caplog.records if r.getMessage() == word]


def again(percyd: Percyd) -> Percyd:
    """The same clone in another process."""
    return Percyd.open(folder_of(percyd), dict(os.environ))


def test_a_commit_changes_the_plan_and_what_the_state_keeps_of_it(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    commit(shop.clone, {FILE: PLAN})
    assert looked(shop.percyd) == ["two, 1 task"]
    before = record_of(shop.percyd)
    oid = commit(shop.clone, {FILE: MORE, ".percy/config.toml": 'verify = "make"\n'})
    assert looked(shop.percyd) == ["two, 1 added, 1 updated"]
    assert looked(shop.percyd) == []
    record = record_of(shop.percyd)
    assert (record.source.commit, record.verify) == (oid, "make")
    assert record.base_commit == before.base_commit
    assert shop.file("plans/two/source.yaml", "percy/state") == MORE.strip()
    assert shop.task("two.a").verify == "make"
    assert told(caplog, "reconciled") == ["1 added, 1 updated"]


def test_a_bad_edit_is_refused_with_its_line_and_the_plan_goes_on(shop: Shop) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    commit(shop.clone, {FILE: MORE.replace("id: b", "id: a")})
    assert looked(shop.percyd) == []
    (problem,) = shop.percyd.intake.problems
    assert problem.startswith(f"{FILE}:2: tasks[1].id: ")
    assert record_of(shop.percyd).status == "ready"


def test_an_edit_that_makes_a_cycle_with_what_has_ended_is_refused_by_line(
    shop: Shop,
) -> None:
    lines = ("title: X", "tasks:", "- {id: a, title: A, run: 'true'")
    first = (*lines, "}", "- {id: b, title: B, run: 'true', depends_on: [a]}")
    turned = (*lines, "  , depends_on: [b]}", "- {id: b, title: B, run: 'true'}")
    commit(shop.clone, {FILE: "\n".join(first)})
    looked(shop.percyd)
    shop.store.apply(CancelTask(shop.store.stamp(), "two.b"))
    commit(shop.clone, {FILE: "\n".join(turned)})
    assert looked(shop.percyd) == []
    (problem,) = shop.percyd.intake.problems
    assert problem.startswith(f"{FILE}:4: tasks[0].depends_on: would make a cycle")
    assert shop.task("two.a").depends_on == ()


def test_a_draft_is_released_by_an_edit(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    commit(shop.clone, {FILE: f"status: draft\n{PLAN}"})
    looked(shop.percyd)
    assert record_of(shop.percyd).status == "draft"
    commit(shop.clone, {FILE: PLAN})
    assert looked(shop.percyd) == ["two, released"]
    assert record_of(shop.percyd).status == "ready"
    commit(shop.clone, {FILE: f"status: draft\n{PLAN}"})
    looked(shop.percyd)
    assert record_of(shop.percyd).status == "ready"
    assert "percyd plan pause two" in told(caplog, "kept")[0]


def test_two_clones_that_edit_the_same_version_are_told_apart(
    shop: Shop, another: Percyd, caplog: pytest.LogCaptureFixture
) -> None:
    looked(shop.percyd)
    commit(shop.clone, {FILE: MORE})
    commit(folder_of(another), {FILE: PLAN.replace("Two", "Other")})
    assert looked(shop.percyd) == ["two, 1 added"]
    assert looked(another) == []
    (why,) = told(caplog, "not followed")
    assert "another line of history" in why
    assert another.intake.problems == []
    # Once for each version, for another process of the clone too; a person who asks
    # is told.
    fresh = again(another)
    commit(folder_of(another), {"other": "x"})
    assert looked(fresh) == []
    assert len(told(caplog, "not followed")) == 1
    with pytest.raises(PlanDiverged):
        fresh.intake.take_file(fresh.intake.files()[0])
    fresh.close()
    assert record_of(shop.percyd).title == "Two"
    # Both are merged: whoever looks first follows it.
    push(shop.clone)
    git(folder_of(another), "pull", "-q", "--no-rebase", "-X", "ours", "--no-edit")
    assert looked(another) == ["two, 1 cancelled"]
    assert record_of(another).title == "Other"


def test_a_stale_clone_is_silent_about_unpublished_edits_too(
    shop: Shop, another: Percyd, caplog: pytest.LogCaptureFixture
) -> None:
    looked(shop.percyd)
    commit(shop.clone, {FILE: MORE})
    looked(shop.percyd)
    commit(folder_of(another), {"other": "x"})
    push(folder_of(another))
    for percyd in (another, shop.percyd):
        assert looked(percyd) == []
    assert told(caplog, "not followed") == []
    assert len(shop.percyd.store.state.snapshot.plans["two"].tasks) == 2


def test_an_amended_commit_takes_the_place_of_the_one_before(
    shop: Shop, another: Percyd, caplog: pytest.LogCaptureFixture
) -> None:
    looked(shop.percyd)
    commit(shop.clone, {FILE: PLAN.replace("Two", "Slip")})
    looked(shop.percyd)
    (shop.clone / FILE).write_text(MORE)
    git(shop.clone, "commit", "-qa", "--amend", "-m", "amended")
    assert looked(shop.percyd) == ["two, 1 added"]
    assert looked(another) == []
    # Back to what it was once: the clone's own branch says so.
    (shop.clone / FILE).write_text(PLAN)
    git(shop.clone, "commit", "-qa", "--amend", "--allow-empty", "-m", "back")
    assert looked(shop.percyd) == ["two, 1 cancelled"]
    # It was published already: until it is pushed again the remote has the old one.
    push(shop.clone, "-f")
    (shop.clone / FILE).write_text(MORE.replace("Two", "Last"))
    git(shop.clone, "commit", "-qa", "--amend", "-m", "last")
    assert looked(shop.percyd) == ["two, 1 reopened"]
    assert looked(another) == looked(shop.percyd) == []
    assert told(caplog, "not followed") == []


def test_an_edit_follows_a_commit_that_was_rebased_before_it_was_pushed(
    shop: Shop, another: Percyd
) -> None:
    commit(shop.clone, {FILE: MORE})
    looked(shop.percyd)
    commit(folder_of(another), {"other": "x"})
    push(folder_of(another))
    git(shop.clone, "pull", "-q", "--rebase")
    push(shop.clone)
    assert looked(shop.percyd) == []
    # The other clone has never seen the commit that the plan was taken from.
    git(folder_of(another), "pull", "-q")
    commit(folder_of(another), {FILE: MORE.replace("Two", "Three")})
    assert looked(another) == ["two, no task changed"]
    assert looked(shop.percyd) == []
    assert record_of(shop.percyd).title == "Three"


def test_two_clones_that_swap_rewritten_commits_do_not_change_it_to_and_fro(
    shop: Shop, another: Percyd
) -> None:
    other = folder_of(another)
    looked(shop.percyd)
    mine = commit(shop.clone, {FILE: MORE})
    push(shop.clone)
    git(other, "pull", "-q")
    (other / FILE).write_text(PLAN.replace("Two", "Theirs"))
    git(other, "commit", "-qa", "--amend", "-m", "theirs")
    push(other, "-f")
    git(shop.clone, "fetch", "-q")
    git(shop.clone, "reset", "-q", "--hard", "origin/main")
    git(shop.clone, "reset", "-q", "--hard", mine)
    changes = []
    for _ in range(4):
        changes += looked(shop.percyd)
        changes += looked(another)
    assert len(changes) <= 4
    assert looked(shop.percyd) == looked(another) == []


def test_an_edit_is_worked_out_anew_when_somebody_else_was_quicker(
    shop: Shop,
) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    late = again(shop.percyd)
    late.store.refresh()
    commit(shop.clone, {FILE: MORE})
    assert looked(shop.percyd) == ["two, 1 added"]
    commit(shop.clone, {FILE: PLAN.replace("Two", "Late")})
    (file,) = late.intake.files()
    applied = late.intake.take_file(file)
    assert applied is not None
    assert applied.decision is not None
    assert applied.decision.subject == "two, 1 cancelled"
    late.close()


def finish(shop: Shop, plan: str = "two") -> None:
    """Cancel what is left, which ends the plan."""
    shop.store.apply(CancelPlan(shop.store.stamp(), plan))


def test_an_edit_of_a_finished_plan_is_told_once_over_restarts(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    finish(shop)
    commit(shop.clone, {FILE: MORE})
    for _ in range(2):
        percyd = again(shop.percyd)
        assert looked(percyd) == []
        assert percyd.intake.problems == []
        with pytest.raises(PlanFinished, match="percyd plan rerun two"):
            percyd.intake.take_file(percyd.intake.files()[0])
        percyd.close()
    (why,) = told(caplog, "not followed")
    assert "plan two is cancelled" in why
    commit(shop.clone, {FILE: MORE.replace("Two", "Three")})
    looked(shop.percyd)
    assert len(told(caplog, "not followed")) == 2


def test_edits_follow_the_plan_that_was_run_again(shop: Shop) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    finish(shop)
    commit(shop.clone, {FILE: MORE})
    looked(shop.percyd)
    taken = rerun(shop.percyd.intake, "two")
    assert (taken.plan, taken.tasks) == ("two-2", 2)
    assert looked(shop.percyd) == []
    commit(shop.clone, {FILE: MORE.replace("Two", "Three")})
    assert looked(shop.percyd) == ["two-2, no task changed"]
    assert record_of(shop.percyd, "two-2").title == "Three"
    assert record_of(shop.percyd).title == "Two"


def test_a_retry_opens_the_plan_for_the_edit_that_was_told(shop: Shop) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    finish(shop)
    commit(shop.clone, {FILE: MORE})
    assert looked(shop.percyd) == []
    shop.store.apply(Retry(shop.store.stamp(), "two.a"))
    assert looked(shop.percyd) == ["two, 1 added"]


def test_a_renamed_or_deleted_file_cancels_nothing_and_runs_nothing_twice(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    git(shop.clone, "mv", FILE, ".percy/plans/three.yaml")
    git(shop.clone, "commit", "-qm", "rename")
    assert looked(shop.percyd) == []
    commit(shop.clone, {"other": "x"})
    assert looked(shop.percyd) == []
    (why,) = told(caplog, "not taken in")
    assert "is .percy/plans/two.yaml of plan two, renamed" in why
    with pytest.raises(PlanRenamed):
        shop.percyd.intake.take_file(shop.percyd.intake.files()[0])
    # A copy beside it is another plan, and so is a changed one.
    commit(shop.clone, {FILE: PLAN})
    assert looked(shop.percyd) == ["three, 1 task"]
    commit(shop.clone, {FILE: None, ".percy/plans/three.yaml": None})
    assert looked(shop.percyd) == []
    assert {record_of(shop.percyd, n).status.value for n in ("two", "three")} == {
        "ready"
    }


def test_a_file_may_change_its_ending_with_its_content(shop: Shop) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    body = f"---\n{MORE}---\nAll about it.\n"
    commit(shop.clone, {FILE: None, ".percy/plans/two.md": body})
    assert looked(shop.percyd) == ["two, 1 added"]
    listing = git(shop.remote, "ls-tree", "--name-only", "percy/state", "plans/two/")
    assert "plans/two/source.md" in listing.splitlines()
    assert "plans/two/source.yaml" not in listing.splitlines()
    percyd = again(shop.percyd)
    assert percyd.store.refresh().snapshot.plans["two"].source == "md"
    percyd.close()
    commit(shop.clone, {".percy/plans/two.md": body.replace("about", "of")})
    assert looked(shop.percyd) == ["two, no task changed"]
    assert record_of(shop.percyd).description == "All of it."


def test_the_file_of_an_archived_plan_is_known_by_its_content(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    commit(shop.clone, {FILE: PLAN})
    looked(shop.percyd)
    finish(shop)
    shop.store.apply(ArchivePlan(shop.store.stamp(), "two", Retention(plans=0)))
    for _ in range(2):
        percyd = again(shop.percyd)
        assert looked(percyd) == []
        assert percyd.intake.problems == []
        percyd.close()
    assert told(caplog, "not followed") == []
    commit(shop.clone, {FILE: MORE})
    for _ in range(2):
        percyd = again(shop.percyd)
        assert looked(percyd) == []
        percyd.close()
    (why,) = told(caplog, "not followed")
    assert "plan two is archived" in why
    assert rerun(shop.percyd.intake, "two").plan == "two-2"
    assert looked(shop.percyd) == []


def test_what_was_taken_in_by_another_word_is_edited_by_none(shop: Shop) -> None:
    elsewhere = shop.clone.parent / "two.yaml"
    elsewhere.write_text(PLAN)
    submit(shop.percyd.intake, str(elsewhere), PLAN.encode())
    commit(shop.clone, {FILE: MORE})
    assert looked(shop.percyd) == []
    assert "is there already" in shop.percyd.intake.problems[0]


def test_a_plan_whose_branch_the_remote_refuses_holds_up_no_other(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    hook = 'case "$1" in refs/heads/percy/plan/one) echo no such names; exit 1;; esac'
    write_hook(shop.remote, "update", hook)
    commit(shop.clone, {".percy/plans/one.yaml": PLAN, FILE: PLAN})
    push(shop.clone)

    assert looked(shop.percyd) == ["two, 1 task"]

    assert [w for w in told(caplog, "plan refused") if "no such names" in w]
    assert [*shop.percyd.store.refresh().snapshot.plans] == ["two"]
    write_hook(shop.remote, "update", "exit 0")
    assert looked(shop.percyd) == ["one, 1 task"]
