"""What the last reader has decoded, kept for the next one.

A command that only looks would otherwise read and check every record anew: 5 s with
50,000 tasks. Kept are the records of one good tip, as JSON, in percyd's home, which is
for this account only. The next reader moves them to its own tip by the files that have
changed, as one process does from tip to tip. What is damaged, of another version, of a
tip that does not lead to ours, or in any other way of no use is ignored: then all is read.

Only readers use it. Whoever writes to the state has decoded it themselves.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from percyd.core.records import Agent, FormatMarker, Plan, Record, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import ArchivedPlan, Entry, Snapshot, SourceFile, build
from percyd.errors import GitError, StateRefused
from percyd.state import reader, thaw
from percyd.state.backend import Backend, TreeFile

#: Counts what `_write` has changed; the shape of records is told by `thaw.shape`.
VERSION = 1
#: From so many changed files on the next reader shall not have to read them too.
_MOVED = 500
_BETWEEN = b",\n"
_PRIVATE = 0o600

Json = Mapping[str, Any]


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage collection while very many values are made, which all stay.

    It would look at all of them again and again: half the time of reading 50,000 tasks.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@dataclass(frozen=True, slots=True)
class _Found:
    """What a file has kept."""

    tip: Oid
    snapshot: Snapshot
    #: JSON of the records, by `id`.
    dumps: Mapping[int, tuple[Record, Json]]


class Kept:
    """The records of one good tip in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._dumps: Mapping[int, tuple[Record, Json]] = {}

    def read(self, backend: Backend, tip: Oid) -> Snapshot:
        """The whole snapshot at a tip that was judged already.

        Raises:
            StateRefused: see `reader.read`.
        """
        with uncollected():
            found = self._load()
            moved = self._move(backend, found, tip) if found else None
            if found is None or moved is None:
                snapshot = reader.read(backend, tip)
                self._keep(tip, snapshot)
                return snapshot
            snapshot, changes = moved
            self._dumps = found.dumps
            if changes >= _MOVED:
                self._keep(tip, snapshot)
            return snapshot

    def dump(self, record: Record) -> Json:
        """A record as JSON has it: as it was kept, if it is that very one."""
        found = self._dumps.get(id(record))
        if found is not None and found[0] is record:
            return found[1]
        return record.model_dump(mode="json")

    def _move(
        self, backend: Backend, found: _Found, tip: Oid
    ) -> tuple[Snapshot, int] | None:
        """What was kept, moved to ``tip``; None if that is not possible.

        Then a full read has the last word, also on what is wrong with the tip.
        """
        if found.tip == tip:
            return found.snapshot, 0
        counted = _Counted(backend)
        try:
            if not backend.is_ancestor(found.tip, tip):
                return None
            snapshot = reader.advance(counted, found.snapshot, found.tip, tip)
        except (GitError, StateRefused):
            return None
        return snapshot, counted.files

    def _load(self) -> _Found | None:
        try:
            head, _, body = self._path.read_bytes().partition(b"\n")
            header = json.loads(head)
            if header != _header(header["tip"], body):
                return None
            values = json.loads(b"[%b]" % body)
            return _found(header["tip"], values)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None

    def _keep(self, tip: Oid, snapshot: Snapshot) -> None:
        """Write it all; a full disk or a lost race here fails nobody."""
        body = _BETWEEN.join(_rows(snapshot))
        header = json.dumps(_header(tip, body)).encode()
        # Two at once may spoil what both write: then its digest says so. One name leaves
        # no more than one file behind when a process is killed.
        new = self._path.with_name(f"{self._path.name}.new")
        with contextlib.suppress(OSError):
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
            with os.fdopen(handle, "wb") as file:
                file.writelines([header, b"\n", body])
            new.replace(self._path)


@dataclass
class _Counted:
    """A backend for `reader.advance` that counts the files it has read."""

    backend: Backend
    files: int = 0

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        for file in self.backend.read_changes(old, new):
            self.files += 1
            yield file


def _header(tip: Oid, body: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    return {"version": VERSION, "shape": thaw.shape(), "tip": tip, "sha256": digest}


def _rows(snapshot: Snapshot) -> Iterator[bytes]:
    """One JSON value a line: what is no record, then marker, plans, agents, tasks."""
    states = snapshot.plans.values()
    sources = {state.record.id: state.source for state in states if state.source}
    counts = [len(snapshot.plans), len(snapshot.agents)]
    rest = {"counts": counts, "sources": sources, "archived": [*snapshot.archived]}
    yield json.dumps(rest).encode()
    marker = [snapshot.marker] if snapshot.marker else []
    plans = [state.record for state in states]
    records: Sequence[Record] = [*marker, *plans, *snapshot.agents.values()]
    for record in (*records, *snapshot.tasks()):
        yield record.model_dump_json().encode()


def _found(tip: Oid, values: list[Any]) -> _Found:
    rest, marker, *others = values
    plans, agents = rest["counts"]
    first, second = plans, plans + agents
    records: list[Plan | Agent | Task] = [
        *(thaw.thaw(Plan, value) for value in others[:first]),
        *(thaw.thaw(Agent, value) for value in others[first:second]),
        *(thaw.thaw(Task, value) for value in others[second:]),
    ]
    pairs = zip(records, others, strict=True)
    dumps = {id(record): (record, value) for record, value in pairs}
    entries: list[Entry] = [thaw.thaw(FormatMarker, marker), *records]
    entries += [SourceFile(plan, ext, b"") for plan, ext in rest["sources"].items()]
    entries += [ArchivedPlan(plan) for plan in rest["archived"]]
    return _Found(tip, build(entries), dumps)
