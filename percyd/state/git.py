"""The store's port on real git: percyd's hub and the remote behind it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from percyd.core.ids import STATE_REF
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.errors import StateRefused
from percyd.repo import objects
from percyd.repo.hub import Hub
from percyd.repo.values import NewCommit, PushReport
from percyd.state import codec
from percyd.state.backend import RING, Link, TreeFile


class GitBackend:
    """See `Backend`."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def fetch_state(self, deadline_s: float | None = None) -> Oid | None:
        """See `Backend`."""
        return self.hub.fetch_state(deadline_s)

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid | None]:
        """See `Backend`."""
        return self.hub.fetch_refs(refs, deadline_s)

    def adopted(self) -> Oid | None:
        """See `Backend`."""
        return self.hub.adopted()

    def adopt(self, tip: Oid) -> None:
        """See `Backend`."""
        self.hub.adopt(tip)

    def way_back(self, tip: Oid) -> str:
        """See `Backend`. The hub has the objects; the user's clone may not."""
        words = ["git", f"--git-dir={self.hub.path}", "push", "--force"]
        return shlex.join([*words, self.hub.remote.url, f"{tip}:{STATE_REF}"])

    def history(self, old: Oid | None, new: Oid) -> list[Link]:
        """See `Backend`."""
        chain = objects.history(self.hub.git, old, new)
        return [Link(oid, parents) for oid, parents in chain]

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """See `Backend`."""
        return objects.is_ancestor(self.hub.git, old, new)

    def read_tree(self, tip: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        entries = objects.tree_entries(self.hub.git, tip, recursive=True)
        entries.sort(key=lambda entry: entry.path != codec.MARKER_PATH)
        yield from self._files([(e.path, e.mode, e.oid) for e in entries])

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        changes = objects.changed_paths(self.hub.git, old, new)
        for change in changes:
            if change.new is None:
                yield TreeFile(change.path, change.mode, None)
        yield from self._files([(c.path, c.mode, c.new) for c in changes if c.new])

    def _files(self, rows: Sequence[tuple[str, str, Oid]]) -> Iterator[TreeFile]:
        """Reads contents in one go, except those that a snapshot does not look at."""
        wanted = [row for row in rows if not codec.is_opaque(row[0])]
        for path, mode, _ in rows:
            if codec.is_opaque(path):
                yield TreeFile(path, mode, b"")
        contents = self.hub.reader.read_many([oid for _, _, oid in wanted])
        for (path, mode, oid), content in zip(wanted, contents, strict=True):
            if content is None:
                raise StateRefused(f"{path}: object {oid} is missing")
            yield TreeFile(path, mode, content)

    def write(self, parent: Oid | None, commits: Sequence[NewCommit]) -> list[Oid]:
        """See `Backend`."""
        return objects.write_commits(self.hub.git, parent, commits)

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        """See `Backend`."""
        return self.hub.push(moves, deadline_s)

    def ring(self) -> Sequence[Oid]:
        """See `Backend`."""
        start = datetime.fromtimestamp(0, UTC)
        beats = [NewCommit(f"beat {n}\n", start, {}) for n in range(RING)]
        ring = objects.write_commits(self.hub.git, None, beats)
        self.hub.pin("beats", ring[-1])
        return ring

    def list_refs(self, prefix: str) -> Mapping[str, Oid]:
        """See `Backend`."""
        return self.hub.ls_remote(f"{prefix}*")

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """See `Backend`."""
        return self.hub.merge(ours, theirs, message, when)
