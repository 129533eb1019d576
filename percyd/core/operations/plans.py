"""A plan's life: taken in, resolved, closed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from percyd.core.edges import DEAD, Op, PlanStatus, TaskStatus
from percyd.core.ids import plan_branch
from percyd.core.operations.base import (
    Answer,
    Decision,
    Stamp,
    Tips,
    move_plan,
    move_task,
    several,
    trailers_of,
)
from percyd.core.reasons import Reason
from percyd.core.records import Plan, PlanResult, Task, Why
from percyd.core.refs import RefMove
from percyd.core.snapshot import PlanState, Snapshot, SourceFile
from percyd.errors import PlanExists


@dataclass(frozen=True, slots=True)
class TakeIn:
    """A plan document becomes a plan with tasks and an integration branch.

    Keyed by plan and blob: the same document again is "already so".
    """

    stamp: Stamp
    plan: Plan
    tasks: tuple[Task, ...]
    source: SourceFile | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Operation`."""
        return (plan_branch(self.plan.id),)

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        name = self.plan.id
        if name in snapshot.archived:
            raise PlanExists(
                f"plan {name} is finished and archived",
                hint="give the new plan another name",
            )
        state = snapshot.plan(name)
        if state is not None:
            if state.record.source.blob == self.plan.source.blob:
                return None
            raise PlanExists(
                f"plan {name} is there already, from another version of its document",
                hint="give the new plan another name",
            )
        branch = plan_branch(name)
        if tips.get(branch) is not None:
            raise PlanExists(
                f"the remote has a branch percy/plan/{name} that no plan owns",
                hint=f"rename plan {name}, or delete that branch if nobody needs it; "
                "if percy/state was begun anew, push the lost one back instead",
            )
        times = {"created_at": self.stamp.time, "updated_at": self.stamp.time}
        plan = self.plan.model_copy(update=times)
        tasks = [task.model_copy(update=times) for task in self.tasks]
        return Decision(
            Op.TAKE_IN,
            f"{name}, {len(tasks)} task{'s' * (len(tasks) != 1)}",
            (plan, *tasks, *([self.source] if self.source else [])),
            (RefMove(branch, None, plan.base_commit),),
            trailers_of(name),
        )


@dataclass(frozen=True, slots=True)
class Resolve:
    """Releases what has become ready, cancels what can never run.

    ``ended`` names the tasks that have just ended: only what depends on them is looked
    at, and at ``edited``, which an edit has changed. None looks at every blocked task.
    """

    stamp: Stamp
    ended: tuple[str, ...] | None = None
    edited: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        view = snapshot
        moved: list[Task] = []
        queue = list(self._candidates(snapshot))
        while queue:
            task = view.task(queue.pop())
            changed = self._settle(view, task) if task else None
            if changed is None:
                continue
            view = view.put(changed)
            moved.append(changed)
            if changed.status is TaskStatus.CANCELLED:
                queue += view.plans[changed.plan].shape.dependents.get(changed.id, ())
        if not moved:
            return None
        moved.sort(key=lambda task: task.id)
        plans = {task.plan for task in moved}
        return Decision(
            Op.RESOLVE,
            several(moved),
            tuple(moved),
            trailers=trailers_of(plans.pop() if len(plans) == 1 else None, *moved),
        )

    def _candidates(self, snapshot: Snapshot) -> Iterable[str]:
        if self.ended is None:
            for task in snapshot.tasks():
                if task.status is TaskStatus.BLOCKED:
                    yield task.id
            return
        yield from self.edited
        for name in self.ended:
            ended = snapshot.task(name)
            if ended is not None:
                yield from snapshot.plans[ended.plan].shape.dependents.get(name, ())

    def _settle(self, snapshot: Snapshot, task: Task) -> Task | None:
        if task.status not in (TaskStatus.BLOCKED, TaskStatus.SUBMITTED):
            return None
        others = [snapshot.task(name) for name in task.depends_on]
        dead = [other for other in others if other and other.status in DEAD]
        if dead:
            return move_task(
                Op.RESOLVE,
                task,
                TaskStatus.CANCELLED,
                self.stamp,
                reason=Why(
                    code=Reason.DEPENDENCY_FAILED,
                    message=f"{dead[0].id} was {dead[0].status}"
                    if dead[0].status is TaskStatus.CANCELLED
                    else f"{dead[0].id} failed",
                ),
            )
        done = all(o and o.status is TaskStatus.COMPLETED for o in others)
        if task.status is TaskStatus.BLOCKED and done:
            return move_task(Op.RESOLVE, task, TaskStatus.SUBMITTED, self.stamp)
        return None


@dataclass(frozen=True, slots=True)
class Close:
    """A plan whose tasks have all ended is done, or has failed."""

    stamp: Stamp
    plan: str

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Operation`."""
        return (plan_branch(self.plan),)

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None while a task is open, or when it is closed."""
        state = snapshot.plan(self.plan)
        if state is None or not is_closable(state):
            return None
        bad = not_completed(state)
        result = PlanResult(commit=tips.get(plan_branch(self.plan)))
        status = PlanStatus.FAILED if bad else PlanStatus.DONE
        plan = move_plan(
            Op.CLOSE,
            state.record,
            status,
            self.stamp,
            result=result,
            reason=_why_failed(bad) if bad else None,
        )
        return Decision(
            Op.CLOSE, f"{self.plan}, {status}", (plan,), trailers=trailers_of(self.plan)
        )


def is_closable(state: PlanState) -> bool:
    """Whether a plan is open although none of its tasks is."""
    return (
        state.open_count == 0
        and bool(state.tasks)
        and state.record.status in (PlanStatus.READY, PlanStatus.EXECUTING)
    )


def not_completed(state: PlanState) -> list[Task]:
    """The tasks for which a plan that ends has failed.

    Those that failed come first, those that were cancelled because of others last.
    """
    return sorted(
        (
            task
            for task in state.tasks.values()
            if task.status in DEAD and not task.is_removed
        ),
        key=lambda task: (
            task.status is not TaskStatus.FAILED,
            task.reason is not None and task.reason.code is Reason.DEPENDENCY_FAILED,
            task.id,
        ),
    )


def _why_failed(bad: list[Task]) -> Why:
    first = bad[0]
    why = first.reason or Why(code=Reason.CANCELLED)
    words = f"{first.id} {first.status}: {why.message}".rstrip(": ")
    if len(bad) > 1:
        words += f" ({len(bad)} tasks not completed)"
    return Why(code=why.code, message=words)
