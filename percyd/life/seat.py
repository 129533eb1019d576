"""Who sits where: one daemon for each clone, any number of workers beside it.

A seat is a lock of the kernel's, which is free as soon as its holder is gone, however
that came about; a restart of the machine frees it too. The number in the lock's file is
believed only while the lock is held, by a process that has that very file open: the
numbers of processes are used again, and mean nothing in another container.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from percyd.errors import DaemonRuns, RefusedError
from percyd.home import FileLock, Home

DAEMON = "daemon"
_WORKER = "worker"
_LOOKS = 40
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Daemon:
    """A daemon that runs: its process, and what its tasks get to end."""

    process: psutil.Process
    grace_s: float

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid


@contextmanager
def daemon_seat(home: Home, grace_s: float) -> Iterator[Path]:
    """Be the daemon of this clone; answers where its log belongs.

    Raises:
        DaemonRuns: there is one already.
    """
    lock = FileLock(home.lock(DAEMON))
    if not _acquire(lock):
        pid = lock.holder()
        who = f"process {pid}" if pid else "an unknown process"
        raise DaemonRuns(
            f"a daemon runs in this clone already: {who}",
            hint="percyd stop ends it",
        )
    try:
        _say(home.daemon, {"pid": os.getpid(), "grace_s": grace_s})
        yield home.log_file(DAEMON)
    finally:
        home.daemon.unlink(missing_ok=True)
        lock.release()


@contextmanager
def worker_seat(home: Home) -> Iterator[Path]:
    """Be one of the workers of this clone; answers where its log belongs."""
    for number in count():
        name = f"{_WORKER}-{number}"
        lock = FileLock(home.lock(name))
        if lock.acquire():
            try:
                yield home.log_file(name)
            finally:
                lock.release()
            return


def find_daemon(home: Home) -> Daemon | None:
    """The daemon of this clone; None if none runs.

    Raises:
        RefusedError: something holds its seat that is no process of this machine.
    """
    lock = FileLock(home.lock(DAEMON))
    for _ in range(_LOOKS):
        if lock.is_free():
            return None
        # Whoever has just sat down, or gets up, has no number there for a moment.
        pid = lock.holder()
        process = _process(pid, lock.path) if pid else None
        if process is not None:
            return Daemon(process, _grace_s(home, process.pid))
        threading.Event().wait(_PAUSE_S)
    raise RefusedError(
        f"{lock.path} is held by a process that cannot be seen from here",
        hint="end the daemon where it runs; another container may share this folder",
    )


def _acquire(lock: FileLock) -> bool:
    """Take a lock, also from under somebody who only looks at it."""
    for _ in range(_LOOKS):
        if lock.acquire():
            return True
        if lock.holder() is not None:
            return False
        threading.Event().wait(_PAUSE_S)
    return False


def _process(pid: int, path: Path) -> psutil.Process | None:
    """The process of this number if it has the lock's file open."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        wanted = os.path.realpath(path)
        if any(file.path == wanted for file in process.open_files()):
            return process
    return None


def _say(path: Path, document: dict[str, object]) -> None:
    """Write a small file at once; a full disk is no reason not to start."""
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(document), encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)


def _grace_s(home: Home, pid: int) -> float:
    """What the daemon's tasks get to end, as it has said itself."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        said = json.loads(home.daemon.read_text(encoding="utf-8"))
        if said["pid"] == pid:
            return float(said["grace_s"])
    return 0.0
