"""The in-memory twin of a clone and its remote, under the same contract tests.

Objects are shared between the clones of one remote, as content-addressed objects may
be; refs and their compare-and-swap live in `MemoryRemote`. The simulation injects its
faults here.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from immutables import Map

from percyd.core.ids import STATE_REF
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.repo.values import NewCommit, PushOutcome, PushReport, RefReport
from percyd.state.backend import RING, Link, TreeFile
from percyd.state.codec import MARKER_PATH
from percyd.state.ways import Ways

Files = Map[str, bytes]


@dataclass(frozen=True, slots=True)
class MemoryCommit:
    """A commit: parents, files, message."""

    parents: tuple[Oid, ...]
    files: Files
    message: str


@dataclass(slots=True)
class MemoryRemote:
    """A remote: objects and refs."""

    commits: dict[Oid, MemoryCommit] = field(default_factory=dict)
    refs: dict[str, Oid] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def commit(
        self,
        parents: Sequence[Oid],
        files: Files,
        message: str,
        changes: Mapping[str, bytes | None] | None = None,
    ) -> Oid:
        """Store a commit and answer its id: equal commits, equal ids.

        ``changes`` stand for the whole tree where they are known, so that a commit
        costs as much as it changes.
        """
        content = sorted(changes.items()) if changes is not None else tree_id(files)
        oid = _digest((tuple(parents), content, message))
        self.commits[oid] = MemoryCommit(tuple(parents), files, message)
        return oid

    def swap(self, moves: Sequence[RefMove]) -> PushReport:
        """All moves or none, each against its lease."""
        with self.lock:
            stale = [
                m for m in moves if not m.forced and self.refs.get(m.ref) != m.expected
            ]
            if stale:
                refs = {m.ref: RefReport(PushOutcome.COLLATERAL) for m in moves}
                for move in stale:
                    refs[move.ref] = RefReport(PushOutcome.CONFLICT, "(stale info)")
                return PushReport(refs)
            for move in moves:
                if move.new is None:
                    self.refs.pop(move.ref, None)
                else:
                    self.refs[move.ref] = move.new
            return PushReport({m.ref: RefReport(PushOutcome.APPLIED) for m in moves})


def tree_id(files: Files) -> Oid:
    """The id of a tree: equal files, equal id."""
    return _digest(sorted(files.items()))


def _digest(value: object) -> Oid:
    return hashlib.sha1(repr(value).encode(), usedforsecurity=False).hexdigest()


class MemoryBackend:
    """One clone of a `MemoryRemote`. See `Backend`."""

    def __init__(self, remote: MemoryRemote) -> None:
        self.remote = remote
        self._adopted: Oid | None = None

    def fetch_state(self, deadline_s: float | None = None) -> Oid | None:
        """See `Backend`."""
        return self.fetch_refs([STATE_REF])[STATE_REF]

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid | None]:
        """See `Backend`."""
        with self.remote.lock:
            return {ref: self.remote.refs.get(ref) for ref in refs}

    def adopted(self) -> Oid | None:
        """See `Backend`."""
        return self._adopted

    def adopt(self, tip: Oid, before: Oid | None) -> None:
        """See `Backend`."""
        self._adopted = tip

    def tidy(self) -> None:
        """See `Backend`; there is nothing to clear up."""

    @property
    def ways(self) -> Ways:
        """See `Backend`."""
        return Ways(Path("hub.git"), "memory")

    def history(self, old: Oid | None, new: Oid) -> list[Link]:
        """See `Backend`."""
        known = set(self._ancestors(old)) if old else set()
        commits = self.remote.commits
        newest_first = list(self._ancestors(new, known))
        return [Link(oid, commits[oid].parents) for oid in newest_first[::-1]]

    def _ancestors(self, start: Oid, stop: set[Oid] | None = None) -> Iterator[Oid]:
        seen = set(stop or ())
        queue = [start]
        while queue:
            oid = queue.pop(0)
            if oid in seen:
                continue
            seen.add(oid)
            yield oid
            queue += self.remote.commits[oid].parents

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """See `Backend`."""
        return any(oid == old for oid in self._ancestors(new))

    def read_tree(self, tip: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        files = self.remote.commits[tip].files
        for path in sorted(files, key=lambda path: (path != MARKER_PATH, path)):
            yield TreeFile(path, "100644", files[path])

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        before = self.remote.commits[old].files
        after = self.remote.commits[new].files
        for path in sorted(set(before) | set(after)):
            if before.get(path) != after.get(path):
                yield TreeFile(path, "100644", after.get(path))

    def write(self, parent: Oid | None, commits: Sequence[NewCommit]) -> list[Oid]:
        """See `Backend`."""
        files: Files = self.remote.commits[parent].files if parent else Map()
        oids: list[Oid] = []
        for commit in commits:
            for path, content in commit.changes.items():
                if content is not None:
                    files = files.set(path, content)
                elif path in files:
                    files = files.delete(path)
            parents = [parent] if parent else []
            parent = self.remote.commit(parents, files, commit.message, commit.changes)
            oids.append(parent)
        return oids

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        """See `Backend`."""
        return self.remote.swap(moves)

    def ring(self) -> Sequence[Oid]:
        """See `Backend`."""
        ring: list[Oid] = []
        for number in range(RING):
            ring.append(self.remote.commit(ring[-1:], Map(), f"beat {number}", {}))
        return ring

    def list_refs(self, prefix: str) -> Mapping[str, Oid]:
        """See `Backend`."""
        with self.remote.lock:
            refs = self.remote.refs.items()
            return {ref: oid for ref, oid in refs if ref.startswith(prefix)}

    def list_exactly(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid]:
        """See `Backend`."""
        with self.remote.lock:
            return {
                ref: self.remote.refs[ref] for ref in refs if ref in self.remote.refs
            }

    def peek(self, ref: str) -> Oid | None:
        """See `Backend`."""
        return None

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """See `Backend`; whole files, three ways."""
        mine = set(self._ancestors(ours))
        base = next((oid for oid in self._ancestors(theirs) if oid in mine), None)
        old: Files = self.remote.commits[base].files if base else Map()
        left = self.remote.commits[ours].files
        right = self.remote.commits[theirs].files
        files, conflicts = left, []
        for path in set(old) | set(right):
            if right.get(path) == old.get(path) or right.get(path) == left.get(path):
                continue
            if left.get(path) != old.get(path):
                conflicts.append(path)
            elif path in right:
                files = files.set(path, right[path])
            else:
                files = files.delete(path)
        if conflicts:
            return MergeConflict(tuple(sorted(conflicts)))
        return Merged(
            self.remote.commit([ours, theirs], files, message), tree_id(files)
        )
