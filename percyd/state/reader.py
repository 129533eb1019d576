"""From a tip to a snapshot: what may be adopted, and what is refused (S12).

Ancestry and single parents are judged for every commit between ours and the tip,
format and decodability at the tip only, so that a bad commit is mended by a forward
one (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from percyd.core.ids import STATE_REF, short_ref
from percyd.core.refs import Oid
from percyd.core.snapshot import Entry, Snapshot, build
from percyd.errors import StateRefused
from percyd.state import codec
from percyd.state.backend import Backend, Changes, Link, TreeFile

BRANCH = short_ref(STATE_REF)
_MODE = "100644"
#: So many commits are read to find the newest good one before a bad tip.
_LOOK_BACK = 20
#: Reads the whole snapshot at a tip that was judged already.
Read = Callable[[Backend, Oid], Snapshot]

_KEPT = "put the good tip back, what is there now is kept beside it"


def follow(
    backend: Backend,
    ours: Oid | None,
    snapshot: Snapshot | None,
    tip: Oid,
    first: Read | None = None,
) -> Snapshot:
    """The snapshot at a tip that may be adopted.

    Args:
        backend: The clone that has fetched the tip.
        ours: The newest good tip that is known, in this process or from before.
        snapshot: The state at ``ours``; None if it has not been read yet.
        tip: The remote's tip.
        first: How to read a whole snapshot, where it is not to be `read`.

    Raises:
        StateRefused: it does not simply go on from ours, or is no state.
    """
    judge(backend, ours, tip)
    try:
        if ours is None or snapshot is None:
            return (first or read)(backend, tip)
        return advance(backend, snapshot, ours, tip)
    except StateRefused as error:
        raise _with_a_way(backend, ours, tip, error) from error


def _with_a_way(
    backend: Backend, ours: Oid | None, tip: Oid, error: StateRefused
) -> StateRefused:
    """The same refusal, with the good tip before it, and the command that mends it."""
    good = ours if error.hint else _newest_good(backend, ours, tip)
    before = f"; the last good tip was {ours or good}" if ours or good else ""
    hint = error.hint
    if good is not None and not hint:
        way = backend.ways.forward(tip, good)
        hint = f"go on from it with the files of {good[:10]}: {way}"
    return StateRefused(error.message + before, hint=hint or "see percyd verify")


def _newest_good(backend: Backend, ours: Oid | None, tip: Oid) -> Oid | None:
    """The newest commit before ``tip`` that decodes: others may have moved on."""
    newer = [link.oid for link in backend.history(ours, tip)][-2::-1]
    for oid in newer[:_LOOK_BACK]:
        try:
            read(backend, oid)
        except StateRefused:
            continue
        return oid
    return ours


def judge(backend: Backend, ours: Oid | None, tip: Oid) -> None:
    """Refuse a tip that does not simply go on from ours.

    Raises:
        StateRefused: another history, a merge, a second root.
    """
    if ours is not None and not backend.is_ancestor(ours, tip):
        raise StateRefused(
            f"{BRANCH} was replaced by {tip}, which does not follow {ours}",
            hint=f"{_KEPT}: {backend.ways.over(tip, ours)}",
        )
    for position, link in enumerate(backend.history(ours, tip)):
        expected = 0 if ours is None and position == 0 else 1
        if len(link.parents) != expected:
            raise _not_one_line(backend, ours, tip, link)


def _not_one_line(
    backend: Backend, ours: Oid | None, tip: Oid, link: Link
) -> StateRefused:
    """A merge brings the good history along as one of its parents."""
    what = "a merge" if link.parents else "a second root"
    onward = (p for p in link.parents if ours is None or backend.is_ancestor(ours, p))
    good = next(onward, ours)
    where = f"{BRANCH}, at {tip}, has {what} at {link.oid}"
    if good is None:
        return StateRefused(where, hint="see percyd verify")
    last = f"the last good tip was {ours or good}"
    return StateRefused(
        f"{where}; {last}", hint=f"{_KEPT}: {backend.ways.over(tip, good)}"
    )


def rewound(backend: Backend, ours: Oid, tip: Oid) -> StateRefused:
    """What to say of a tip that is behind ours."""
    return StateRefused(
        f"{BRANCH} was rewound to {tip}, which is behind {ours}",
        hint=f"push the good tip back: {backend.ways.back(ours)}",
    )


def deleted(backend: Backend, ours: Oid) -> StateRefused:
    """What to say of a branch that was there and is not any more."""
    return StateRefused(
        f"{BRANCH} was deleted on the remote; its last good tip was {ours}",
        hint=f"push it back: {backend.ways.back(ours)}",
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


def advance(backend: Changes, snapshot: Snapshot, old: Oid, new: Oid) -> Snapshot:
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
