"""From a tip to a snapshot: what may be adopted, and what is refused (S12).

Ancestry and single parents are judged for every commit between ours and the tip,
format and decodability at the tip only, so that a bad commit is mended by a forward
one (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from percyd.core.ids import STATE_REF, short_ref
from percyd.core.refs import Oid
from percyd.core.snapshot import Entry, Snapshot, build
from percyd.errors import StateRefused
from percyd.state import codec
from percyd.state.backend import Backend, TreeFile

BRANCH = short_ref(STATE_REF)
_MODE = "100644"


def judge(backend: Backend, ours: Oid | None, tip: Oid) -> None:
    """Refuse a tip that does not simply go on from ours.

    Raises:
        StateRefused: another history, a merge, a second root.
    """
    if ours is not None and not backend.is_ancestor(ours, tip):
        raise StateRefused(
            f"{BRANCH} was replaced: it is at {tip}, which does not follow {ours}",
            hint=f"push the good tip back: {backend.way_back(ours)}",
        )
    for position, link in enumerate(backend.history(ours, tip)):
        expected = 0 if ours is None and position == 0 else 1
        if len(link.parents) != expected:
            what = "a merge" if len(link.parents) > 1 else "a second root"
            before = ours or (link.parents[0] if link.parents else tip)
            raise StateRefused(
                f"{BRANCH} has {what} at {link.oid}",
                hint=f"push the tip from before it back: {backend.way_back(before)}",
            )


def read(backend: Backend, tip: Oid) -> Snapshot:
    """The whole snapshot at a tip.

    Raises:
        StateRefused: an unknown format, or a file that does not decode.
    """
    try:
        snapshot = build(_entries(backend.read_tree(tip), tip))
    except KeyError as error:
        raise StateRefused(f"{BRANCH} at {tip}: no plan {error.args[0]}") from error
    if snapshot.marker is None:
        raise StateRefused(f"{BRANCH} at {tip} has no {codec.MARKER_PATH}")
    return snapshot


def _entries(files: Iterable[TreeFile], tip: Oid) -> Iterator[Entry]:
    for file in files:
        yield _decode(file, tip)


def _decode(file: TreeFile, tip: Oid) -> Entry:
    if file.mode != _MODE:
        raise StateRefused(
            f"{BRANCH} at {tip}: {file.path} has mode {file.mode}, not {_MODE}"
        )
    try:
        return codec.decode(file.path, file.content or b"")
    except StateRefused as error:
        raise StateRefused(
            f"{BRANCH} at {tip}: {error.message}", hint=error.hint
        ) from error


def advance(backend: Backend, snapshot: Snapshot, old: Oid, new: Oid) -> Snapshot:
    """The snapshot at ``new``, from the one at ``old`` and the changed files only.

    Raises:
        StateRefused: a changed file does not decode, or the marker is gone.
    """
    gone: list[str] = []
    changed: list[Entry] = []
    for file in backend.read_changes(old, new):
        if file.content is None:
            gone.append(file.path)
        else:
            changed.append(_decode(file, new))
    if codec.MARKER_PATH in gone:
        raise StateRefused(f"{BRANCH} at {new} has no {codec.MARKER_PATH}")
    try:
        for path in sorted(gone, key=_plans_last):
            snapshot = _remove(snapshot, path)
    except StateRefused as error:
        raise StateRefused(f"{BRANCH} at {new}: {error.message}") from error
    try:
        return snapshot.put(*sorted(changed, key=_plans_first))
    except KeyError as error:
        raise StateRefused(f"{BRANCH} at {new}: no plan {error.args[0]}") from error


def _plans_first(entry: Entry) -> bool:
    return not codec.path_of(entry).endswith("/plan.json")


def _plans_last(path: str) -> bool:
    return path.endswith("/plan.json")


def _remove(snapshot: Snapshot, path: str) -> Snapshot:
    match codec.removed(path):
        case ("task", name) if snapshot.task(name):
            return snapshot.remove_task(name)
        case ("plan", name) if snapshot.plan(name):
            state = snapshot.plans[name]
            if state.tasks or state.source:
                raise StateRefused(f"plan {name} is gone, and files of it are not")
            return snapshot.remove_plan(name)
        case ("agent", name) if name in snapshot.agents:
            return snapshot.remove_agent(name)
        case ("source", name) if snapshot.plan(name):
            return snapshot.remove_source(name)
        case ("archive", name):
            return snapshot.remove_archived(name)
        case _:
            return snapshot
