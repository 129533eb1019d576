"""Hints that there may be something new: events of the file system.

An event only makes the next look happen at once. Losing every one of them costs
latency and nothing else: the poll stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

log = logging.getLogger(__name__)

#: What changes something. Reading is left out: our own looks would wake us for ever.
_EVENTS: list[type[FileSystemEvent]] = [
    *(FileCreatedEvent, FileModifiedEvent, FileClosedEvent),
    *(FileMovedEvent, FileDeletedEvent),
    *(DirCreatedEvent, DirMovedEvent, DirDeletedEvent),
]
#: A file system of these tells nobody what other machines do to it.
_NETWORK = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "gluster",
    "lustre",
    "fuse.sshfs",
)
#: The files of a git directory that name refs; its index and logs say nothing more.
_REF_FILES = frozenset({"HEAD", "packed-refs"})


@dataclass(frozen=True, slots=True)
class Place:
    """A folder, and what in it counts: these names, or everything below it."""

    folder: Path
    names: frozenset[str] | None = None


def refs_of(git_dir: Path) -> tuple[Place, ...]:
    """Where the branches of a repository are written; git's other files do not count.

    Heartbeats, which move all the time, are no branches.
    """
    return (
        Place(git_dir, _REF_FILES),
        Place(git_dir / "refs" / "heads"),
        Place(git_dir / "reftable"),
    )


class Watcher:
    """Watches places, and hints when something has changed in one of them."""

    def __init__(self, places: Iterable[Place], hint: Callable[[], None]) -> None:
        self._places = tuple(dict.fromkeys(places))
        self._hint = hint
        self._observer: BaseObserver | None = None
        self._watched: dict[Place, tuple[tuple[int, int], ObservedWatch]] = {}
        self._failed: set[Place] = set()
        self._said: set[str] = set()

    @property
    def is_whole(self) -> bool:
        """Whether events of every place that exists are seen."""
        return self._observer is not None and not self._failed

    def start(self) -> None:
        """Begin to watch whatever can be watched."""
        observer = Observer()
        observer.daemon = True
        try:
            observer.start()
        except (OSError, RuntimeError) as error:
            self._say(f"events of the file system cannot be read: {error}")
            return
        self._observer = observer
        self.renew()

    def stop(self) -> None:
        """End it; nobody is woken any more."""
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            observer.join()

    def renew(self) -> None:
        """Watch what has come into being, and let go of what has gone. Cheap."""
        if self._observer is None:
            return
        for place in self._places:
            identity = _identity(place.folder)
            watched = self._watched.get(place)
            if watched and watched[0] == identity:
                continue
            if watched:
                self._let_go(place)
            self._failed.discard(place)
            if identity:
                self._watch(self._observer, place, identity)
            elif watched:
                self._say(f"{place.folder} is gone")

    def _watch(
        self, observer: BaseObserver, place: Place, identity: tuple[int, int]
    ) -> None:
        kind = _network_kind(place.folder)
        if kind:
            self._failed.add(place)
            self._say(f"{place.folder} is on a network file system ({kind})")
            return
        try:
            watch = observer.schedule(
                _Handler(place, self._hint),
                str(place.folder),
                recursive=place.names is None,
                event_filter=_EVENTS,
            )
        except (OSError, RuntimeError) as error:
            # The limits of inotify, most often.
            self._failed.add(place)
            self._say(f"{place.folder} cannot be watched: {error}")
        else:
            self._watched[place] = (identity, watch)

    def _let_go(self, place: Place) -> None:
        _, watch = self._watched.pop(place)
        if self._observer is not None:
            try:
                self._observer.unschedule(watch)
            except (KeyError, OSError):  # its thread has ended with the folder
                log.debug("let go", extra={"path": str(place.folder)})

    def _say(self, what: str) -> None:
        """One line, once, for each thing that is only polled from now on."""
        if what not in self._said:
            self._said.add(what)
            log.warning(
                "not watched", extra={"why": f"{what}; it is looked at by poll"}
            )


class _Handler(FileSystemEventHandler):
    """Lets through what may matter."""

    def __init__(self, place: Place, hint: Callable[[], None]) -> None:
        self._names = place.names
        self._hint = hint

    def dispatch(self, event: FileSystemEvent) -> None:
        """See `FileSystemEventHandler`."""
        path = event.dest_path or event.src_path
        name = str(path).rpartition("/")[2]
        # Git writes beside a file, and renames.
        if not name.endswith(".lock") and (self._names is None or name in self._names):
            self._hint()


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder this is; None if there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if folder.is_dir() else None


def _network_kind(folder: Path) -> str | None:
    """The kind of network file system that a folder is on; None for a local one."""
    try:
        parts = psutil.disk_partitions(all=True)
    except (OSError, psutil.Error):
        return None
    resolved = folder.resolve()
    mounts = {Path(part.mountpoint): part.fstype for part in parts}
    for parent in (resolved, *resolved.parents):
        if parent in mounts:
            kind = mounts[parent]
            return kind if kind.startswith(_NETWORK) else None
    return None
