"""The supervisors of a process: started, kept for the next program, and ended.

What one of them does is in `percyd.work.supervisor`, what percyd says to it and hears of
it in `percyd.work.supervise`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import psutil

SUPERVISOR = Path(__file__).with_name("supervisor.py")
#: Imports it, so that it is compiled once and not each time. The standard library's own
#: modules go before those of its folder, which is the first argument.
_BEGIN = (
    "import sys; sys.path.append(sys.argv.pop(1)); import supervisor; supervisor.main()"
)
#: What an interpreter may need to start; all else goes to the program alone.
SUPERVISOR_ENV = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
#: How long to read on once the supervisor is gone: only an escaped process (macOS)
#: can still hold the pipe.
DRAIN_S = 2.0


class Supervisors:
    """Supervisors that wait for a program, and more of them as they are needed.

    What ``keep`` names stays open in them until they end.
    """

    def __init__(self, keep: tuple[int, ...] = ()) -> None:
        self._keep = keep
        self._guard = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []

    def take(self, env: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], bool]:
        """One that waits for a program, or a new one, and whether it is new.

        ``env`` is for its interpreter.

        Raises:
            OSError: none can be started.
        """
        while True:
            with self._guard:
                process = self._idle.pop() if self._idle else None
            if process is None:
                return _start(env, self._keep), True
            if process.poll() is None:
                return process, False
            end(process, DRAIN_S)  # somebody has ended it meanwhile

    def give_back(self, process: subprocess.Popen[bytes]) -> None:
        """One that has said that all of its program is gone."""
        with self._guard:
            self._idle.append(process)

    def close(self) -> None:
        """End those that have nothing to do, and wait until they are gone."""
        with self._guard:
            idle, self._idle = self._idle, []
        for process in idle:
            cut_lifeline(process)
        for process in idle:
            end(process, DRAIN_S)


def _start(env: Mapping[str, str], keep: tuple[int, ...]) -> subprocess.Popen[bytes]:
    # Isolated, so that no variable or folder of the task can reach the interpreter.
    # A session of its own, so that ^C at percyd's terminal does not reach the task.
    return subprocess.Popen(
        [
            *(sys.executable, "-I", "-S", "-X", "utf8", "-c", _BEGIN),
            *(str(SUPERVISOR.parent), *map(str, keep)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={k: env[k] for k in SUPERVISOR_ENV if k in env},
        start_new_session=True,
        pass_fds=keep,
    )


def cut_lifeline(process: subprocess.Popen[bytes]) -> None:
    """Tell a supervisor to end what it runs, and then itself."""
    if process.stdin is not None:
        process.stdin.close()


def end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until a supervisor without a lifeline is gone, and all that it ran."""
    cut_lifeline(process)
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        kill_below(process.pid)
        process.kill()
        process.wait()
    if process.returncode != 0:
        _kill_session(process.pid)
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def kill_below(pid: int) -> None:
    """The last resort for a supervisor that does not end: all that is below it."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()


def _kill_session(session: int) -> None:
    """The last resort for a supervisor that was killed: what its session still holds."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) == session:
                psutil.Process(pid).kill()
