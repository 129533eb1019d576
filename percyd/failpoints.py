"""Named places where a test may kill, stop, delay or fail percyd.

``PERCY_FAILPOINT=name:kill|stop|sleep|error[@n]``: at the n-th time (default: the
first) that the place is reached, the process kills or stops itself, sleeps for three
seconds, or the place raises. Several are separated by commas. Free when unset.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

from percyd.errors import PercydError

VARIABLE: Final = "PERCY_FAILPOINT"
ACTIONS: Final = ("kill", "stop", "sleep", "error")
SLEEP_S: Final = 3.0

#: Every place, in the order of a task's way. A test holds them against the code.
NAMES: Final = (
    "commit-built",
    "push-accepted",
    "claimed",
    "workspace-begun",
    "workspace-made",
    "program-ended",
    "collected",
    "gate-passed",
    "before-complete",
    "completed",
    "cleaning-up",
    "lost-decided",
    "taking-in",
)


class FailpointError(PercydError):
    """A failpoint said so."""

    code = "failpoint"


def parse(text: str) -> dict[str, tuple[str, int]]:
    """The armed places: name to action and count.

    Raises:
        ValueError: a name or an action that there is not.
    """
    armed: dict[str, tuple[str, int]] = {}
    for part in filter(None, text.split(",")):
        name, _, what = part.partition(":")
        action, _, count = what.partition("@")
        if name not in NAMES or action not in ACTIONS:
            raise ValueError(f"{VARIABLE}: {part!r} is none of {NAMES} with {ACTIONS}")
        armed[name] = (action, int(count or 1))
    return armed


_armed = parse(os.environ.get(VARIABLE, ""))
_guard = threading.Lock()


def hit(name: str) -> None:
    """The place ``name`` is reached."""
    if _armed:
        _act(name)


def _act(name: str) -> None:
    with _guard:
        action, count = _armed.get(name, ("", 0))
        if action:
            _armed[name] = (action, count - 1)
    if count != 1:
        return
    match action:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            threading.Event().wait(SLEEP_S)
        case "error":
            raise FailpointError(f"failpoint {name}")
