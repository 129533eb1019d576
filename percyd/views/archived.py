"""Archived plans, put back to be looked at."""

from __future__ import annotations

from collections.abc import Iterable

from percyd.core.ids import plan_of
from percyd.core.refs import Oid
from percyd.core.snapshot import ArchivedPlan, Snapshot
from percyd.repo.reader import ObjectReader
from percyd.state import codec


def with_archived(
    reader: ObjectReader, tip: Oid, snapshot: Snapshot, what: str | None
) -> Snapshot:
    """The snapshot with one plan back in it, if it is archived: for views alone.

    Args:
        reader: Reads the objects of the hub.
        tip: The commit that the snapshot is the state of.
        snapshot: All state at ``tip``.
        what: The id of a plan, or of a task of it.

    Raises:
        StateRefused: the archive does not decode.
    """
    return _put_back(reader, tip, snapshot, [plan_of(what)] if what else [])


def with_all_archived(reader: ObjectReader, tip: Oid, snapshot: Snapshot) -> Snapshot:
    """The snapshot with every archived plan back in it: for views alone."""
    return _put_back(reader, tip, snapshot, sorted(snapshot.archived))


def _put_back(
    reader: ObjectReader, tip: Oid, snapshot: Snapshot, plans: Iterable[str]
) -> Snapshot:
    for plan in plans:
        if plan in snapshot.plans or plan not in snapshot.archived:
            continue
        found = reader.read(f"{tip}:{codec.path_of(ArchivedPlan(plan))}")
        if found is not None:
            record, tasks = codec.decode_archive(plan, found[2])
            snapshot = snapshot.put(record, *tasks)
    return snapshot
