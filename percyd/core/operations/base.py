"""What an operation is, and what its decision answers (DESIGN 3).

An operation is decided on the snapshot of the moment: with the tips of its own refs
and with inputs that were drawn beforehand, so that deciding again after a lost race is
safe. It answers a `Decision`, or a `MergeRequest` or `LineRequest` whose result it
needs first, or None for "already so". A refusal is raised, as a `RefusedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from percyd.core.edges import (
    AGENT_EDGES,
    HELD,
    PLAN_EDGES,
    TASK_EDGES,
    Op,
    PlanStatus,
    TaskStatus,
    is_legal,
)
from percyd.core.records import Agent, Landing, Plan, Task
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.core.snapshot import Entry, Snapshot, SourceFile
from percyd.errors import IllegalTransition, StaleClaim, UnknownIdError

#: The tips of refs on the remote; a ref that is not in it was not asked for.
Tips = Mapping[str, Oid | None]


@dataclass(frozen=True, slots=True)
class Stamp:
    """What every operation draws beforehand: its id, and the time for people."""

    op_id: str
    now: datetime

    @property
    def time(self) -> str:
        """The time as records hold it."""
        return self.now.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Decision:
    """What an operation changes: records, refs, and the words of its commit.

    ``gone`` is what is removed: a plan with its tasks and its document, an agent, or a
    document whose ending has changed.
    """

    op: Op
    subject: str
    puts: tuple[Entry, ...] = ()
    moves: tuple[RefMove, ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    gone: tuple[Plan | Agent | SourceFile, ...] = ()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The task records that change."""
        return tuple(entry for entry in self.puts if isinstance(entry, Task))


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """A merge that the decision depends on; the committer makes it, then calls `then`.

    The decision stays pure: the merge is a value here and its result an argument there.
    """

    ours: Oid
    theirs: Oid
    message: str
    then: Callable[[Merged | MergeConflict], Decision]


@dataclass(frozen=True, slots=True)
class LineRequest:
    """Whether ``new`` is ``old`` or comes after it; the committer looks, calls `then`."""

    old: Oid
    new: Oid
    then: Callable[[bool], Answer]


Answer = Decision | MergeRequest | LineRequest | None


class Operation(Protocol):
    """One intended change of state."""

    @property
    def stamp(self) -> Stamp:
        """What was drawn beforehand."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """The refs whose tips `decide` must be given."""
        ...

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """Decide on one snapshot. Raises `RefusedError` when a guard fails."""
        ...


def move_task(op: Op, task: Task, status: TaskStatus, stamp: Stamp, **to: Any) -> Task:
    """The task in its new status, with more fields changed; refuses illegal edges."""
    if not is_legal(TASK_EDGES, task.status, status, op):
        needed = sorted(
            {s for (s, t), ops in TASK_EDGES.items() if t == status and op in ops}
        )
        raise IllegalTransition(
            f"task {task.id} is {task.status}; {op} needs {' or '.join(needed)}"
        )
    if status not in HELD:
        to = {"assigned_to": None, "claim": None, **to}
    return task.model_copy(update={"status": status, "updated_at": stamp.time, **to})


def move_plan(op: Op, plan: Plan, status: PlanStatus, stamp: Stamp, **to: Any) -> Plan:
    """The plan in its new status, with more fields changed; refuses illegal edges."""
    if not is_legal(PLAN_EDGES, plan.status, status, op):
        needed = sorted(
            {s for (s, t), ops in PLAN_EDGES.items() if t == status and op in ops}
        )
        raise IllegalTransition(
            f"plan {plan.id} is {plan.status}; {op} needs {' or '.join(needed)}"
        )
    return plan.model_copy(update={"status": status, "updated_at": stamp.time, **to})


def move_agent(op: Op, agent: Agent, status: str) -> Agent:
    """The agent in its new status; refuses illegal edges."""
    if not is_legal(AGENT_EDGES, agent.status, status, op):
        raise IllegalTransition(f"agent {agent.id} is {agent.status}, not joined")
    return agent.model_copy(update={"status": status})


def need_plan(snapshot: Snapshot, plan_id: str) -> Plan:
    """The live plan, or `UnknownIdError`."""
    state = snapshot.plan(plan_id)
    if state is None:
        raise UnknownIdError(f"there is no plan {plan_id}")
    return state.record


def need_task(snapshot: Snapshot, task_id: str) -> Task:
    """The task, or `UnknownIdError`."""
    task = snapshot.task(task_id)
    if task is None:
        raise UnknownIdError(f"there is no task {task_id}")
    return task


@dataclass(frozen=True, slots=True)
class Fence:
    """The fencing token: which claim a write speaks for."""

    task: str
    attempt: int
    claim: str

    def check(self, snapshot: Snapshot) -> Task:
        """The task, if this very claim still holds it; else `StaleClaim`."""
        task = need_task(snapshot, self.task)
        if (
            task.status not in HELD
            or task.attempt != self.attempt
            or task.claim != self.claim
        ):
            raise StaleClaim(
                f"attempt {self.attempt} of {self.task} is over: "
                f"the task is {task.status}, attempt {task.attempt}"
            )
        return task

    @property
    def landing(self) -> Landing:
        """The landing turn that belongs to this claim."""
        return Landing(task=self.task, attempt=self.attempt, claim=self.claim)


def trailers_of(
    plan: str | None, *tasks: Task, agent: str | None = None
) -> tuple[tuple[str, str], ...]:
    """``Percy-Plan``, ``Percy-Agent``, and a pair for each task (FORMAT 4)."""
    lines: list[tuple[str, str]] = []
    if plan:
        lines.append(("Percy-Plan", plan))
    for task in tasks:
        lines.append(("Percy-Task", task.id))
        lines.append(("Percy-Attempt", str(task.attempt)))
    if agent:
        lines.append(("Percy-Agent", agent))
    return tuple(lines)


def several(tasks: tuple[Task, ...] | list[Task]) -> str:
    """Task ids for a subject line, short."""
    names = [task.id for task in tasks]
    if len(names) <= 3:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3} more"
