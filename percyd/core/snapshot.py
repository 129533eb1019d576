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
from percyd.core.ready import Ready, needs_rest
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


class ReadyCell:
    """A plan's `Ready` index, made when somebody asks and then moved task by task.

    While a plan is being taken in nobody asks, and every task changes the heights.
    """

    __slots__ = ("_index", "_shape", "_tasks")

    def __init__(
        self, tasks: Map[str, Task], shape: Shape, index: Ready | None = None
    ) -> None:
        self._tasks = tasks
        self._shape = shape
        self._index = index

    @property
    def index(self) -> Ready:
        """The index itself."""
        if self._index is None:
            self._index = Ready.of(
                (task, self._shape.heights[task.id])
                for task in self._tasks.values()
                if task.status is TaskStatus.SUBMITTED
            )
        return self._index

    def moved(self, tasks: Map[str, Task], old: Task, new: Task) -> ReadyCell:
        """The cell after one task has changed, the graph being the same."""
        index = self._index
        if index is not None and old.status is TaskStatus.SUBMITTED:
            index = index.remove(old, self._shape.heights[old.id])
        if index is not None and new.status is TaskStatus.SUBMITTED:
            index = index.add(new, self._shape.heights[new.id])
        return ReadyCell(tasks, self._shape, index)


_NO_TASKS: Map[str, Task] = Map()


@dataclass(frozen=True, slots=True)
class PlanState:
    """One plan with its tasks, and what is kept at hand for questions about them.

    ``tired`` are the tasks that rest after a failed attempt.
    """

    record: Plan
    tasks: Map[str, Task] = _NO_TASKS
    tired: Map[str, None] = field(default_factory=Map)
    open_count: int = 0
    source: str | None = None
    shape: Shape = field(default_factory=lambda: Shape(_NO_TASKS))
    ready: ReadyCell = field(
        default_factory=lambda: ReadyCell(_NO_TASKS, Shape(_NO_TASKS))
    )

    def put(self, task: Task) -> PlanState:
        """This plan with ``task`` added or replaced."""
        old = self.tasks.get(task.id)
        tasks = self.tasks.set(task.id, task)
        if old is not None and old.depends_on == task.depends_on:
            shape, ready = self.shape, self.ready.moved(tasks, old, task)
        else:
            shape = Shape(tasks)
            ready = ReadyCell(tasks, shape)
        # Every transition comes by here; `replace` takes twice as long.
        return PlanState(
            record=self.record,
            tasks=tasks,
            tired=_with_or_without(self.tired, task.id, needs_rest(task)),
            open_count=self.open_count + _is_open(task) - _is_open(old),
            source=self.source,
            shape=shape,
            ready=ready,
        )

    def remove(self, task_id: str) -> PlanState:
        """This plan without the task."""
        tasks = self.tasks.delete(task_id)
        shape = Shape(tasks)
        return replace(
            self,
            tasks=tasks,
            tired=_with_or_without(self.tired, task_id, False),
            open_count=self.open_count - _is_open(self.tasks[task_id]),
            shape=shape,
            ready=ReadyCell(tasks, shape),
        )


def _with_or_without(ids: Map[str, None], name: str, member: bool) -> Map[str, None]:
    if member:
        return ids.set(name, None)
    return ids.delete(name) if name in ids else ids


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
    """A finished plan folded into one file: only its name is kept in memory.

    ``records``, the plan and then its tasks by id, are there where it is written.
    """

    plan: str
    records: tuple[Plan | Task, ...] = ()


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
        held = _with_or_without(self.held, task.id, task.status in HELD)
        return Snapshot(self.marker, plans, self.agents, held, self.archived)

    def remove_task(self, task_id: str) -> Snapshot:
        """This snapshot without the task."""
        plan_id = plan_of(task_id)
        plans = self.plans.set(plan_id, self.plans[plan_id].remove(task_id))
        held = _with_or_without(self.held, task_id, False)
        return replace(self, plans=plans, held=held)

    def remove_plan(self, plan_id: str) -> Snapshot:
        """This snapshot without the plan and all its tasks."""
        result = self
        for task_id in self.plans[plan_id].tasks:
            if task_id in result.held:
                result = replace(result, held=result.held.delete(task_id))
        return replace(result, plans=result.plans.delete(plan_id))

    def without(self, *entries: Plan | Agent | SourceFile) -> Snapshot:
        """This snapshot without agents, and without plans and all that is theirs.

        A document that is gone has given way to the one that is there.
        """
        result = self
        for entry in entries:
            if isinstance(entry, Plan):
                result = result.remove_plan(entry.id)
            elif isinstance(entry, Agent):
                result = result.remove_agent(entry.id)
        return result

    def remove_source(self, plan_id: str) -> Snapshot:
        """This snapshot with the plan's document gone."""
        state = replace(self.plans[plan_id], source=None)
        return replace(self, plans=self.plans.set(plan_id, state))

    def remove_archived(self, plan_id: str) -> Snapshot:
        """This snapshot without the archived plan."""
        ids = _with_or_without(self.archived, plan_id, False)
        return replace(self, archived=ids)

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
    shape = Shape(members)
    return PlanState(
        record=record,
        tasks=members,
        tired=Map({task.id: None for task in tasks.values() if needs_rest(task)}),
        open_count=sum(_is_open(task) for task in tasks.values()),
        source=source,
        shape=shape,
        ready=ReadyCell(members, shape),
    )
