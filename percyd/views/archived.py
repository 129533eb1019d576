"""Archived plans, put back to be looked at."""

from __future__ import annotations

from collections.abc import Iterable

from percyd.core.ids import plan_of
from percyd.core.snapshot import ArchivedPlan, Snapshot
from percyd.repo.reader import ObjectReader
from percyd.state import codec
from percyd.state.follower import State


def with_archived(reader: ObjectReader, state: State, what: str | None) -> Snapshot:
    """A state's snapshot with one plan back in it, if it is archived: for views alone.

    Args:
        reader: Reads the objects of the hub.
        state: The state.
        what: The id of a plan, or of a task of it.

    Raises:
        StateRefused: the archive does not decode.
    """
    return _put_back(reader, state, [plan_of(what)] if what else [])


def with_all_archived(reader: ObjectReader, state: State) -> Snapshot:
    """A state's snapshot with every archived plan back in it: for views alone."""
    return _put_back(reader, state, sorted(state.snapshot.archived))


def _put_back(reader: ObjectReader, state: State, plans: Iterable[str]) -> Snapshot:
    snapshot = state.snapshot
    for plan in plans:
        if plan in snapshot.plans or plan not in snapshot.archived:
            continue
        path = codec.path_of(ArchivedPlan(plan))
        found = reader.read(f"{state.tip}:{path}")
        if found is not None:
            record, tasks = codec.decode_archive(plan, found[2])
            snapshot = snapshot.put(record, *tasks)
    return snapshot
