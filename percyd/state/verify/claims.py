"""The rules of a claim's life: taken, worked on, ended (FORMAT 3; S1, S2, S7, S20)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from percyd.core.edges import (
    HELD,
    RUNNABLE,
    AgentStatus,
    Op,
    PlanStatus,
    TaskStatus,
)
from percyd.core.ids import agent_branch, rescue_ref, short_ref
from percyd.core.operations.claims import COUNTED
from percyd.core.reasons import FINAL, RETRIED, UNCOUNTED, Reason
from percyd.core.records import Attempt, Outcome, Plan, Task
from percyd.core.schedule import overlap, unmet
from percyd.core.snapshot import Snapshot
from percyd.state.verify.report import Finding
from percyd.state.verify.step import Diff, Step, held_by

#: How an attempt may have ended by each operation that ends claims.
_OUTCOMES: Mapping[str, frozenset[Outcome]] = {
    Op.RELEASE: frozenset({"failed", "released", "parked"}),
    Op.REQUEUE: frozenset({"lost", "released"}),
    Op.LEAVE: frozenset({"released"}),
    Op.LOST: frozenset({"lost"}),
    Op.FAIL: frozenset({"failed"}),
    Op.CANCEL: frozenset({"cancelled"}),
    Op.COMPLETE: frozenset({"completed"}),
    Op.PLAN_TASKS: frozenset({"completed"}),
    Op.ASK: frozenset({"asked"}),
}


def judge_claims(step: Step) -> Iterator[Finding]:
    """What is wrong with the claims that begin, go on or end in a commit."""
    reserved: list[Task] = []
    if step.op == Op.CLAIM:
        reserved = [task for task in step.before.held_tasks() if task.paths]
    for diff in step.tasks:
        if diff.old is None or diff.new is None:
            continue
        for what in _judge(step, diff.old, diff.new, reserved):
            yield diff.path, what
        if step.op == Op.CLAIM and diff.new.paths:
            reserved.append(diff.new)
    yield from _judge_departed(step)


def _judge(step: Step, old: Task, new: Task, reserved: list[Task]) -> Iterator[str]:
    if step.op == Op.CLAIM:
        yield from _judge_claim(step, old, new)
        for other in reserved:
            if overlap(new.paths, other.paths):
                yield f"is claimed, its paths overlap with those of {other.id}"
    elif step.op == Op.WORK and not new.base:
        yield "is worked on from no base"
    elif old.status in HELD and new.status not in HELD and step.op in _OUTCOMES:
        yield from _judge_end(step, old, new)


def _judge_claim(step: Step, old: Task, new: Task) -> Iterator[str]:
    before = step.before
    state = before.plan(old.plan)
    if state is not None and (
        state.record.status not in RUNNABLE or state.record.paused is not None
    ):
        how = "paused" if state.record.paused else state.record.status
        yield f"is claimed, but plan {old.plan} is {how}"
    after = step.after.plan(old.plan)
    if after is not None and after.record.status is not PlanStatus.EXECUTING:
        yield f"is claimed and leaves plan {old.plan} {after.record.status}"
    for name in unmet(before, new):
        yield f"is claimed, but {name} is not completed"
    agent = before.agents.get(new.assigned_to or "")
    if agent is None or agent.status is not AgentStatus.JOINED:
        yield f"is claimed by {new.assigned_to}, which has not joined"
    if new.attempt != old.attempt + 1:
        yield f"attempt {old.attempt} is followed by {new.attempt}"
    if new.base is not None or new.reason is not None:
        yield "is claimed with a base or a reason"


def _judge_end(step: Step, old: Task, new: Task) -> Iterator[str]:
    entries = new.attempts[len(old.attempts) :]
    if len(entries) != 1:
        yield f"its claim ends with {len(entries)} new entries in attempts"
        return
    (entry,) = entries
    if (entry.number, entry.claim) != (old.attempt, old.claim):
        yield f"ends attempt {entry.number}; another claim holds it"
    if entry.agent != old.assigned_to:
        yield f"ends the attempt of {entry.agent}; {old.assigned_to} holds it"
    if entry.outcome not in _OUTCOMES[step.op]:
        yield f"{step.op} ends an attempt as {entry.outcome}"
    counted = old.retries + (entry.outcome in COUNTED)
    if step.op not in (Op.COMPLETE, Op.PLAN_TASKS) and new.retries != counted:
        yield f"has {new.retries} retries after {entry.outcome}, not {counted}"
    if entry.rescue not in (None, rescue_ref(old.id, old.attempt)):
        yield f"names the rescue ref {entry.rescue}"
    if (entry.rescue is not None) and not entry.commit:
        yield "names a rescue ref without a commit"
    yield from _judge_outcome(step, old, new, entry)


def _judge_outcome(step: Step, old: Task, new: Task, entry: Attempt) -> Iterator[str]:
    match new.status:
        case TaskStatus.SUBMITTED:
            yield from _judge_requeued(step.before, new, entry)
        case TaskStatus.FAILED:
            yield from _judge_failed(step.before, new, entry)
        case TaskStatus.COMPLETED:
            yield from _judge_completed(step, old, new, entry)
        case TaskStatus.CANCELLED if entry.reason != new.reason:
            yield "is cancelled with another reason than its attempt's"


def _judge_requeued(before: Snapshot, new: Task, entry: Attempt) -> Iterator[str]:
    code = entry.reason.code if entry.reason else None
    if new.reason != entry.reason:
        yield "goes back with another reason than its attempt's"
    if code not in (RETRIED if entry.outcome in COUNTED else UNCOUNTED):
        yield f"goes back to the queue with reason {code}"
    allowed = _allowed(before, new)
    if entry.outcome in COUNTED and new.retries >= allowed:
        yield f"goes back to the queue after {new.retries} of {allowed} attempts"


def _judge_failed(before: Snapshot, new: Task, entry: Attempt) -> Iterator[str]:
    code = new.reason.code if new.reason else None
    allowed = _allowed(before, new)
    if code not in FINAL:
        yield f"fails for good with reason {code}"
    elif code is Reason.ATTEMPTS_EXHAUSTED and new.retries < allowed:
        yield f"is out of attempts after {new.retries} of {allowed}"
    elif entry.outcome == "lost" and code is not Reason.ATTEMPTS_EXHAUSTED:
        yield f"is lost and fails for good with reason {code}"


def _judge_completed(step: Step, old: Task, new: Task, entry: Attempt) -> Iterator[str]:
    if new.reason is not None:
        yield "is completed with a reason"
    if (old.type == "plan") != (step.op == Op.PLAN_TASKS):
        yield f"is a {old.type} task and is completed by {step.op}"
    if step.op != Op.COMPLETE:
        return
    result = new.result
    if result is None:
        yield "is completed without a result"
        return
    named = (result.branch, result.commit, result.integration_commit)
    if old.type == "review":
        if any(named) or result.verdict is not None:
            yield "is a review, and its result names more than a summary"
        return
    state = step.before.plan(old.plan)
    landing = state.record.landing if state else None
    if landing is not None and landing.claim != old.claim:
        yield f"lands in the turn of {landing.task}"
    branch = short_ref(agent_branch(old.assigned_to or "", old.id))
    if not all(named) or result.branch != branch:
        yield f"its result does not name {branch}, a commit and a merge"
    if (entry.branch, entry.commit) != named[:2]:
        yield "its last attempt does not name its result"
    wanted = "passed" if old.verify else "none"
    if result.verdict is None or result.verdict.status != wanted:
        found = result.verdict.status if result.verdict else "absent"
        yield f"lands with the verdict {found}, not {wanted}"


def _allowed(before: Snapshot, task: Task) -> int:
    state = before.plan(task.plan)
    limit = state.record.limits.max_attempts if state else 0
    return task.max_attempts or limit


def _judge_departed(step: Step) -> Iterator[Finding]:
    """An agent that goes takes all its tasks with it, and no other's."""
    gone = {
        diff.old.id
        for diff in step.agents
        if diff.old and (not diff.new or diff.new.status is not AgentStatus.JOINED)
    }
    if gone:
        for task in step.after.held_tasks():
            if task.assigned_to in gone:
                yield (
                    "",
                    f"{task.id} is still held by {task.assigned_to}, which is gone",
                )
    if step.op in (Op.LEAVE, Op.LOST):
        for diff in step.tasks:
            if (
                diff.old
                and diff.old.status in HELD
                and diff.old.assigned_to not in gone
            ):
                yield diff.path, f"is taken from {diff.old.assigned_to}, which stays"


def judge_landing(step: Step, diff: Diff[Plan]) -> Iterator[str]:
    """Who has a plan's landing turn, and how it changes hands."""
    old = diff.old.landing if diff.old else None
    new = diff.new.landing if diff.new else None
    if old == new:
        return
    if step.op == Op.TURN:
        if old is not None:
            yield f"the landing turn is taken from {old.task}"
    elif new is not None:
        yield f"the landing turn is given by {step.op or 'no operation'}"
    elif old is not None and is_held(step.after, old.task, old.attempt, old.claim):
        yield f"the landing turn is taken from {old.task}, which still holds it"


def is_held(snapshot: Snapshot, name: str, attempt: int, claim: str) -> bool:
    """Whether this very claim holds the task."""
    task = snapshot.task(name)
    return (
        task is not None
        and task.status in HELD
        and held_by(task) == (name, attempt, claim)
    )
