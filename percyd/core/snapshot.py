"""All state at one tip, as a persistent value.

A snapshot never changes: `Snapshot.put` answers a new one that shares everything but
the changed record, so that one transition costs the same with 100 tasks as with
100,000, and a batch of operations can be decided one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from immutables import Map

from percyd.core import graph
from percyd.core.edges import ENDED, HELD, TaskStatus
from percyd.core.ids import plan_of
from percyd.core.records import Agent, FormatMarker, Plan, Task


class Shape:
    """A plan's graph. Lives as long as no task's dependencies change."""

    def __init__(self, tasks: Map[str, Task]) -> None:
        self._tasks = tasks

    @cached_property
    def dependents(self) -> Mapping[str, tuple[str, ...]]:
        """For each task the tasks that depend on it."""
        return graph.dependents(self._edges())

    @cached_property
    def heights(self) -> Mapping[str, int]:
        """For each task the length of the longest path that hangs on it."""
        return graph.heights(self._edges())

    def _edges(self) -> dict[str, tuple[str, ...]]:
        return {task.id: task.depends_on for task in self._tasks.values()}


@dataclass(frozen=True, slots=True)
class PlanState:
    """One plan with its tasks, and what is kept ready for questions about them."""

    record: Plan
    tasks: Map[str, Task] = field(default_factory=Map)
    submitted: Map[str, None] = field(default_factory=Map)
    open_count: int = 0
    source: str | None = None
    shape: Shape = field(default_factory=lambda: Shape(Map()))

    def put(self, task: Task) -> PlanState:
        """This plan with ``task`` added or replaced."""
        old = self.tasks.get(task.id)
        tasks = self.tasks.set(task.id, task)
        same_shape = old is not None and old.depends_on == task.depends_on
        return replace(
            self,
            tasks=tasks,
            submitted=self._submitted_with(task),
            open_count=self.open_count + _is_open(task) - _is_open(old),
            shape=self.shape if same_shape else Shape(tasks),
        )

    def remove(self, task_id: str) -> PlanState:
        """This plan without the task."""
        old = self.tasks[task_id]
        tasks = self.tasks.delete(task_id)
        submitted = self.submitted
        if task_id in submitted:
            submitted = submitted.delete(task_id)
        return replace(
            self,
            tasks=tasks,
            submitted=submitted,
            open_count=self.open_count - _is_open(old),
            shape=Shape(tasks),
        )

    def _submitted_with(self, task: Task) -> Map[str, None]:
        if task.status is TaskStatus.SUBMITTED:
            return self.submitted.set(task.id, None)
        if task.id in self.submitted:
            return self.submitted.delete(task.id)
        return self.submitted


def _is_open(task: Task | None) -> int:
    return int(task is not None and task.status not in ENDED)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A plan document as it was taken in: ``plans/<plan>/source.<ext>``."""

    plan: str
    ext: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ArchivedPlan:
    """A finished plan folded into one file: only its name is kept in memory."""

    plan: str


#: What one file of the state tree holds.
Entry = FormatMarker | Plan | Task | Agent | SourceFile | ArchivedPlan


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All state at one tip."""

    marker: FormatMarker | None = None
    plans: Map[str, PlanState] = field(default_factory=Map)
    agents: Map[str, Agent] = field(default_factory=Map)
    held: Map[str, None] = field(default_factory=Map)
    archived: Map[str, None] = field(default_factory=Map)

    def plan(self, plan_id: str) -> PlanState | None:
        """The live plan with this id."""
        return self.plans.get(plan_id)

    def task(self, task_id: str) -> Task | None:
        """The task with this full id."""
        state = self.plans.get(plan_of(task_id))
        return state.tasks.get(task_id) if state else None

    def tasks(self) -> Iterator[Task]:
        """Every task of every live plan."""
        for state in self.plans.values():
            yield from state.tasks.values()

    def held_tasks(self) -> Iterator[Task]:
        """The tasks that agents hold, of all plans."""
        for task_id in self.held:
            task = self.task(task_id)
            if task is not None:
                yield task

    def put(self, *entries: Entry) -> Snapshot:
        """This snapshot with each entry added or replaced, in this order."""
        result = self
        for entry in entries:
            result = result._put_one(entry)
        return result

    def _put_one(self, entry: Entry) -> Snapshot:
        match entry:
            case Task():
                return self._put_task(entry)
            case Plan():
                state = self.plans.get(entry.id)
                state = replace(state, record=entry) if state else PlanState(entry)
                return replace(self, plans=self.plans.set(entry.id, state))
            case Agent():
                return replace(self, agents=self.agents.set(entry.id, entry))
            case FormatMarker():
                return replace(self, marker=entry)
            case SourceFile():
                state = replace(self.plans[entry.plan], source=entry.ext)
                return replace(self, plans=self.plans.set(entry.plan, state))
            case ArchivedPlan():
                return replace(self, archived=self.archived.set(entry.plan, None))

    def _put_task(self, task: Task) -> Snapshot:
        plans = self.plans.set(task.plan, self.plans[task.plan].put(task))
        held = self.held
        if task.status in HELD:
            held = held.set(task.id, None)
        elif task.id in held:
            held = held.delete(task.id)
        return replace(self, plans=plans, held=held)

    def remove_task(self, task_id: str) -> Snapshot:
        """This snapshot without the task."""
        plan_id = plan_of(task_id)
        plans = self.plans.set(plan_id, self.plans[plan_id].remove(task_id))
        held = self.held.delete(task_id) if task_id in self.held else self.held
        return replace(self, plans=plans, held=held)

    def remove_plan(self, plan_id: str) -> Snapshot:
        """This snapshot without the plan and all its tasks."""
        result = self
        for task_id in self.plans[plan_id].tasks:
            if task_id in result.held:
                result = replace(result, held=result.held.delete(task_id))
        return replace(result, plans=result.plans.delete(plan_id))

    def remove_agent(self, agent: str) -> Snapshot:
        """This snapshot without the agent."""
        return replace(self, agents=self.agents.delete(agent))


def build(entries: Iterable[Entry]) -> Snapshot:
    """A snapshot from all files of one tree, in any order.

    Plans go first because a task needs its plan; the maps are filled in bulk, which
    is ten times as fast as one `Snapshot.put` after the other.

    Raises:
        KeyError: a task or a source names a plan that is not there.
    """
    marker: FormatMarker | None = None
    records: dict[str, Plan] = {}
    tasks: dict[str, dict[str, Task]] = {}
    agents: dict[str, Agent] = {}
    sources: dict[str, str] = {}
    archived: dict[str, None] = {}
    for entry in entries:
        match entry:
            case Task():
                tasks.setdefault(entry.plan, {})[entry.id] = entry
            case Plan():
                records[entry.id] = entry
            case Agent():
                agents[entry.id] = entry
            case FormatMarker():
                marker = entry
            case SourceFile():
                sources[entry.plan] = entry.ext
            case ArchivedPlan():
                archived[entry.plan] = None
    for name in (*tasks, *sources):
        records[name]  # a KeyError names the plan that is missing
    plans = {
        name: _plan_state(record, tasks.get(name, {}), sources.get(name))
        for name, record in records.items()
    }
    held = {
        task.id: None
        for members in tasks.values()
        for task in members.values()
        if task.status in HELD
    }
    return Snapshot(marker, Map(plans), Map(agents), Map(held), Map(archived))


def _plan_state(record: Plan, tasks: dict[str, Task], source: str | None) -> PlanState:
    members = Map(tasks)
    return PlanState(
        record=record,
        tasks=members,
        submitted=Map(
            {t.id: None for t in tasks.values() if t.status is TaskStatus.SUBMITTED}
        ),
        open_count=sum(_is_open(task) for task in tasks.values()),
        source=source,
        shape=Shape(members),
    )
