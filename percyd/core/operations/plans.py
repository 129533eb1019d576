"""A plan's life: taken in, resolved, closed, brought back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from percyd.core.edges import CLOSED, DEAD, Op, PlanStatus, TaskStatus
from percyd.core.ids import plan_branch
from percyd.core.operations.base import (
    Answer,
    Decision,
    Stamp,
    Tips,
    move_plan,
    move_task,
    need_plan,
    need_task,
    several,
    trailers_of,
)
from percyd.core.reasons import Reason
from percyd.core.records import Plan, PlanResult, Task, Why
from percyd.core.refs import RefMove
from percyd.core.snapshot import PlanState, Snapshot, SourceFile
from percyd.errors import IllegalTransition, PlanExists


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
    """The tasks for which a plan that ends has failed; those that failed come first."""
    return sorted(
        (task for task in state.tasks.values() if _is_bad(task)),
        key=lambda task: (task.status is not TaskStatus.FAILED, task.id),
    )


def _is_bad(task: Task) -> bool:
    removed = task.reason is not None and task.reason.code is Reason.REMOVED
    return task.status in DEAD and not removed


def _why_failed(bad: list[Task]) -> Why:
    first = bad[0]
    why = first.reason or Why(code=Reason.CANCELLED)
    words = f"{first.id} {first.status}: {why.message}".rstrip(": ")
    if len(bad) > 1:
        words += f" ({len(bad)} tasks not completed)"
    return Why(code=why.code, message=words)


@dataclass(frozen=True, slots=True)
class Retry:
    """Somebody wants a failed or cancelled task to be tried again.

    Brings back what was cancelled because of it and has no other dead dependency.
    """

    stamp: Stamp
    task: str
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        task = need_task(snapshot, self.task)
        if task.status in (TaskStatus.SUBMITTED, TaskStatus.BLOCKED):
            return None
        plan = need_plan(snapshot, task.plan)
        if plan.result is not None and plan.result.landed_commit is not None:
            raise IllegalTransition(
                f"plan {plan.id} has landed and is closed for good",
                hint=f"percyd plan rerun {plan.id} does it all again as a new plan",
            )
        dead = self._dead_dependency(snapshot, task)
        if dead is not None:
            raise IllegalTransition(
                f"{task.id} depends on {dead.id}, which is {dead.status}",
                hint=f"retry {dead.id} first",
            )
        view = snapshot.put(self._bring_back(snapshot, task))
        back = [self.task]
        queue = [self.task]
        while queue:
            for name in view.plans[task.plan].shape.dependents.get(queue.pop(), ()):
                follower = view.task(name)
                if follower and self._follows(view, follower):
                    view = view.put(self._bring_back(view, follower))
                    back.append(name)
                    queue.append(name)
        tasks = [need_task(view, name) for name in back]
        plans = []
        if plan.status in CLOSED:
            plans.append(
                move_plan(
                    Op.RETRY,
                    plan,
                    PlanStatus.EXECUTING,
                    self.stamp,
                    reason=None,
                    result=None,
                )
            )
        return Decision(
            Op.RETRY,
            several(tasks),
            (*plans, *tasks),
            trailers=trailers_of(task.plan, *tasks),
        )

    def _bring_back(self, snapshot: Snapshot, task: Task) -> Task:
        done = all(
            (other := snapshot.task(name)) and other.status is TaskStatus.COMPLETED
            for name in task.depends_on
        )
        return move_task(
            Op.RETRY,
            task,
            TaskStatus.SUBMITTED if done else TaskStatus.BLOCKED,
            self.stamp,
            reason=None,
            result=None,
            approved=None,
            retries=0,
        )

    def _follows(self, snapshot: Snapshot, task: Task) -> bool:
        return (
            task.status is TaskStatus.CANCELLED
            and task.reason is not None
            and task.reason.code is Reason.DEPENDENCY_FAILED
            and self._dead_dependency(snapshot, task) is None
        )

    def _dead_dependency(self, snapshot: Snapshot, task: Task) -> Task | None:
        for name in task.depends_on:
            other = snapshot.task(name)
            if other is not None and other.status in DEAD:
                return other
        return None
