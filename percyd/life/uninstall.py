"""What percyd keeps on this machine for one clone, and its removal: hooks, local state.

All of it can be lost but for work that nobody else has: what a dead process has left in
its slots, and results that were never published. That is rescued first; what cannot be
rescued keeps everything where it is.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from fcntl import LOCK_EX
from pathlib import Path

from percyd.core.ids import PLAN_REFS, STATE_REF, short_ref
from percyd.errors import PercydError, RefusedError
from percyd.home import FileLock, Home
from percyd.hooking import Hooks, as_remote
from percyd.life.seat import DAEMON
from percyd.membership import bury_the_dead
from percyd.repo import filelock, folders
from percyd.repo.hooks import NAMES, HookState
from percyd.repo.usage import FILE
from percyd.repo.worktrees import SlotClone
from percyd.session import Percyd
from percyd.views import rescues

_AGENT_BRANCHES = "refs/heads/agent/"
_OWN_REFS = "refs/percy/"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is of one clone, here and on its remote."""

    homes: tuple[Path, ...]
    size: int
    #: The files of the hooks that have something of ours.
    hooks: tuple[Path, ...]
    #: Work that is on this machine only, by where it is.
    unrescued: tuple[str, ...]
    #: How many refs of each kind stay on the remote; None: it could not be asked.
    refs: dict[str, int] | None


def take_stock(percyd: Percyd) -> Inventory:
    """Look at everything; nothing is changed."""
    hooks, places = _hooks(percyd), _places(percyd)
    return Inventory(
        tuple(place.home.path for place in places),
        sum(f.lstat().st_size for p in places for f in p.home.path.rglob("*")),
        tuple(hooks.folder.path / name for name in NAMES if _is_ours(hooks, name)),
        tuple(what for place in places for what in _unrescued(place)),
        _refs(percyd) if places else None,
    )


def _is_ours(hooks: Hooks, name: str) -> bool:
    return hooks.state(name) not in (HookState.ABSENT, HookState.FOREIGN)


def uninstall(percyd: Percyd) -> None:
    """Remove this clone's hooks and its local state.

    Raises:
        RefusedError: something of percyd's runs here, or work would be lost.
        RemoteUnreachable: there is work to be rescued, and nobody answers.
    """
    with ExitStack() as held:
        places = _places(percyd)
        for place in places:
            held.enter_context(_nobody_at_work(place.home))
            _rescue(place)
        _hooks(percyd).uninstall()
        for place in places:
            _remove(place)


def _places(percyd: Percyd) -> list[Percyd]:
    """A bare clone that others push to has a second place, for what they push."""
    both = {p.home: p for p in (percyd, as_remote(percyd))}
    return [p for p in both.values() if p.home.path.exists()]


def _hooks(percyd: Percyd) -> Hooks:
    return Hooks.of(percyd.clone, percyd.environ)


def _rescue(percyd: Percyd) -> None:
    if list(_unrescued(percyd)):
        bury_the_dead(percyd, starting=True)
    left = list(_unrescued(percyd))
    if left:
        raise RefusedError(
            f"{left[0]} is on this machine only",
            hint="percyd rescue list shows what it is, percyd rescue restore keeps it; "
            f"of {len(left)} nothing was removed",
        )
    with suppress(PercydError):  # others find out by its lease
        bury_the_dead(percyd, starting=True)


def _remove(percyd: Percyd) -> None:
    percyd.close()
    home = percyd.home.path
    away = home.with_name(f".{home.name}.{os.getpid()}")
    with _alone(percyd.home):
        home.rename(away)
    folders.remove(away)


@contextmanager
def _nobody_at_work(home: Home) -> Iterator[None]:
    """Keep a daemon from starting; refuse while anything runs."""
    with ExitStack() as held:
        names = [DAEMON, *sorted(p.stem for p in home.locks.glob("*.lock"))]
        for name in dict.fromkeys(names):
            lock = FileLock(home.lock(name))
            if name == DAEMON and lock.acquire():
                held.callback(lock.release)
            elif not lock.is_free():
                who = f"process {lock.holder()}" if lock.holder() else "a process"
                raise RefusedError(
                    f"percyd runs in this clone: {who} ({name})",
                    hint="percyd stop ends the daemon, ^C a worker",
                )
        yield


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Every command that uses the hub holds a lock on it."""
    if not home.hub.exists():
        yield
        return
    with (home.hub / FILE).open("ab") as file:
        if not filelock.try_to_take(file.fileno(), LOCK_EX):
            raise RefusedError("a percyd command uses this clone", hint="wait for it")
        yield


def _unrescued(percyd: Percyd) -> Iterator[str]:
    """Worktrees of dead processes, and pins that no ref of the remote contains."""
    if not percyd.home.hub.exists():
        return
    for folder in sorted(percyd.home.slots.glob("[0-9]*")):
        if FileLock(percyd.home.lock(f"slot-{folder.name}")).is_free():
            clone = SlotClone(folder, percyd.hub)
            yield from (f"the worktree {path}" for path in clone.worktrees())
    try:
        published = rescues.on_remote(percyd.hub)
    except PercydError:
        published = []
    for kept in rescues.pinned_here(percyd.hub, published):
        yield f"the work of {kept.key}, {kept.ref} in {percyd.home.hub},"


def _refs(percyd: Percyd) -> dict[str, int] | None:
    try:
        found = percyd.hub.ls_remote(
            *(STATE_REF, f"{PLAN_REFS}*", f"{_AGENT_BRANCHES}*", f"{_OWN_REFS}*")
        )
    except PercydError:
        return None
    return dict(sorted(Counter(map(_kind, found)).items()))


def _kind(ref: str) -> str:
    for prefix in (PLAN_REFS, _AGENT_BRANCHES):
        if ref.startswith(prefix):
            return f"{short_ref(prefix)}*"
    if ref.startswith(_OWN_REFS):
        return f"{_OWN_REFS}{ref.removeprefix(_OWN_REFS).partition('/')[0]}/*"
    return short_ref(ref)
