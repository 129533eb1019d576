"""Feeds and drains one process, and ends its whole group at a deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading

#: How long git may take to remove its lock files after SIGTERM.
_TERM_GRACE_S = 2.0
_KILL_GRACE_S = 2.0
#: How often to ask whether to stop.
_LOOK_S = 0.2


def communicate(
    process: subprocess.Popen[bytes],
    stdin: bytes | None,
    deadline_s: float,
    stop: threading.Event | None = None,
) -> tuple[bytes, bytes, bool]:
    """Feed and drain ``process``, the leader of its group; end that at the deadline.

    ``stop`` set ends it sooner.

    Returns:
        Its output, its errors, and whether it ended by itself.
    """
    try:
        while stop is not None and deadline_s > _LOOK_S and not stop.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                stdout, stderr = process.communicate(stdin, timeout=_LOOK_S)
                return stdout or b"", stderr or b"", True
            stdin = None  # taken already
            deadline_s -= _LOOK_S
        if stop is not None and stop.is_set():
            return (*_end(process), False)
        stdout, stderr = process.communicate(stdin, timeout=deadline_s)
    except subprocess.TimeoutExpired:
        return (*_end(process), False)
    except BaseException:
        _end(process)
        raise
    return stdout or b"", stderr or b"", True


def _end(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """End a process group: first politely, so that git removes its lock files."""
    for number, grace_s in (
        (signal.SIGTERM, _TERM_GRACE_S),
        (signal.SIGKILL, _KILL_GRACE_S),
    ):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            stdout, stderr = process.communicate(timeout=grace_s)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            # git itself is gone; what it started may still ignore SIGTERM.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        return stdout or b"", stderr or b""
    # A process that left the group still holds the pipes: let go of them.
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()
    return b"", b""
