"""What a person does to a plan or a task: start, pause, resume, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from percyd.core.edges import CLOSED, ENDED, HELD, RUNNABLE, Op, PlanStatus, TaskStatus
from percyd.core.operations.base import (
    Answer,
    Decision,
    Stamp,
    Tips,
    move_plan,
    move_task,
    need_plan,
    need_task,
    trailers_of,
)
from percyd.core.operations.claims import Ending, end_attempt
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task, Why
from percyd.core.snapshot import Snapshot
from percyd.errors import IllegalTransition

#: What can be done instead with a plan, or a task, in this status.
_PLAN_WAYS: Final = {
    PlanStatus.DONE: "percyd plan rerun {0} does it all again as a new plan",
    PlanStatus.FAILED: "percyd task retry brings its tasks back one by one, percyd plan "
    "rerun {0} does it all again as a new plan, percyd plan cancel {0} gives it up",
    PlanStatus.CANCELLED: "percyd task retry brings its tasks back one by one, "
    "percyd plan rerun {0} does it all again as a new plan",
}
_TASK_WAYS: Final = {
    TaskStatus.COMPLETED: "its work is merged already and stays",
    TaskStatus.FAILED: "it has ended; percyd task retry {0} tries it again",
}


@dataclass(frozen=True, slots=True)
class Start:
    """Somebody releases a plan that was held back as a draft."""

    stamp: Stamp
    plan: str
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        plan = need_plan(snapshot, self.plan)
        if plan.status in RUNNABLE:
            return None
        _refuse_closed(plan, Op.START)
        started = move_plan(Op.START, plan, PlanStatus.READY, self.stamp)
        return Decision(
            Op.START, self.plan, (started,), trailers=trailers_of(self.plan)
        )


@dataclass(frozen=True, slots=True)
class Pause:
    """Somebody wants no more of a plan's tasks to be claimed.

    What runs goes on, and lands. A pause that percyd made itself becomes a person's:
    only a person ends it then.
    """

    stamp: Stamp
    plan: str
    by: str | None = None
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        plan = need_plan(snapshot, self.plan)
        _refuse_closed(plan, Op.PAUSE)
        if plan.paused is not None and plan.paused.code is Reason.PAUSED_BY_USER:
            return None
        why = Why(code=Reason.PAUSED_BY_USER, message=_by(self.by))
        return _changed(Op.PAUSE, plan, self.stamp, why)


@dataclass(frozen=True, slots=True)
class Resume:
    """Somebody lets a paused plan go on."""

    stamp: Stamp
    plan: str
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        plan = need_plan(snapshot, self.plan)
        _refuse_closed(plan, Op.RESUME)
        if plan.paused is None:
            return None
        return _changed(Op.RESUME, plan, self.stamp, None)


@dataclass(frozen=True, slots=True)
class CancelTask:
    """Somebody wants a task not to be done, whoever holds it.

    The worker that holds it notices, ends its program and rescues the work; what hangs
    on the task is cancelled by the `Resolve` that follows.
    """

    stamp: Stamp
    task: str
    by: str | None = None
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        task = need_task(snapshot, self.task)
        if task.status is TaskStatus.CANCELLED:
            return None
        if task.status in ENDED:
            raise IllegalTransition(
                f"task {task.id} is {task.status}",
                hint=_TASK_WAYS[task.status].format(task.id),
            )
        why = Why(code=Reason.CANCELLED, message=_by(self.by))
        puts = _cancelled(snapshot, task, why, self.stamp)
        (moved,) = (entry for entry in puts if isinstance(entry, Task))
        trailers = trailers_of(task.plan, moved, agent=task.assigned_to)
        return Decision(Op.CANCEL, task.id, tuple(puts), trailers=trailers)


@dataclass(frozen=True, slots=True)
class CancelPlan:
    """Somebody wants the rest of a plan not to be done: all its open tasks end with it.

    One that has failed is given up: it stands in nobody's way any more. What is
    completed stays merged. Trailers name only the tasks whose attempt ends:
    a plan may have thousands.
    """

    stamp: Stamp
    plan: str
    by: str | None = None
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        plan = need_plan(snapshot, self.plan)
        if plan.status is PlanStatus.CANCELLED:
            return None
        if plan.status is not PlanStatus.FAILED:
            _refuse_closed(plan, Op.CANCEL)
        why = Why(code=Reason.CANCELLED, message=_by(self.by))
        members = snapshot.plans[self.plan].tasks
        open_ = [t for _, t in sorted(members.items()) if t.status not in ENDED]
        puts = [
            entry
            for task in open_
            for entry in _cancelled(snapshot, task, why, self.stamp)
        ]
        tasks = [entry for entry in puts if isinstance(entry, Task)]
        ended = move_plan(
            Op.CANCEL,
            plan,
            PlanStatus.CANCELLED,
            self.stamp,
            reason=why,
            landing=None,
            planning=None,
        )
        held = [task for task in open_ if task.status in HELD]
        return Decision(
            Op.CANCEL,
            f"{self.plan}, {_counted(tasks)}",
            (ended, *tasks),
            trailers=trailers_of(self.plan, *held),
        )


def _changed(op: Op, plan: Plan, stamp: Stamp, paused: Why | None) -> Decision:
    values = {"paused": paused, "updated_at": stamp.time}
    changed = plan.model_copy(update=values)
    return Decision(op, plan.id, (changed,), trailers=trailers_of(plan.id))


def _cancelled(
    snapshot: Snapshot, task: Task, why: Why, stamp: Stamp
) -> list[Plan | Task]:
    """The records of a task that ends here, with its attempt if one is under way."""
    status = TaskStatus.CANCELLED
    if task.status in HELD:
        ending = Ending("cancelled", why)
        return end_attempt(Op.CANCEL, snapshot, task, status, ending, stamp)
    return [move_task(Op.CANCEL, task, status, stamp, reason=why)]


def _refuse_closed(plan: Plan, op: Op) -> None:
    if plan.status in CLOSED:
        raise IllegalTransition(
            f"plan {plan.id} is {plan.status}; {op} needs a plan that is open"
            + " or has failed" * (op is Op.CANCEL),
            hint=_PLAN_WAYS[plan.status].format(plan.id),
        )


def _by(name: str | None) -> str:
    return f"by {name}" if name else ""


def _counted(tasks: Sequence[Task]) -> str:
    return "1 task" if len(tasks) == 1 else f"{len(tasks)} tasks"
