"""Stores over both backends, and records to put into them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from immutables import Map

from percyd.core.ids import full_id, plan_branch, short_of
from percyd.core.operations.agents import Init, Join
from percyd.core.operations.base import Fence
from percyd.core.operations.claims import Claim, Work
from percyd.core.operations.completion import Complete, Report
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Agent, Limits, Plan, Source, Task, Verdict
from percyd.repo.hub import Hub
from percyd.repo.runner import Git
from percyd.repo.values import Remote
from percyd.state.backend import Backend
from percyd.state.git import GitBackend
from percyd.state.memory import MemoryBackend, MemoryCommit, MemoryRemote
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


class GitRemote:
    """A bare repository that looks to a test like a `MemoryRemote`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git = Git(folder / "remote.git")
        self.git.run("init", "--quiet", "--bare", "--initial-branch=main")
        self.refs = _GitRefs(self.git)
        self.commits = _GitCommits(self.git)
        self._hubs: list[Hub] = []

    def hub(self, number: int) -> Hub:
        """A clone of this remote."""
        path = self.folder / f"hub-{number}.git"
        self._hubs.append(Hub.open(path, Remote(str(self.git.git_dir))))
        return self._hubs[-1]

    def close(self) -> None:
        """End what the hubs have started."""
        for hub in self._hubs:
            hub.close()

    def commit(
        self, parents: Sequence[str], files: Mapping[str, bytes], message: str
    ) -> str:
        """Store a commit and answer its id."""
        lines = []
        for path, content in sorted(files.items()):
            blob = self.git.run("hash-object", "-w", "--stdin", stdin=content).text
            lines.append(f"100644 {blob}\t{path}")
        tree = self._tree(lines)
        links = [part for parent in parents for part in ("-p", parent)]
        who = {
            f"GIT_{role}_{what}": "test"
            for role in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        done = self.git.run(
            "commit-tree", *links, tree, stdin=message.encode(), extra_env=who
        )
        return done.text

    def _tree(self, lines: list[str]) -> str:
        index = self.folder / "scratch-index"
        index.unlink(missing_ok=True)
        self.git.run(
            "update-index",
            "--index-info",
            stdin="".join(f"{line}\n" for line in lines).encode(),
            index=index,
        )
        return self.git.run("write-tree", index=index).text


class _GitRefs(MutableMapping[str, str]):
    def __init__(self, git: Git) -> None:
        self._git = git

    def _all(self) -> dict[str, str]:
        listing = self._git.run("for-each-ref", "--format=%(refname) %(objectname)")
        rows = (line.split() for line in listing.text.splitlines())
        return {row[0]: row[1] for row in rows}

    def __getitem__(self, ref: str) -> str:
        return self._all()[ref]

    def __setitem__(self, ref: str, oid: str) -> None:
        self._git.run("update-ref", ref, oid)

    def __delitem__(self, ref: str) -> None:
        self._git.run("update-ref", "-d", ref)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class _GitCommits:
    def __init__(self, git: Git) -> None:
        self._git = git

    def __getitem__(self, oid: str) -> MemoryCommit:
        rows = self._git.run("ls-tree", "-r", oid).text.splitlines()
        files = {
            path: self._git.run("cat-file", "blob", row.split()[2]).stdout
            for row, path in (line.split("\t") for line in rows)
        }
        parents = self._git.run("log", "-1", "--format=%P", oid).text.split()
        message = self._git.run("log", "-1", "--format=%B", oid).text
        return MemoryCommit(tuple(parents), Map(files), message)


class Bench:
    """One store on an in-memory remote, with the operations of a task's way."""

    def __init__(
        self, remote: MemoryRemote | GitRemote | None = None, number: int = 0
    ) -> None:
        self.remote = remote or MemoryRemote()
        self.clock = FakeClock()
        self.backend: Backend = (
            MemoryBackend(self.remote)
            if isinstance(self.remote, MemoryRemote)
            else GitBackend(self.remote.hub(number))
        )
        self.store = StateStore(self.backend, self.clock, Numbers(number))
        self.agent = agent(f"box-{number:06x}")

    def base(self, **files: str) -> str:
        """A commit for plans to start from."""
        content = Map({name: text.encode() for name, text in files.items()})
        return self._have(self.remote.commit([], content, "base"))

    def _have(self, oid: str) -> str:
        """Bring a commit that was made on the remote into this clone."""
        if isinstance(self.remote, GitRemote):
            ref = f"refs/test/{oid}"
            self.remote.git.run("update-ref", ref, oid)
            self.backend.fetch_refs([ref])
            self.remote.git.run("update-ref", "-d", ref)
        return oid

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
        return self._have(self.remote.commit([tip], content, claimed.title))

    def complete(self, claimed: Task, commit: str | None = None) -> None:
        self.store.apply(self.completion(claimed, commit))

    def completion(self, claimed: Task, commit: str | None = None) -> Complete:
        """The operation that completes a task, ungated, with a result of its own."""
        commit = commit or self.result(claimed, **{short_of(claimed.id): "done"})
        report = Report("did it", Verdict(status="none"))
        return Complete(self.store.stamp(), fence(claimed), commit, report)

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
