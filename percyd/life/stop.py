"""Ends the daemon of a clone from outside, and waits for its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

from percyd.clock import Clock
from percyd.errors import RefusedError
from percyd.home import Home
from percyd.life.seat import Daemon, find_daemon

#: Beyond their grace, programs are killed, and their claims given back.
MARGIN_S = 30.0
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Stopped:
    """A daemon that has ended."""

    pid: int
    seconds: float


def stop(
    home: Home, clock: Clock, on_wait: Callable[[Daemon], None] = lambda _: None
) -> Stopped | None:
    """End the daemon of this clone, and wait for it; None: none runs.

    The first signal drains, one more ends it at once: so does a second call.

    Args:
        home: The clone's local state.
        clock: What measures how long it takes.
        on_wait: Called once with the daemon as soon as it has the signal.

    Raises:
        RefusedError: it does not end in time.
    """
    daemon = find_daemon(home)
    if daemon is None:
        return None
    began_s = clock.boot_s()
    with suppress(psutil.NoSuchProcess):
        daemon.process.send_signal(signal.SIGTERM)
    limit_s = daemon.grace_s + MARGIN_S
    pause = threading.Event()
    on_wait(daemon)
    while _runs(home, daemon.pid):
        if clock.boot_s() - began_s > limit_s:
            raise RefusedError(
                f"the daemon, process {daemon.pid}, has not ended within {limit_s:g} s",
                hint=_way(daemon.process),
            )
        clock.wait(pause, _LOOK_S)
    return Stopped(daemon.pid, round(clock.boot_s() - began_s, 1))


def _runs(home: Home, pid: int) -> bool:
    """Whether it still holds its seat: what has let go of it is as good as gone."""
    daemon = find_daemon(home)
    return daemon is not None and daemon.pid == pid


def _way(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        if process.status() == psutil.STATUS_STOPPED:
            return f"it is suspended: kill -CONT {process.pid} lets it go on"
    return "percyd stop once more ends it at once"
