"""Where local state lives: hub, slots, logs, locks. Never inside a repository.

Everything here can be lost: the truth is on the remote.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import platformdirs

from percyd.errors import PercydError, RefusedError, UsageError

STATE_DIR = "PERCYD_STATE_DIR"
SLOTS = "slots"
PRIVATE = 0o700
OTHERS_MAY_WRITE = 0o022
LOCK_TRIES = 20
LOCK_PAUSE_S = 0.01


def state_root(environ: Mapping[str, str]) -> Path:
    """The folder that holds the local state of all clones.

    A hook on a server may have no ``HOME``; the account's home is looked up then.
    """
    if chosen := environ.get(STATE_DIR):
        path, name = Path(chosen), STATE_DIR
    else:
        path, name = Path(platformdirs.user_state_dir("percyd")), "the home directory"
    if not path.is_absolute() or (name != STATE_DIR and environ.get("HOME") == ""):
        raise UsageError(
            f"{name} is not known as an absolute path",
            hint=f"set {STATE_DIR} to the absolute path of a folder",
        )
    return path


def workspace_of(path: Path, root: Path) -> bool:
    """Whether ``path`` lies inside a slot of some clone under ``root``."""
    try:
        parts = path.resolve().relative_to(root.resolve()).parts
    except ValueError:
        return False
    return len(parts) >= 3 and parts[1] == SLOTS


@dataclass(frozen=True, slots=True)
class Home:
    """The local state of one clone."""

    path: Path

    @classmethod
    def of(cls, root: Path, clone_name: str, common_dir: Path) -> Self:
        """The home of the clone whose git common directory is ``common_dir``."""
        resolved = os.fsencode(common_dir.resolve())
        digest = hashlib.sha256(resolved).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", clone_name).strip(".-")[:64]
        return cls(root / f"{name or 'clone'}-{digest}")

    @property
    def hub(self) -> Path:
        """Percyd's own bare repository."""
        return self.path / "hub.git"

    @property
    def slots(self) -> Path:
        """Where the workspaces are."""
        return self.path / SLOTS

    def slot(self, number: int) -> Path:
        """The folder of one slot."""
        return self.slots / str(number)

    @property
    def logs(self) -> Path:
        """Where the logs are."""
        return self.path / "logs"

    def log_of(self, task: str, attempt: int) -> Path:
        """The log of one attempt at a task (full id)."""
        return self.logs / task / f"{attempt}.log"

    def logs_of(self, task: str) -> list[Path]:
        """The logs of a task's attempts, and of their gates, that were run here."""
        return sorted(self.log_of(task, 1).parent.glob("*.log*"))

    @property
    def runs(self) -> Path:
        """Where prompts and questions are, outside every worktree."""
        return self.path / "runs"

    def run_of(self, task: str, attempt: int) -> Path:
        """The folder for the prompt and the question of one attempt."""
        return self.runs / task / str(attempt)

    @property
    def locks(self) -> Path:
        """Where the locks are."""
        return self.path / "locks"

    def lock(self, name: str) -> Path:
        """The file of one lock."""
        return self.locks / f"{name}.lock"

    @property
    def daemon(self) -> Path:
        """What the daemon says of itself, while it holds its lock."""
        return self.path / "daemon.json"

    def log_file(self, process: str) -> Path:
        """The log of a process that stays up: ``daemon``, ``worker-0``."""
        return self.path / f"{process}.log"

    @property
    def wake(self) -> Path:
        """The file that hooks touch to wake what runs here."""
        return self.path / "hooks" / "wake"

    @property
    def woken_for(self) -> Path:
        """The repositories whose hooks touch `wake`, one a line, for a shell to read."""
        return self.wake.with_name("repositories")

    @property
    def told(self) -> Path:
        """The file that remembers what was told once of plan files."""
        return self.path / "told"

    @property
    def parked(self) -> Path:
        """Which runners rest until when, as their providers have no more to give."""
        return self.path / "parked"

    @property
    def last_read(self) -> Path:
        """The file whose time says when the remote was last read."""
        return self.path / "last-read"

    def ensure(self) -> None:
        """Make the folders, for this account only.

        Raises:
            UsageError: the place is not one where state may live.
        """
        _refuse_inside_repository(self.path)
        try:
            for folder in (self.path.parent, self.path):
                folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
                _refuse_shared(folder)
            for folder in (
                *(self.slots, self.logs, self.runs, self.locks),
                self.wake.parent,
            ):
                folder.mkdir(mode=PRIVATE, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot keep local state in {self.path}: {error.strerror}",
                hint=f"set {STATE_DIR} to a folder that can be written",
            ) from error


def _refuse_inside_repository(path: Path) -> None:
    # A worktree that loses its .git would have git find the repository around it.
    for folder in path.resolve().parents:
        if os.path.lexists(folder / ".git"):
            raise UsageError(
                f"the state directory {path.parent} lies inside the repository {folder}",
                hint=f"set {STATE_DIR} to a folder outside of any repository",
            )


def _refuse_shared(folder: Path) -> None:
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"the state directory {folder} belongs to another account",
            hint=f"set {STATE_DIR} to a folder of your own",
        )
    if status.st_mode & OTHERS_MAY_WRITE:
        raise UsageError(
            f"others may write to the state directory {folder}",
            hint=f"run: chmod go-w {shlex.quote(str(folder))}",
        )


class FileLock:
    """A lock between processes of one machine, free as soon as its holders are gone.

    The file stays: removing it would let two processes hold "the" lock. A child that
    inherits `fileno` holds the lock too: it is free when the last of them has let go.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def __enter__(self) -> Self:
        if not self.acquire():
            raise RefusedError(
                f"{self.path.name} is held by process {self.holder() or 'unknown'}"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> bool:
        """Take the lock if it is free; true if it is held now.

        Raises:
            PercydError: its file cannot be written.
        """
        if self._fd is not None:
            return True
        try:
            self._fd = self._open()
        except OSError as error:
            raise PercydError(
                f"{self.path} cannot be written: {error.strerror}"
            ) from error
        return self._fd is not None

    def _open(self) -> int | None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if self._lock(fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, str(os.getpid()).encode(), 0)
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        return None

    def _lock(self, fd: int) -> bool:
        for _ in range(LOCK_TRIES):
            if _flock(fd, fcntl.LOCK_EX):
                return True
            # A file without a process id: somebody only looks, or is about to write.
            if os.pread(fd, 32, 0):
                return False
            threading.Event().wait(LOCK_PAUSE_S)
        return False

    def fileno(self) -> int:
        """The descriptor that holds the lock, for a child to inherit.

        Raises:
            ValueError: the lock is not held.
        """
        if self._fd is None:
            raise ValueError(f"{self.path.name} is not held")
        return self._fd

    def release(self) -> None:
        """Let go of the lock; it stays with the children that inherited it."""
        if self._fd is not None:
            # No LOCK_UN: that would take it from those children.
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def is_free(self) -> bool:
        """Whether nobody holds the lock; looking keeps nobody from taking it."""
        if self._fd is not None:
            return False
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            return _flock(fd, fcntl.LOCK_SH)
        finally:
            os.close(fd)

    def holder(self) -> int | None:
        """The process that holds the lock; None if it is free."""
        if self._fd is not None:
            return os.getpid()
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            if _flock(fd, fcntl.LOCK_SH):
                return None
            text = os.pread(fd, 32, 0)
            return int(text) if text.isdigit() else None
        finally:
            os.close(fd)


def _flock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
