"""One way to take a lock of the kernel's on a file, without waiting for ever.

Such a lock dies with its holder. One that is stopped holds it all the same, and must
not stop everybody else: whoever waits gives up, and names the file.
"""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from percyd.errors import GitError

_PAUSE_S = 0.01
#: How long to wait for a holder: each lets go within moments, even on a busy machine.
WAIT_S = 20.0


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Alone, among all threads and processes that ask for ``path``.

    Raises:
        GitError: somebody held it all the time.
    """
    with path.open("ab") as file:
        take(file.fileno(), fcntl.LOCK_EX, path)
        yield


def take(fd: int, kind: int, path: Path) -> None:
    """Lock an open file, which ``path`` names; it is free again once it is closed.

    Raises:
        GitError: somebody held it all the time.
    """
    for _ in range(int(WAIT_S / _PAUSE_S)):
        if try_to_take(fd, kind):
            return
        threading.Event().wait(_PAUSE_S)
    raise GitError(
        f"{path} is held by another process that uses this clone",
        hint="a percyd that was stopped may hold it: let it go on, or end it",
    )


def try_to_take(fd: int, kind: int) -> bool:
    """Lock an open file if nobody else has."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
