"""Runners whose providers have no more to give for now: they rest until a time.

Kept in a file of the clone, so that neither another process nor the next start asks in
vain what this one knows.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from percyd.clock import Clock

log = logging.getLogger(__name__)


class Parking:
    """The parked runners of one clone, and until when each rests."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        #: What this process knows itself, also on a disk that takes nothing.
        self._own: dict[str, datetime] = {}

    def park(self, runner: str, until: datetime) -> None:
        """Let a runner rest; a later time wins over an earlier one."""
        parked = {**self.parked()}
        parked[runner] = max(until, parked.get(runner, until))
        log.warning(
            "parked", extra={"runner": runner, "why": f"until {until:%F %T %Z}"}
        )
        self._own[runner] = parked[runner]
        times = {name: time.timestamp() for name, time in parked.items()}
        with suppress(OSError):  # another process asks in vain, and is told again
            fd, name = tempfile.mkstemp(dir=self._path.parent)
            with os.fdopen(fd, "w") as file:
                json.dump(times, file)
            Path(name).replace(self._path)

    def parked(self) -> Mapping[str, datetime]:
        """The runners that rest now, and until when."""
        now = self._clock.now()
        known = dict(self._in_file())
        for name, until in self._own.items():
            known[name] = max(until, known.get(name, until))
        return {name: until for name, until in known.items() if until > now}

    def _in_file(self) -> Mapping[str, datetime]:
        try:
            times = json.loads(self._path.read_bytes())
            return {
                str(name): datetime.fromtimestamp(time, UTC)
                for name, time in times.items()
            }
        except (OSError, ValueError, TypeError, AttributeError, OverflowError):
            return {}
