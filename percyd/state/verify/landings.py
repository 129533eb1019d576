"""The rules of a plan's landing in its base branch (FORMAT 3, DESIGN 6)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from percyd.core.edges import ENDED, Op, PlanStatus, TaskStatus
from percyd.core.ids import short_of
from percyd.core.records import Plan, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import GitError
from percyd.repo.objects import is_ancestor
from percyd.repo.runner import Git
from percyd.state.verify.report import Finding, RemoteRefs, Violation
from percyd.state.verify.step import Step


def judge_landings(step: Step) -> Iterator[Finding]:
    """What is wrong with how a commit lands a plan, or has its base merged first."""
    if step.op != Op.LAND:
        return
    added = [diff for diff in step.tasks if diff.old is None]
    if len(step.touched) != 1 or len(step.plans) > 1:
        yield "", f"land is about one plan and changes {len(step.touched)}"
        return
    before = step.before.plan(step.touched[0])
    after = step.after.plan(step.touched[0])
    if before is None or after is None:
        yield "", f"land is about plan {step.touched[0]}, which is not there"
        return
    if len(added) != len(step.tasks) or len(added) > 1:
        yield "", "land adds one task at most, and changes none that is there"
    where = step.plans[0].path if step.plans else ""
    if not added:
        for what in _judge_landed(before.record, after.record):
            yield where, what
        return
    for what in _judge_reopened(before, after.record):
        yield where, what
    for diff in added:
        if diff.new is not None:
            for what in _judge_added(before, diff.new):
                yield diff.path, what


def _judge_landed(old: Plan, new: Plan) -> Iterator[str]:
    if (old.status, new.status) != (PlanStatus.DONE, PlanStatus.DONE):
        yield f"lands and is {old.status}, then {new.status}"
    result = new.result
    if result is None or not result.landed_commit:
        yield "lands, and result.landed_commit names nothing"
        return
    if result.landed_into != old.base_branch:
        yield f"lands in {result.landed_into}, its base branch is {old.base_branch}"
    if old.result is None or old.result.commit != result.commit:
        yield "lands, and its result.commit is another one"
    if old.reason != new.reason:
        yield "lands, and its reason changes"


def _judge_reopened(before: PlanState, new: Plan) -> Iterator[str]:
    """Only a plan that is done, or is about to be and lands by itself, has it merged."""
    old = before.record
    if old.status is PlanStatus.DONE:
        if new.status is not PlanStatus.EXECUTING:
            yield f"has its base branch merged and is {new.status}"
        if new.result is not None or new.reason is not None:
            yield "has its base branch merged and keeps a result or a reason"
        return
    if new != old:
        yield f"is {old.status}, and land changes it"
    if old.land != "auto" or any(map(_is_in_the_way, before.tasks.values())):
        yield f"has its base branch merged although it is {old.status}"


def _is_in_the_way(task: Task) -> bool:
    is_done = task.status is TaskStatus.COMPLETED or task.is_removed
    return task.status not in ENDED or not is_done


def _judge_added(before: PlanState, task: Task) -> Iterator[str]:
    taken = {short_of(name) for name in before.tasks}
    number = 1
    while f"land-{number}" in taken:
        number += 1
    if short_of(task.id) != f"land-{number}":
        yield f"is the next landing task, which is land-{number}"
    if task.status is not TaskStatus.SUBMITTED or task.depends_on:
        yield "is a landing task that waits for others"
    if task.run is not None or task.runner is not None:
        yield "is a landing task with a program of its own"
    if task.verify != before.record.verify:
        yield "is a landing task with another gate than its plan's"


@dataclass(frozen=True, slots=True)
class Landed:
    """The plans that have landed, and the commits at which they did, as far as known."""

    tip: Oid
    snapshot: Snapshot
    commits: Mapping[str, Oid]
    whole: bool


def judge_landed(git: Git, refs: RemoteRefs, landed: Landed) -> Iterator[Violation]:
    """Whether what is said to have landed is on its base branch (S9).

    A base branch that is gone from the remote says nothing.
    """
    found = [
        (name, state.record.result)
        for name, state in sorted(landed.snapshot.plans.items())
        if state.record.result is not None
        and state.record.result.landed_into
        and (landed.whole or name in landed.commits)
    ]
    refs_of = sorted({f"refs/heads/{result.landed_into}" for _, result in found})
    tips = refs.fetch_refs(refs_of) if refs_of else {}
    for name, result in found:
        ref, commit = f"refs/heads/{result.landed_into}", result.landed_commit or ""
        tip = tips.get(ref)
        if tip is None:
            continue
        where = landed.commits.get(name, landed.tip)
        if not _contains(git, tip, commit):
            yield Violation(where, ref, f"has not {commit}, where {name} landed")
        if result.commit and not _contains(git, commit, result.commit):
            what = f"{name} landed at {commit}, which has not its result"
            yield Violation(where, ref, f"{what} {result.commit}")


def _contains(git: Git, tip: Oid, commit: Oid) -> bool:
    try:
        return is_ancestor(git, commit, tip)
    except GitError:
        return False
