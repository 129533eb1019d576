"""Turns commits into steps: every changed file decoded once, the records kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from percyd.core.ids import plan_of
from percyd.core.records import Agent, Plan, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import ArchivedPlan, Entry, SourceFile
from percyd.state import codec
from percyd.state.verify import files
from percyd.state.verify.commits import FileChange, StateCommit
from percyd.state.verify.step import Diff, OtherFile, Records, Step, name_of

#: Told of each file that is wrong by itself, and what is wrong.
Say = Callable[[str, str], None]
Contents = Iterator[bytes | None]


def oids(changes: Iterable[FileChange]) -> list[Oid]:
    """The objects of the files that are looked into, in their order."""
    return [file.oid for file in changes if file.oid and files.is_read(file)]


@dataclass(slots=True)
class _Changes:
    """What one commit changes, by kind."""

    tasks: list[Diff[Task]] = field(default_factory=list)
    plans: list[Diff[Plan]] = field(default_factory=list)
    agents: list[Diff[Agent]] = field(default_factory=list)
    others: list[OtherFile] = field(default_factory=list)

    @property
    def touched(self) -> list[str]:
        """The plans that are changed, or whose tasks are."""
        names = {plan_of(name_of(diff)) for diff in self.tasks}
        return sorted(names.union(name_of(diff) for diff in self.plans))


class Decoder:
    """The records at one commit of the history, moved on commit by commit.

    A file that does not decode leaves the record as it was, so that the commit that
    mends it is compared with the last good one.
    """

    def __init__(self) -> None:
        self.records = Records()
        self._files = files.Files()

    def load(self, tree: Iterable[FileChange], contents: Contents) -> list[Task]:
        """Start from a whole tree, without judging it; answers its tasks."""
        tasks = []
        for file in tree:
            if files.name_problem(file) is not None:
                continue
            content = next(contents) if files.is_read(file) else b""
            entry, _ = self._files.decode(file.path, content)
            if entry is not None:
                self.records.put(entry)
            if isinstance(entry, SourceFile):
                self.records.note_source(file.path, there=True)
            if isinstance(entry, Task):
                tasks.append(entry)
        return tasks

    def step(
        self,
        commit: StateCommit,
        trailers: Mapping[str, tuple[str, ...]],
        contents: Contents,
        say: Say,
    ) -> Step:
        """The step that a commit is; its files' own flaws are told at once."""
        changes = _Changes()
        for file in commit.files or ():
            problem = files.name_problem(file)
            if problem is not None:
                say(file.path, problem)
                continue
            content: bytes | None = b""
            if files.is_read(file):
                content = next(contents)
            entry = None
            if file.oid is not None:
                entry, problems = self._files.decode(file.path, content)
                for problem in problems:
                    say(file.path, problem)
                if entry is None:
                    continue
            self._add(changes, file, entry, content)
        before = self.records.snapshot
        self._apply(changes)
        return Step(
            oid=commit.link.oid,
            op=(*trailers.get("Percy-Operation", ()), "")[0],
            trailers=trailers,
            before=before,
            after=self.records.snapshot,
            tasks=changes.tasks,
            plans=changes.plans,
            agents=changes.agents,
            others=changes.others,
            touched=changes.touched,
        )

    def _add(
        self,
        changes: _Changes,
        file: FileChange,
        entry: Entry | None,
        content: bytes | None,
    ) -> None:
        path = file.path
        kind, name = files.kind_of(path) or ("", "")
        match kind:
            case "task":
                old = self.records.task(name)
                if old is not None and codec.path_of(old) != path:
                    return  # it never was more than a misplaced copy
                new = entry if isinstance(entry, Task) else None
                if old is not None or new is not None:
                    changes.tasks.append(Diff(path, old, new))
            case "plan":
                plan = self.records.plan(name)
                put = entry if isinstance(entry, Plan) else None
                if plan is not None or put is not None:
                    changes.plans.append(Diff(path, plan, put))
            case "agent":
                agent = self.records.snapshot.agents.get(name)
                card = entry if isinstance(entry, Agent) else None
                if agent is not None or card is not None:
                    changes.agents.append(Diff(path, agent, card))
            case _:
                self._add_other(changes, file, kind, name, entry, content)

    def _add_other(
        self,
        changes: _Changes,
        file: FileChange,
        kind: str,
        name: str,
        entry: Entry | None,
        content: bytes | None,
    ) -> None:
        there = {
            "marker": self.records.snapshot.marker is not None,
            "source": file.path in self.records.sources,
            "archive": name in self.records.snapshot.archived,
        }[kind]
        new = file.oid is not None
        changes.others.append(OtherFile(file.path, kind, name, there, new, content))
        if kind == "marker" and entry is not None:
            self.records.put(entry)

    def _apply(self, changes: _Changes) -> None:
        """Removals of tasks first, plans before the tasks that they are given."""
        records = self.records
        for diff in changes.tasks:
            if diff.new is None and diff.old is not None:
                records.remove(diff.old)
        for plan in changes.plans:
            if plan.new is not None:
                records.put(plan.new)
            elif plan.old is not None:
                records.remove(plan.old)
        for diff in changes.tasks:
            if diff.new is not None:
                records.put(diff.new)
        for agent in changes.agents:
            if agent.new is not None:
                records.put(agent.new)
            elif agent.old is not None:
                records.remove(agent.old)
        for file in changes.others:
            if file.kind == "archive" and file.new:
                records.put(ArchivedPlan(file.plan))
            elif file.kind == "archive":
                records.remove_archive(file.plan)
            elif file.kind == "source":
                records.note_source(file.path, there=file.new)
