"""The store's port on real git: percyd's hub and the remote behind it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from percyd.core.ids import STATE_REF
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.errors import GitError, StateRefused, StateUnreadable
from percyd.repo import lineage, objects, packs
from percyd.repo.hub import Hub
from percyd.repo.remotes import folder_of
from percyd.repo.values import NewCommit, PushReport
from percyd.state import codec
from percyd.state.backend import RING, Link, TreeFile
from percyd.state.ways import Ways


class GitBackend:
    """See `Backend`."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def fetch_state(self, deadline_s: float | None = None) -> Oid | None:
        """See `Backend`."""
        with self._own_objects():
            try:
                return self.hub.fetch_state(deadline_s)
            except StateUnreadable as error:
                self._refuse_damaged_hub(error)
                raise self._unreadable(error) from error

    def _unreadable(self, error: StateUnreadable) -> StateRefused:
        """The same, with what we know of it and what can be done."""
        ours, here = self.hub.adopted(), folder_of(self.hub.remote)
        after = f"; the last good tip was {ours}" if ours else ""
        if ours is None:
            hint = "mend it there, or see percyd status where percyd has worked with it"
        elif error.tip:
            way = self.ways.instead(error.tip, ours)
            hint = f"mend it there (git fsck), or put the last good tip back: {way}"
        elif here is not None and (here / STATE_REF).is_file():
            way = self.ways.ref_file(here, ours)
            hint = f"put the file aside and the last good tip back: {way}"
        else:
            way = self.ways.back(ours)
            hint = f"remove the branch's file there, push the last good tip back: {way}"
        return StateRefused(error.message + after, hint=hint)

    @contextmanager
    def _own_objects(self) -> Iterator[None]:
        """What git cannot read here is our own damage: a fetch brings whole histories."""
        try:
            yield
        except GitError as error:
            self._refuse_damaged_hub(error)
            raise

    def _refuse_damaged_hub(self, cause: Exception) -> None:
        problem = self.hub.damage()
        if problem is not None:
            raise StateRefused(
                f"percyd's own copy of percy/state, at {self.hub.adopted()}, is damaged: "
                f"{problem}",
                hint="end what percyd runs here and put its copy aside, another is "
                f"made: {self.ways.anew()}",
            ) from cause

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid | None]:
        """See `Backend`."""
        return self.hub.fetch_refs(refs, deadline_s)

    def adopted(self) -> Oid | None:
        """See `Backend`."""
        return self.hub.adopted()

    def adopt(self, tip: Oid, before: Oid | None) -> None:
        """See `Backend`."""
        self.hub.adopt(tip, before)

    def tidy(self) -> None:
        """See `Backend`."""
        packs.tidy(self.hub.git)

    @property
    def ways(self) -> Ways:
        """See `Backend`."""
        return Ways(self.hub.path, self.hub.remote.url)

    def history(self, old: Oid | None, new: Oid) -> list[Link]:
        """See `Backend`."""
        with self._own_objects():
            line = lineage.line_between(self.hub.reader, old, new) if old else None
            if line is not None:
                before = [old or "", *line]
                return [Link(o, (p,)) for o, p in zip(line, before, strict=False)]
            chain = objects.history(self.hub.git, old, new)
        return [Link(oid, parents) for oid, parents in chain]

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """See `Backend`."""
        with self._own_objects():
            return self.hub.is_ancestor(old, new)

    def read_tree(self, tip: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        with self._own_objects():
            entries = objects.tree_entries(self.hub.git, tip, recursive=True)
            entries.sort(key=lambda entry: entry.path != codec.MARKER_PATH)
            yield from self._files([(e.path, e.mode, e.oid) for e in entries])

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        with self._own_objects():
            changes = list(lineage.changed_files(self.hub.reader, old, new))
            for change in changes:
                if change.new is None:
                    yield TreeFile(change.path, change.mode, None)
            yield from self._files([(c.path, c.mode, c.new) for c in changes if c.new])

    def _files(self, rows: Sequence[tuple[str, str, Oid]]) -> Iterator[TreeFile]:
        """Reads contents in one go, except those that a snapshot does not look at."""
        wanted = []
        for row in rows:
            path, mode, _ = row
            if codec.is_opaque(path) or mode == objects.GITLINK:
                yield TreeFile(path, mode, b"")
            else:
                wanted.append(row)
        contents = self.hub.reader.read_many([oid for _, _, oid in wanted])
        for (path, mode, oid), content in zip(wanted, contents, strict=True):
            if content is None:
                raise GitError(f"{path}: object {oid} is missing")
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

    def list_exactly(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid]:
        """See `Backend`."""
        return self.hub.list_exactly(refs, deadline_s)

    def peek(self, ref: str) -> Oid | None:
        """See `Backend`."""
        return self.hub.peek(ref)

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """See `Backend`."""
        return self.hub.merge(ours, theirs, message, when)
