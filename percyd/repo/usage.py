"""Who uses a repository of percyd's own, and the lock files that a crash left in it.

git waits for a lock file as long as somebody could hold it, and then gives up: a power
cut would stop percyd for good. Every process holds a shared lock of the kernel's while
it uses the repository; whoever finds that nobody else does may clear up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from percyd.repo import filelock

log = logging.getLogger(__name__)

#: The file whose lock they hold, in the repository.
FILE = "percyd-users"
#: A git process may outlive the percyd that started it; it holds a lock for a moment.
_ORPHAN_S = 10.0


class Usage:
    """Held for as long as a process uses the repository at ``git_dir``.

    Raises:
        GitError: a process that clears up there does not come to an end.
    """

    def __init__(self, git_dir: Path) -> None:
        self._close: Callable[[], object] = bool
        try:
            fd = os.open(git_dir / FILE, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            return  # nothing can be written here: git will say so
        self._close = weakref.finalize(self, os.close, fd)
        if filelock.try_to_take(fd, fcntl.LOCK_EX):
            _sweep(git_dir, fd)
        # Not without it: the next one to come would remove what is written here.
        filelock.take(fd, fcntl.LOCK_SH, git_dir / FILE)

    def end(self) -> None:
        """Let go; also done when nobody refers to it any more."""
        self._close()


def _sweep(git_dir: Path, fd: int) -> None:
    """Remove the files that nobody can be writing any more."""
    os.utime(fd)
    now_s = os.fstat(fd).st_mtime  # by the file system's own clock
    for path in _litter(git_dir):
        with suppress(OSError):
            if now_s - path.lstat().st_mtime >= _ORPHAN_S:
                path.unlink()
                log.warning("stale file removed", extra={"path": str(path)})


def _litter(git_dir: Path) -> Iterator[Path]:
    """Locks, and what was half-written when the disk was full or the power went."""
    yield from git_dir.glob("*.lock")
    yield from (git_dir / "refs").rglob("*.lock")
    objects = git_dir / "objects"
    yield from (objects / "info").rglob("*.lock")
    yield from objects.glob("??/tmp_obj_*")
    yield from (objects / "pack").glob("tmp_*")
