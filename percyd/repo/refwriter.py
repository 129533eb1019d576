"""Moves local refs through one git process that stays up.

Every push and every attempt moves two or three of percyd's own refs; a process for each
was a tenth of all that a small task costs.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading

from percyd.core.refs import Oid
from percyd.repo.runner import Git

_BEGIN, _END = b"start\n", b"commit\n"
_DONE = [b"start: ok\n", b"commit: ok\n"]


class RefWriter:
    """A ``git update-ref --stdin`` that any thread may ask; restarted when it dies."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def update(self, ref: str, oid: Oid, before: Oid | None = None) -> None:
        """Make ``ref`` name ``oid``, where it names ``before`` if that is given.

        Raises:
            GitError: it names something else, or cannot be written.
        """
        self._move(f"update {ref} {oid}{f' {before}' if before else ''}\n")

    def delete(self, ref: str) -> None:
        """Remove ``ref``; nothing happens if it is not there.

        Raises:
            GitError: it cannot be removed.
        """
        self._move(f"delete {ref}\n")

    def close(self) -> None:
        """End the process; the next move starts another."""
        with self._lock:
            self._stop()

    def _move(self, command: str) -> None:
        with self._lock:
            with contextlib.suppress(OSError):
                if self._exchange(command.encode()) == _DONE:
                    return
            # It says what is wrong only when it ends; and it may just have been killed.
            self._stop()
            self._git.run("update-ref", "--stdin", stdin=command.encode())

    def _exchange(self, command: bytes) -> list[bytes]:
        if self._process is None:
            self._process = self._git.start("update-ref", "--stdin")
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return []
        try:
            stdin.write(_BEGIN + command + _END)
            stdin.flush()
            return [stdout.readline() for _ in _DONE]
        except BaseException:
            self._stop()
            raise

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        # Without its commands it ends by itself: killed, it could leave a lock.
        process.wait()
