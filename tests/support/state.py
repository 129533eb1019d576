"""Stores over both backends, and records to put into them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from immutables import Map

from percyd.core.ids import full_id, plan_branch, short_of
from percyd.core.operations.agents import Init, Join
from percyd.core.operations.base import Fence
from percyd.core.operations.claims import Claim, Work
from percyd.core.operations.completion import Complete, Report
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Agent, Limits, Plan, Source, Task, Verdict
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.store import StateStore


@dataclass
class FakeClock:
    """Time that moves only when somebody waits."""

    boot: float = 1000.0
    wall: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def now(self) -> datetime:
        return self.wall

    def boot_s(self) -> float:
        return self.boot

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.boot += timeout_s
        self.wall += timedelta(seconds=timeout_s)
        return event.is_set()


@dataclass
class Numbers:
    """Randomness that counts: every token is new and every run the same."""

    prefix: int = 0
    _count: Iterator[int] = field(default_factory=lambda: count(1))

    def token(self) -> str:
        return f"{self.prefix:08x}{next(self._count):024x}"

    def hex6(self) -> str:
        return f"{next(self._count):06x}"

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


def agent(name: str = "box-000001", **fields: object) -> Agent:
    values: dict[str, object] = {
        "id": name,
        "name": "box",
        "host": "host",
        "pid": 1,
        "version": "0",
        "slots": 4,
        "runners": ("tool",),
    }
    return Agent.model_validate(values | fields)


def plan(name: str = "p", base: str = "b" * 40, **fields: object) -> Plan:
    values: dict[str, object] = {
        "id": name,
        "title": f"Plan {name}",
        "status": "ready",
        "base_branch": "main",
        "base_commit": base,
        "source": Source(kind="file", path=f".percy/plans/{name}.yaml", blob=name),
        "limits": Limits(),
    }
    return Plan.model_validate(values | fields)


def task(plan_id: str, short: str, *after: str, **fields: object) -> Task:
    values: dict[str, object] = {
        "id": full_id(plan_id, short),
        "plan": plan_id,
        "title": f"Task {short}",
        "run": "true",
        "depends_on": tuple(full_id(plan_id, name) for name in after),
        "status": "blocked" if after else "submitted",
    }
    return Task.model_validate(values | fields)


class Bench:
    """One store on an in-memory remote, with the operations of a task's way."""

    def __init__(self, remote: MemoryRemote | None = None, number: int = 0) -> None:
        self.remote = remote or MemoryRemote()
        self.clock = FakeClock()
        self.backend = MemoryBackend(self.remote)
        self.store = StateStore(self.backend, self.clock, Numbers(number))
        self.agent = agent(f"box-{number:06x}")

    def base(self, **files: str) -> str:
        """A commit for plans to start from."""
        content = Map({name: text.encode() for name, text in files.items()})
        return self.remote.commit([], content, "base")

    def start(self) -> None:
        """A state branch with this bench's agent joined."""
        self.store.apply(Init(self.store.stamp(), "shop"))
        self.join()

    def join(self) -> None:
        self.store.apply(Join(self.store.stamp(), self.agent))

    def take_in(self, record: Plan, *tasks: Task) -> None:
        self.store.apply(TakeIn(self.store.stamp(), record, tasks))

    def claim(self, slots: int = 1, **fields: object) -> list[Task]:
        tokens = tuple(self.store.token() for _ in range(slots))
        operation = Claim(self.store.stamp(), self.agent.id, tokens)
        applied = self.store.apply(operation)
        return list(applied.decision.tasks) if applied.decision else []

    def work(self, claimed: Task) -> Task:
        tip = self.store.tip_of(plan_branch(claimed.plan)) or ""
        self.store.apply(Work(self.store.stamp(), fence(claimed), tip))
        return self.task(claimed.id)

    def result(self, claimed: Task, **files: str) -> str:
        """A commit on top of the integration branch, with files changed."""
        tip = self.store.tip_of(plan_branch(claimed.plan)) or ""
        content = self.remote.commits[tip].files
        for name, text in files.items():
            content = content.set(name, text.encode())
        return self.remote.commit([tip], content, claimed.title)

    def complete(self, claimed: Task, commit: str | None = None) -> None:
        commit = commit or self.result(claimed, **{short_of(claimed.id): "done"})
        report = Report("did it", Verdict(status="none"))
        stamp = self.store.stamp()
        self.store.apply(Complete(stamp, fence(claimed), commit, report))

    def do(self, *names: str) -> None:
        """Claim, work and complete tasks until these are done."""
        for claimed in self.claim(8):
            if claimed.id in names:
                self.work(claimed)
                self.complete(claimed)

    def task(self, task_id: str) -> Task:
        found = self.store.state.snapshot.task(task_id)
        assert found is not None
        return found

    def plan(self, plan_id: str) -> Plan:
        return self.store.state.snapshot.plans[plan_id].record


def fence(claimed: Task) -> Fence:
    """The fencing token of a claimed task."""
    return Fence(claimed.id, claimed.attempt, claimed.claim or "")
