"""The ports for time and randomness: the only module that reads either."""

from __future__ import annotations

import random
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What percyd may know about time."""

    def now(self) -> datetime:
        """The wall clock in UTC, whole seconds: for people to read, never to decide."""
        ...

    def boot_s(self) -> float:
        """Seconds on a clock that never jumps and counts suspended time too."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait for ``event`` at most ``timeout_s`` seconds; true once it is set."""
        ...


class Randomness(Protocol):
    """Where operation ids, claim tokens and jitter come from."""

    def token(self) -> str:
        """128 random bits as 32 hex digits."""
        ...

    def hex6(self) -> str:
        """Six hex digits: the tail of an agent id."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``, for jitter."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """See `Clock`."""
        return datetime.now(UTC).replace(microsecond=0)

    def boot_s(self) -> float:
        """See `Clock`; CLOCK_BOOTTIME where there is one (Linux), else monotonic."""
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.monotonic()

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See `Clock`."""
        return event.wait(timeout_s)


class SystemRandomness:
    """The operating system's randomness."""

    def token(self) -> str:
        """See `Randomness`."""
        return secrets.token_hex(16)

    def hex6(self) -> str:
        """See `Randomness`."""
        return secrets.token_hex(3)

    def uniform(self, low: float, high: float) -> float:
        """See `Randomness`; jitter needs no cryptographic quality."""
        return random.uniform(low, high)  # noqa: S311
