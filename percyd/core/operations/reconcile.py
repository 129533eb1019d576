"""An edited plan document changes the plan that was taken in from it (DESIGN 4).

What nobody has begun follows the document; what is claimed, waits for a person or has
ended stays as it is, and is told. The whole edit is one commit, or is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

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
    trailers_of,
)
from percyd.core.operations.landing import is_being_landed
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task, Why
from percyd.core.snapshot import PlanState, Snapshot, SourceFile
from percyd.errors import EditRefused, PlanChanged, PlanFinished

#: What of a task comes from the document.
TASK_FIELDS: Final = (
    *("title", "description", "type", "runner", "run", "specialization"),
    *("depends_on", "paths", "priority", "verify", "timeout_s", "max_attempts"),
    *("review", "allow_empty"),
)
#: What of a plan comes from the document and may change once it is taken in. Where its
#: work starts and lands is not among it: what is done was built on that.
PLAN_FIELDS: Final = (
    *("title", "description", "verify", "land", "defaults", "budget", "limits"),
    "review_plan",
)
CYCLE_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a document, as it would be taken in."""

    plan: Plan
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A task that an edit is about and that stays as it is, because of its status."""

    task: str
    status: TaskStatus
    removed: bool

    def __str__(self) -> str:
        what = "removed" if self.removed else "edited"
        if self.status in DEAD and not self.removed:
            return f"{self.task} (edited, but {self.status}: a retry takes it up)"
        return f"{self.task} ({what}, but {self.status})"


@dataclass(frozen=True, slots=True)
class Changes:
    """What an edit comes to, in full task ids."""

    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()
    reopened: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    #: What else a person should know, each in one line.
    notes: tuple[str, ...] = ()
    released: bool = False

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "added": list(self.added),
            "updated": list(self.updated),
            "cancelled": list(self.cancelled),
            "reopened": list(self.reopened),
            "kept": [
                {"task": kept.task, "status": kept.status, "removed": kept.removed}
                for kept in self.kept
            ],
            "notes": list(self.notes),
            "released": self.released,
        }

    @property
    def words(self) -> str:
        """The counts, for people."""
        counts = {
            "added": len(self.added),
            "updated": len(self.updated),
            "cancelled": len(self.cancelled),
            "reopened": len(self.reopened),
            "kept": len(self.kept),
        }
        parts = [f"{count} {what}" for what, count in counts.items() if count]
        if self.released:
            parts.append("released")
        return ", ".join(parts) or "no task changed"


@dataclass(frozen=True, slots=True)
class Reconciled(Decision):
    """The decision, and in words of the document what it changes."""

    plan: str = ""
    changes: Changes = field(default_factory=Changes)


@dataclass(frozen=True, slots=True)
class Reconcile:
    """A newer version of a plan's document takes the place of the one it follows.

    It holds only where the plan still follows ``old``: ``old`` tells what the edit is
    about, and whoever was quicker has brought another version in.
    """

    stamp: Stamp
    old: Version
    new: Version
    source: SourceFile
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None when the plan follows this very version.

        Raises:
            PlanFinished: the plan is closed, archived, or only open to be landed.
            PlanChanged: it follows another version than the one this was decided for.
            EditRefused: its graph would not be one any more.
        """
        name = self.new.plan.id
        if name in snapshot.archived:
            raise PlanFinished(f"plan {name} is archived")
        record = need_plan(snapshot, name)
        if record.source.blob == self.new.plan.source.blob:
            return None
        if record.status in CLOSED:
            raise PlanFinished(f"plan {name} is {record.status}")
        if is_being_landed(snapshot.plans[name]):
            raise PlanFinished(f"plan {name} is being landed")
        if record.source.blob != self.old.plan.source.blob:
            raise PlanChanged(
                f"plan {name} follows another version of its file by now",
                hint="do it once more",
            )
        edit = _Edit(snapshot.plans[name], self)
        edit.tasks()
        edit.check_graph()
        plan = edit.plan()
        changes = edit.changes()
        ext = snapshot.plans[name].source
        is_other = ext is not None and ext != self.source.ext
        return Reconciled(
            Op.RECONCILE,
            f"{name}, {changes.words}",
            (plan, *edit.puts.values(), self.source),
            trailers=trailers_of(name, *edit.puts.values()),
            gone=(SourceFile(name, ext, b""),) if ext and is_other else (),
            plan=name,
            changes=changes,
        )


class _Edit:
    """One edit being worked out; nothing of it is kept between two decisions."""

    def __init__(self, state: PlanState, operation: Reconcile) -> None:
        self._state = state
        self._stamp = operation.stamp
        self._old_plan = operation.old.plan
        self._new_plan = operation.new.plan
        self._old = {task.id: task for task in operation.old.tasks}
        self._new = {task.id: task for task in operation.new.tasks}
        self.puts: dict[str, Task] = {}
        self._kept: list[Kept] = []

    def tasks(self) -> None:
        """Every task that either version names: what it becomes, or that it stays."""
        for task in self._new.values():
            now = self._state.tasks.get(task.id)
            if now is None:
                self._add(task)
            elif now.is_removed:
                words = {key: task.__dict__[key] for key in TASK_FIELDS}
                self._move(now, self._waits(task), reason=None, **words)
            elif _is_free(now):
                self._update(now, task)
            elif differ(self._old.get(task.id, now), task):
                self._kept.append(Kept(now.id, now.status, removed=False))
        for name, now in self._state.tasks.items():
            if name in self._new or now.is_removed or not self._is_a_documents(now):
                continue
            if _is_free(now):
                why = Why(code=Reason.REMOVED, message="no longer in the plan's file")
                self._move(now, TaskStatus.CANCELLED, reason=why)
            elif name in self._old:
                self._kept.append(Kept(now.id, now.status, removed=True))

    def _is_a_documents(self, task: Task) -> bool:
        """Whether a document has named a task: this one's predecessor, or one before.

        An edit may have left a removed task to its worker; it may be back in the queue.
        percyd itself adds none but ``land`` where a document has tasks.
        """
        return task.id in self._old or (bool(self._new) and task.type != "land")

    def _add(self, task: Task) -> None:
        time = self._stamp.time
        values = {"status": self._waits(task), "created_at": time, "updated_at": time}
        self.puts[task.id] = task.model_copy(update=values)

    def _update(self, now: Task, task: Task) -> None:
        to = {key: task.__dict__[key] for key in differ(now, task)}
        # Only a resolve submits what is blocked; it follows in the same push.
        status = TaskStatus.BLOCKED if now.status is TaskStatus.BLOCKED else None
        status = status or self._waits(task)
        if to or status is not now.status:
            self._move(now, status, **to)

    def _move(self, now: Task, status: TaskStatus, **to: object) -> None:
        self.puts[now.id] = move_task(Op.RECONCILE, now, status, self._stamp, **to)

    def _waits(self, task: Task) -> TaskStatus:
        """Blocked while a dependency is not completed; an edit completes none."""
        for name in task.depends_on:
            other = self._state.tasks.get(name)
            if other is None or other.status is not TaskStatus.COMPLETED:
                return TaskStatus.BLOCKED
        return TaskStatus.SUBMITTED

    def check_graph(self) -> None:
        """The plan's graph after the edit has no cycle and no loose end.

        What stays as it was keeps its old dependencies, so that two good versions may
        still come to a bad mixture.
        """
        edges = {task.id: task.depends_on for task in self._state.tasks.values()}
        edges |= {task.id: task.depends_on for task in self.puts.values()}
        for task in self.puts.values():
            for name in task.depends_on:
                if name not in edges:
                    raise EditRefused(
                        f"{task.id} would depend on {name}, which is not there", task.id
                    )
        try:
            graph.topological(edges)
        except ValueError as error:
            raise self._cycle(edges) from error

    def _cycle(self, edges: Mapping[str, tuple[str, ...]]) -> EditRefused:
        cycle = graph.shortest_cycle(dict(sorted(edges.items()))) or []
        stay = [name for name in cycle[1:] if name not in self.puts]
        why = ", ".join(f"{n} stays, {self._state.tasks[n].status}" for n in stay[:3])
        shown = " -> ".join(cycle[:CYCLE_SHOWN])
        # Nothing was wrong before: an edge of the new document closes it.
        edited = next((n for n in cycle if n in self.puts and n in self._new), "")
        return EditRefused(
            f"would make a cycle: {shown}{f' ({why})' if why else ''}", edited
        )

    def plan(self) -> Plan:
        """The plan's record: it follows the new version from here on."""
        record, new = self._state.record, self._new_plan
        to: dict[str, object] = {key: new.__dict__[key] for key in PLAN_FIELDS}
        to["source"] = new.source
        if self._released:
            return move_plan(Op.RECONCILE, record, PlanStatus.READY, self._stamp, **to)
        return record.model_copy(update={**to, "updated_at": self._stamp.time})

    @property
    def _released(self) -> bool:
        is_draft = self._state.record.status is PlanStatus.DRAFT
        return is_draft and self._new_plan.status is PlanStatus.READY

    def changes(self) -> Changes:
        """What it all comes to."""
        before = self._state.tasks

        def those(*statuses: str, back: bool = False) -> tuple[str, ...]:
            return tuple(
                sorted(
                    name
                    for name, task in self.puts.items()
                    if task.status in statuses
                    and name in before
                    and before[name].is_removed == back
                )
            )

        waiting = (TaskStatus.BLOCKED, TaskStatus.SUBMITTED)
        return Changes(
            added=tuple(sorted(name for name in self.puts if name not in before)),
            updated=those(*waiting),
            cancelled=those(TaskStatus.CANCELLED),
            reopened=those(*waiting, back=True),
            kept=tuple(sorted(self._kept, key=lambda kept: kept.task)),
            notes=tuple(self._notes()),
            released=self._released,
        )

    def _notes(self) -> Iterator[str]:
        record, old, new = self._state.record, self._old_plan, self._new_plan
        if old.base_branch != new.base_branch:
            yield (
                f"base stays {record.base_branch}: it cannot change once a plan is "
                "taken in"
            )
        held_back = new.status is PlanStatus.DRAFT and new.status != old.status
        if held_back and record.status is not PlanStatus.DRAFT:
            yield f"the plan is released already; percyd plan pause {record.id} holds it"


def _is_free(task: Task) -> bool:
    """Whether nobody has begun it; a person's approval is of the task as it was."""
    waits = task.status in (TaskStatus.BLOCKED, TaskStatus.SUBMITTED)
    return waits and task.approved is None


def differ(one: Task, other: Task) -> list[str]:
    """What of two tasks differs, as the document has it."""
    return [key for key in TASK_FIELDS if one.__dict__[key] != other.__dict__[key]]
