"""A git backend that counts and times its calls: where the time of a push race goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from percyd.clock import Clock, SystemClock
from percyd.core.ids import STATE_REF
from percyd.repo.hub import Hub
from percyd.repo.values import PushOutcome, PushReport
from percyd.state.git import GitBackend

T = TypeVar("T")


@dataclass(slots=True)
class Meter:
    """Calls and seconds by name. Safe to use from many threads."""

    clock: Clock
    calls: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def time(self, name: str, act: Callable[[], T]) -> T:
        """Make a call and note how long it took."""
        started = self.clock.boot_s()
        try:
            return act()
        finally:
            self.note(name, self.clock.boot_s() - started)

    def note(self, name: str, seconds: float = 0.0) -> None:
        """Count one call."""
        with self._guard:
            self.calls[name] = self.calls.get(name, 0) + 1
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def restart(self) -> None:
        """Count from zero."""
        with self._guard:
            self.calls.clear()
            self.seconds.clear()

    def facts(self) -> dict[str, float]:
        """All that was counted: ``<name>`` and ``<name>_ms``, summed."""
        with self._guard:
            sums = {f"{name}_ms": s * 1000 for name, s in self.seconds.items() if s}
            return {**self.calls, **sums}


class MeteredClock(SystemClock):
    """The machine's clocks; ``pause`` is what a store waited on purpose."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """See `Clock`."""
        wait = super().wait
        return self._meter.time("pause", lambda: wait(event, timeout_s))


#: The calls that are timed, and the names that they are counted under.
_NAMES = {
    "fetch_state": "fetch_state",
    "fetch_refs": "fetch_refs",
    "adopt": "remember",
    "tidy": "tidy",
    "history": "judge",
    "is_ancestor": "judge",
    "read_tree": "read",
    "read_changes": "read",
    "write": "build",
    "push": "push",
    "merge": "merge",
}


class MeteredBackend(GitBackend):
    """`GitBackend`, counted. ``lost`` are pushes that came too late."""

    def __init__(self, hub: Hub, meter: Meter) -> None:
        super().__init__(hub)
        self.meter = meter
        for method, name in _NAMES.items():
            setattr(self, method, self._metered(name, getattr(self, method)))

    def _metered(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def metered(*args: Any, **kwargs: Any) -> Any:
            answer = self.meter.time(name, lambda: _whole(call(*args, **kwargs)))
            if isinstance(answer, PushReport) and _is_lost(answer):
                self.meter.note("lost")
            return answer

        return metered


def _whole(answer: object) -> object:
    """What is read piece by piece is read to its end, and counted as one call."""
    return iter(list(answer)) if isinstance(answer, Iterator) else answer


def _is_lost(report: PushReport) -> bool:
    state = report.refs.get(STATE_REF)
    return state is not None and state.outcome is not PushOutcome.APPLIED
