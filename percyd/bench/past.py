"""A past: tasks that are completed already, with all the commits that led there.

The operations are the real ones. Only the merges are made beforehand, all of them in
one fast-import, because ten thousand of them would take minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from percyd.bench.lab import DEADLINE_S
from percyd.bench.metered import MeteredBackend
from percyd.bench.records import answered, claim, fence, free_tasks, take_in
from percyd.bench.results import completion_of, file_of
from percyd.core.operations.base import Operation
from percyd.core.operations.claims import Work
from percyd.core.operations.completion import merge_message
from percyd.core.records import Task
from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.dispatch.branches import Pruner
from percyd.repo.runner import Git
from percyd.repo.values import PERCYD
from percyd.state.store import StateStore

_REF = "refs/percyd/past"


@dataclass(frozen=True, slots=True)
class Result:
    """A task's commit, and its merge into the plan's branch at ``onto``."""

    commit: Oid
    onto: Oid
    merged: Merged


class MergedBackend(MeteredBackend):
    """A backend whose merges are known beforehand."""

    def know(self, results: Sequence[Result]) -> None:
        """Take these merges from now on."""
        self._known = {(r.onto, r.commit): r.merged for r in results}

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """See `Backend`."""
        return self._known[ours, theirs]


def complete_many(
    store: StateStore,
    backend: MergedBackend,
    *,
    agent: str,
    base: Oid,
    count: int,
    batch: int,
) -> None:
    """A plan ``past`` with so many completed tasks, and its old branches deleted.

    Raises:
        PercydError: an operation was refused.
    """
    take_in(store, base, free_tasks("past", count))
    claimed: list[Task] = []
    while len(claimed) < count:
        claimed += claim(store, agent, min(batch, count - len(claimed)))
    results = _build(backend.hub.git, base, claimed, store.stamp().now)
    backend.know(results)
    pruner = Pruner(backend)
    for at in range(0, count, batch):
        some = list(zip(claimed, results, strict=True))[at : at + batch]
        operations: list[Operation] = [
            Work(store.stamp(), fence(task), base) for task, _ in some
        ]
        operations += [completion_of(store, task, done.commit) for task, done in some]
        answered(store.submit(operations))
        pruner.step(store.state.snapshot)
    backend.hub.git.run("update-ref", "-d", _REF)


def _build(git: Git, base: Oid, tasks: Sequence[Task], when: datetime) -> list[Result]:
    """The commits and merges of tasks, in this order, on one branch."""
    printed = git.run(
        *("fast-import", "--quiet", "--force", "--done", "--date-format=raw"),
        stdin=b"".join([*_stream(base, tasks, when), b"done\n"]),
        deadline_s=DEADLINE_S,
    )
    made = printed.text.split()
    commits, merges = made[::2], made[1::2]
    listing = git.run(
        "log", "--first-parent", "--format=%H %T", f"{base}..{merges[-1]}"
    )
    trees = dict(line.split() for line in listing.text.splitlines())
    return [
        Result(commit, onto, Merged(merge, trees[merge]))
        for commit, onto, merge in zip(commits, [base, *merges], merges, strict=False)
    ]


def _stream(base: Oid, tasks: Sequence[Task], when: datetime) -> Iterator[bytes]:
    onto = base
    for number, task in enumerate(tasks):
        commit, merge = 2 * number + 1, 2 * number + 2
        path = file_of(task.id)
        yield _commit(commit, when, "done\n", base, "", path)
        merged = f"merge :{commit}\n"
        yield _commit(merge, when, merge_message(task), onto, merged, path)
        onto = f":{merge}"


def _commit(
    mark: int, when: datetime, message: str, parent: str, merged: str, path: str
) -> bytes:
    who = f"{PERCYD.name} <{PERCYD.email}> {int(when.timestamp())} +0000"
    return (
        f"commit {_REF}\nmark :{mark}\nauthor {who}\ncommitter {who}\n"
        f"data {len(message)}\n{message}\nfrom {parent}\n{merged}"
        f"M 100644 inline {path}\ndata 5\ndone\n\n\nget-mark :{mark}\n"
    ).encode()
