"""One commit as a step from one snapshot to the next: what the rules are asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from percyd.core.edges import ABSENT
from percyd.core.records import Agent, FormatMarker, Plan, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import ArchivedPlan, Entry, Snapshot

R = TypeVar("R", Task, Plan, Agent)


@dataclass(frozen=True, slots=True)
class Diff(Generic[R]):
    """One record before and after a commit; None where it is not there."""

    path: str
    old: R | None
    new: R | None

    @property
    def edge(self) -> tuple[str, str]:
        """The change of status."""
        return (
            self.old.status if self.old is not None else ABSENT,
            self.new.status if self.new is not None else ABSENT,
        )


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A change of a file that is no record; ``old`` and ``new``: whether it is there."""

    path: str
    kind: str
    plan: str
    old: bool
    new: bool
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One commit, decoded."""

    oid: Oid
    op: str
    trailers: Mapping[str, tuple[str, ...]]
    before: Snapshot
    after: Snapshot
    tasks: Sequence[Diff[Task]] = ()
    plans: Sequence[Diff[Plan]] = ()
    agents: Sequence[Diff[Agent]] = ()
    others: Sequence[OtherFile] = ()
    #: The plans that the commit is about.
    touched: Sequence[str] = ()


def name_of(diff: Diff[R]) -> str:
    """The id of the record that differs."""
    record = diff.new if diff.new is not None else diff.old
    return "" if record is None else record.id


def held_by(task: Task) -> tuple[str, int, str | None]:
    """The fencing token of a held task, as a landing turn names it."""
    return task.id, task.attempt, task.claim


@dataclass(slots=True)
class Records:
    """The records at one commit, illegal trees included.

    ``strays`` are tasks whose plan is not there: a snapshot has no place for them.
    ``sources`` are the paths of the plans' documents.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    strays: dict[str, Task] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def task(self, name: str) -> Task | None:
        """The task with this full id."""
        return self.snapshot.task(name) or self.strays.get(name)

    def plan(self, name: str) -> Plan | None:
        """The plan with this id."""
        state = self.snapshot.plan(name)
        return None if state is None else state.record

    def put(self, entry: Entry) -> None:
        """Add or replace a record; plans before their tasks."""
        match entry:
            case Task() if entry.plan not in self.snapshot.plans:
                self.strays[entry.id] = entry
            case Plan():
                self.snapshot = self.snapshot.put(entry)
                for task in [t for t in self.strays.values() if t.plan == entry.id]:
                    self.snapshot = self.snapshot.put(self.strays.pop(task.id))
            case Task() | Agent() | FormatMarker() | ArchivedPlan():
                self.snapshot = self.snapshot.put(entry)

    def remove(self, record: Task | Plan | Agent) -> None:
        """Take a record out that is there; tasks before their plan."""
        match record:
            case Task() if record.id in self.strays:
                del self.strays[record.id]
            case Task():
                self.snapshot = self.snapshot.remove_task(record.id)
            case Plan():
                left = self.snapshot.plans[record.id].tasks
                self.strays.update(left.items())
                self.snapshot = self.snapshot.remove_plan(record.id)
            case Agent():
                self.snapshot = self.snapshot.remove_agent(record.id)

    def note_source(self, path: str, *, there: bool) -> None:
        """Remember whether a document is there."""
        (self.sources.add if there else self.sources.discard)(path)

    def remove_archive(self, plan: str) -> None:
        """Take an archive out, which no operation may."""
        archived = self.snapshot.archived
        if plan in archived:
            self.snapshot = replace(self.snapshot, archived=archived.delete(plan))
