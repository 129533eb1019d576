"""What must hold once a run is over: reliability.md 3 and 6, from outside.

The history goes through the independent checker; what callers were told is held
against it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from percyd.core.ids import STATE_REF, task_folder
from percyd.core.operations.base import Fence, Operation
from percyd.core.refs import Oid
from percyd.state.memory import MemoryRemote, tree_id
from tests.sim.journal import Journal
from tests.support import checker

_OP_ID = re.compile(r"^Percy-Op-Id: (\S+)$", re.MULTILINE)


class MemoryRepository(checker.Repository):
    """Shows a `MemoryRemote` to the checker. A tree's id stands for its files."""

    def __init__(self, remote: MemoryRemote) -> None:
        self._remote = remote
        self._trees: dict[str, Mapping[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}

    def lines(self, *args: str) -> list[str]:
        """The few questions that the checker asks."""
        match args:
            case ("rev-list", "--first-parent", "--reverse", tip):
                return self.chain(tip)
            case ("for-each-ref", *_):
                return [f"{ref} {oid}" for ref, oid in self._remote.refs.items()]
            case ("rev-list", "--all", "--parents"):
                return [f"{oid} {' '.join(p)}".rstrip() for oid, p in self._all()]
        raise NotImplementedError(args)

    def chain(self, tip: Oid) -> list[Oid]:
        """The first parents from the root to ``tip``."""
        found = [tip]
        while parents := self._remote.commits[found[-1]].parents:
            found.append(parents[0])
        return found[::-1]

    def _all(self) -> Iterator[tuple[Oid, tuple[Oid, ...]]]:
        queue, seen = list(self._remote.refs.values()), set()
        while queue:
            oid = queue.pop()
            if oid not in seen:
                seen.add(oid)
                parents = self._remote.commits[oid].parents
                yield oid, parents
                queue += parents

    def read(self, oid: str) -> bytes | None:
        return self._blobs.get(oid)

    def difference(
        self, old: str | None, new: str | None, prefix: str = ""
    ) -> Iterator[tuple[str, checker.Entry | None, checker.Entry | None]]:
        before = self._trees.get(old or "", {})
        after = self._trees.get(new or "", {})
        for path in sorted({*before, *after}):
            pair = before.get(path), after.get(path)
            if pair[0] is not pair[1] and pair[0] != pair[1]:
                yield path, self._entry(pair[0]), self._entry(pair[1])

    def _entry(self, content: bytes | None) -> checker.Entry | None:
        if content is None:
            return None
        oid = f"{hash(content):x}"
        self._blobs[oid] = content
        return "100644", oid

    def commit(self, oid: str) -> checker.Commit:
        found = self._remote.commits[oid]
        tree = tree_id(found.files)
        self._trees[tree] = found.files
        return checker.Commit(
            oid=oid,
            tree=tree,
            parents=list(found.parents),
            people=[checker.WHO, checker.WHO],
            message=found.message,
        )


def judge(remote: MemoryRemote, journal: Journal) -> list[str]:
    """Everything that a run violates, finished or not."""
    repository = MemoryRepository(remote)
    tip = remote.refs[STATE_REF]
    history = checker.History(repository)
    history.walk(tip)
    refs = checker.Refs(repository, history)
    refs.check()
    chain = repository.chain(tip)
    return [
        *history.found,
        *refs.found,
        *_answers(remote, journal, chain),
        *_unverified(history.tree, journal),
    ]


def _unverified(tree: checker.Tree, journal: Journal) -> Iterator[str]:
    """Nothing is merged that its gate has not seen and passed."""
    for name, task in tree.tasks.items():
        verdict = (task.get("result") or {}).get("verdict") or {}
        gated = task.get("status") == "completed" and task.get("verify") is not None
        if gated and verdict.get("tree") not in journal.passed:
            yield f"{name} landed, and no gate has passed {verdict}"


def unsettled(remote: MemoryRemote) -> list[str]:
    """What somebody would still have to do, once everything is quiet (L5)."""
    repository = MemoryRepository(remote)
    history = checker.History(repository)
    history.walk(remote.refs[STATE_REF])
    return checker.unsettled(history.tree)


def _answers(remote: MemoryRemote, journal: Journal, chain: list[Oid]) -> list[str]:
    """S4 to S7: what was acknowledged is there, once, and in order."""
    place: dict[str, int] = {}
    for position, oid in enumerate(chain):
        for op_id in _OP_ID.findall(remote.commits[oid].message):
            place[op_id] = position
    found = []
    latest = [-1]
    for call in journal.answered:
        latest.append(max(latest[-1], place.get(call.op_id, -1)))
    answers: dict[str, set[str]] = {}
    for call in journal.calls:
        answers.setdefault(call.op_id, set()).add(call.answer)
    for call in journal.calls:
        index = place.get(call.op_id)
        if call.commit is not None and (index is None or chain[index] != call.commit):
            found.append(f"acknowledged and lost: {call}")
        # Whoever is refused may try the same operation again.
        if index is not None and answers[call.op_id] <= {"refused"}:
            found.append(f"refused, and yet at {index}: {call}")
        if (
            index is not None
            and call.commit is not None
            and index <= latest[call.after]
        ):
            found.append(f"not after what was answered before it: {call}")
        if index is not None and not _held(call.operation, remote, chain[index - 1]):
            found.append(f"accepted for a claim that was gone: {call}")
    return found


def _held(operation: Operation, remote: MemoryRemote, parent: Oid) -> bool:
    """S7: a write for a claim is accepted only while that very claim stands."""
    fence = getattr(operation, "fence", None)
    if not isinstance(fence, Fence):
        return True
    plan, _, short = fence.task.partition(".")
    path = f"plans/{plan}/tasks/{task_folder(short)}/{short}.json"
    task = json.loads(remote.commits[parent].files[path])
    return bool((task["attempt"], task["claim"]) == (fence.attempt, fence.claim))
