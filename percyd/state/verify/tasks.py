"""The rules of a task's way, apart from those of a claim (FORMAT 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from percyd.core.edges import (
    CLOSED,
    DEAD,
    HELD,
    TASK_EDGES,
    Op,
    TaskStatus,
    is_legal,
)
from percyd.core.ids import LAND_PATTERN, short_of
from percyd.core.reasons import Reason
from percyd.core.records import Task
from percyd.core.snapshot import Snapshot
from percyd.state.verify import fields
from percyd.state.verify.report import Finding
from percyd.state.verify.step import Diff, Step

_LAND = re.compile(LAND_PATTERN)
#: What a task has from its first claim on.
_LATER = (
    *("attempt", "retries", "assigned_to", "claim", "base", "reason", "approved"),
    *("result", "messages", "attempts"),
)
#: Operations that are about one task and change no other that is there.
_SINGLE = frozenset(
    {Op.WORK, Op.COMPLETE, Op.ASK, Op.ANSWER, Op.APPROVE, Op.REJECT}
    | {Op.RELEASE, Op.FAIL, Op.SAY}
)
_CANCELS = frozenset({Reason.CANCELLED, Reason.DEPENDENCY_FAILED})
_QUESTIONS = frozenset({Reason.QUESTION, Reason.REVIEW})


def judge_tasks(step: Step) -> Iterator[Finding]:
    """What is wrong with how a commit changes tasks."""
    moved = 0
    for diff in step.tasks:
        moved += diff.old is not None
        for what in _judge(step, diff):
            yield diff.path, what
    if step.op in _SINGLE and moved != 1:
        yield "", f"{step.op} is about one task and changes {moved}"


def _judge(step: Step, diff: Diff[Task]) -> Iterator[str]:
    old, new = diff.old, diff.new
    if not is_legal(TASK_EDGES, *diff.edge, step.op):
        yield f"{' -> '.join(diff.edge)} is no edge of {step.op or 'no operation'}"
    if new is None:
        return
    if old is None:
        yield from _judge_new(step, new)
    else:
        yield from _judge_fields(step.op, old, new)
        yield from _judge_moved(step, old, new)
    yield from _judge_holder(step.after, new)
    if new.status is TaskStatus.SUBMITTED:
        for name in _unmet(step.after, new):
            yield f"is submitted, but {name} is {_status(step.after, name)}"


def _judge_fields(op: str, old: Task, new: Task) -> Iterator[str]:
    names = fields.changed(old, new)
    wrong = fields.wrongly_changed(fields.TASK, op, names)
    if wrong:
        yield f"{op or 'no operation'} may not change {', '.join(wrong)}"
    lost = fields.forgotten(old, new)
    if lost:
        yield f"does not preserve the keys {', '.join(lost)}"
    if "attempts" in names and new.attempts[: len(old.attempts)] != old.attempts:
        yield "attempts does not only grow"
    if "messages" in names and new.messages[: len(old.messages)] != old.messages:
        yield "messages does not only grow"


def _judge_holder(after: Snapshot, task: Task) -> Iterator[str]:
    if task.status not in HELD:
        if task.assigned_to is not None or task.claim is not None:
            yield f"is {task.status} and has an assigned_to or a claim"
    elif not task.assigned_to or not task.claim:
        yield f"is {task.status} without an assigned_to and a claim"
    elif task.assigned_to not in after.agents:
        yield f"is held by {task.assigned_to}, which is not registered"


def _judge_new(step: Step, task: Task) -> Iterator[str]:
    later = [name for name in _LATER if task.__dict__[name]]
    if later:
        yield f"is new and has {', '.join(later)}"
    if task.plan not in step.after.plans:
        yield f"belongs to plan {task.plan}, which is not there"
    if task.plan in step.before.archived:
        yield f"belongs to plan {task.plan}, which is archived"
    is_landing = _LAND.match(short_of(task.id)) is not None
    if (is_landing, task.type == "land") != ((step.op == Op.LAND,) * 2):
        yield "land, and nothing else, adds tasks land-N of type land"
    yield from _judge_origin(step, task)


#: What a review adds that wants changes: who makes them, and a look at that.
_OF_A_REVIEW = ("fix", "review")


def _judge_origin(step: Step, task: Task) -> Iterator[str]:
    """Whether the operation may add a task to this plan at all."""
    plan = step.before.plan(task.plan)
    ended = [
        diff.new.type
        for diff in step.tasks
        if diff.old and diff.new and diff.new.plan == task.plan
    ]
    match step.op:
        case Op.TAKE_IN if plan is not None:
            yield f"is taken in, but plan {task.plan} was there before"
        case Op.PLAN_TASKS if "plan" not in ended:
            yield f"is planned, but no plan task of {task.plan} is completed"
        case Op.COMPLETE if "review" not in ended or task.type not in _OF_A_REVIEW:
            yield "is added by a completion that is no review's, or is no fix"
        case Op.RECONCILE if plan is not None and plan.record.status in CLOSED:
            yield f"is added to plan {task.plan}, which is {plan.record.status}"


def _judge_moved(step: Step, old: Task, new: Task) -> Iterator[str]:
    code = new.reason.code if new.reason else None
    match step.op:
        case Op.RESOLVE:
            yield from _judge_resolved(step, new)
        case Op.RETRY:
            yield from _judge_retried(step, new)
        case Op.RECONCILE:
            yield from _judge_reconciled(step, old, new)
        case Op.CANCEL if code not in _CANCELS:
            yield f"is cancelled with reason {code}"
        case Op.CANCEL if old.status not in HELD and old.attempts != new.attempts:
            yield "ends an attempt although nobody held it"
        case Op.ASK if code not in _QUESTIONS:
            yield f"asks with reason {code}"
        case Op.ANSWER if new.retries:
            yield f"is answered and keeps {new.retries} retries"
        case Op.APPROVE if not new.approved:
            yield "is approved, but approved names no commit"


def _judge_resolved(step: Step, task: Task) -> Iterator[str]:
    if task.status is TaskStatus.SUBMITTED:
        for name in _unmet(step.before, task):
            yield f"is resolved, but {name} is {_status(step.before, name)}"
    elif task.status is TaskStatus.CANCELLED:
        if not task.reason or task.reason.code is not Reason.DEPENDENCY_FAILED:
            yield "is cancelled by resolve without dependency_failed"
        if not _dead(step.after, task):
            yield "is cancelled for its dependencies, none of which is dead"


def _judge_retried(step: Step, task: Task) -> Iterator[str]:
    kept = [key for key in ("reason", "result", "approved") if task.__dict__[key]]
    if kept or task.retries:
        yield f"is retried and keeps {', '.join(kept) or 'its retries'}"
    for name in _dead(step.after, task):
        yield f"is retried, but {name} is {_status(step.after, name)}"
    if task.status is TaskStatus.BLOCKED and not _unmet(step.after, task):
        yield "is retried as blocked, by nothing"


def _judge_reconciled(step: Step, old: Task, new: Task) -> Iterator[str]:
    plan = step.before.plan(old.plan)
    if plan is not None and plan.record.status in CLOSED:
        yield f"is reconciled in a plan that is {plan.record.status}"
    for task in (old, new):
        code = task.reason.code if task.reason else None
        if task.status is TaskStatus.CANCELLED and code is not Reason.REMOVED:
            yield f"is cancelled with reason {code}, not removed"
    waits = old.status, new.status
    if TaskStatus.CANCELLED not in waits and old.reason != new.reason:
        yield "is edited and gets another reason"
    if old.status is TaskStatus.CANCELLED and new.reason is not None:
        yield "is back in its plan and keeps its reason"
    if waits == (TaskStatus.SUBMITTED, TaskStatus.BLOCKED):
        if not set(new.depends_on) - set(old.depends_on):
            yield "is held back by no new dependency"
        elif not _unmet(step.after, new):
            yield "is held back by nothing"


def _unmet(snapshot: Snapshot, task: Task) -> list[str]:
    done = TaskStatus.COMPLETED
    return [name for name in task.depends_on if _status(snapshot, name) != done]


def _dead(snapshot: Snapshot, task: Task) -> list[str]:
    return [name for name in task.depends_on if _status(snapshot, name) in DEAD]


def _status(snapshot: Snapshot, name: str) -> str:
    task = snapshot.task(name)
    return "absent" if task is None else task.status
