"""A task that has failed or was cancelled is tried again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from percyd.core import graph
from percyd.core.edges import CLOSED, DEAD, Op, PlanStatus, TaskStatus
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
from percyd.core.operations.reconcile import CYCLE_SHOWN, TASK_FIELDS
from percyd.core.reasons import Reason
from percyd.core.records import Task
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import IllegalTransition


@dataclass(frozen=True, slots=True)
class Retry:
    """Somebody wants a failed or cancelled task to be tried again.

    Brings back what was cancelled because of it and has no other dead dependency. What
    comes back is as the plan's document has it by now: an edit is no reason to try
    again, but whoever has mended the command wants the mended one.
    """

    stamp: Stamp
    task: str
    #: The document's tasks by id; one that is not among them comes back as it was.
    document: Mapping[str, Task] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None when the task waits for its turn already.

        Raises:
            IllegalTransition: it is held or completed, its plan has landed, or what it
                depends on is dead or not there.
        """
        task = need_task(snapshot, self.task)
        if task.status in (TaskStatus.SUBMITTED, TaskStatus.BLOCKED):
            return None
        task = self._as_in_the_document(task)
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
        tasks = self._brought_back(snapshot, task)
        self._check_graph(snapshot.plans[plan.id], tasks)
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

    def _brought_back(self, snapshot: Snapshot, task: Task) -> list[Task]:
        """The task, and what was cancelled because of it, the nearest first."""
        view = snapshot.put(self._bring_back(snapshot, task))
        tasks = sorted(view.plans[task.plan].tasks.items())
        dependents = graph.dependents(
            {name: self._as_in_the_document(each).depends_on for name, each in tasks}
        )
        back = [self.task]
        queue = [self.task]
        while queue:
            for name in dependents.get(queue.pop(), ()):
                follower = self._as_in_the_document(need_task(view, name))
                if self._follows(view, follower):
                    view = view.put(self._bring_back(view, follower))
                    back.append(name)
                    queue.append(name)
        return [need_task(view, name) for name in back]

    def _as_in_the_document(self, task: Task) -> Task:
        newer = self.document.get(task.id)
        if newer is None:
            return task
        words = {key: newer.__dict__[key] for key in TASK_FIELDS}
        return task.model_copy(update=words)

    def _check_graph(self, state: PlanState, tasks: list[Task]) -> None:
        """What comes back may depend on other tasks than before."""
        if not self.document:
            return
        for task in tasks:
            for name in task.depends_on:
                if name not in state.tasks:
                    raise IllegalTransition(
                        f"{task.id} depends on {name} by now, which the plan has not",
                        hint=f"percyd plan rerun {state.record.id} does it all as a new "
                        "plan",
                    )
        edges = {task.id: task.depends_on for task in (*state.tasks.values(), *tasks)}
        cycle = graph.shortest_cycle(dict(sorted(edges.items())))
        if cycle:
            raise IllegalTransition(
                "the plan's tasks would wait for each other by now: "
                + " -> ".join(cycle[:CYCLE_SHOWN])
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
