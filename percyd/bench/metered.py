"""A git backend that counts and times its calls: where the time of a push race goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from percyd.clock import Clock, SystemClock
from percyd.core.ids import STATE_REF
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.repo.hub import Hub
from percyd.repo.values import NewCommit, PushOutcome, PushReport
from percyd.state.backend import Link, TreeFile
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


class MeteredBackend(GitBackend):
    """`GitBackend`, counted. ``lost`` are pushes that came too late."""

    def __init__(self, hub: Hub, meter: Meter) -> None:
        super().__init__(hub)
        self.meter = meter

    def fetch_state(self) -> Oid | None:
        """See `Backend`."""
        return self.meter.time("fetch_state", super().fetch_state)

    def fetch_refs(self, refs: Sequence[str]) -> Mapping[str, Oid | None]:
        """See `Backend`."""
        fetch = super().fetch_refs
        return self.meter.time("fetch_refs", lambda: fetch(refs))

    def adopt(self, tip: Oid) -> None:
        """See `Backend`."""
        adopt = super().adopt
        self.meter.time("remember", lambda: adopt(tip))

    def history(self, old: Oid | None, new: Oid) -> list[Link]:
        """See `Backend`."""
        history = super().history
        return self.meter.time("judge", lambda: history(old, new))

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """See `Backend`."""
        ask = super().is_ancestor
        return self.meter.time("judge", lambda: ask(old, new))

    def read_tree(self, tip: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        read = super().read_tree
        return iter(self.meter.time("read", lambda: list(read(tip))))

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """See `Backend`."""
        read = super().read_changes
        return iter(self.meter.time("read", lambda: list(read(old, new))))

    def write(self, parent: Oid | None, commits: Sequence[NewCommit]) -> list[Oid]:
        """See `Backend`."""
        write = super().write
        return self.meter.time("build", lambda: write(parent, commits))

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        """See `Backend`."""
        push = super().push
        report = self.meter.time("push", lambda: push(moves, deadline_s))
        state = report.refs.get(STATE_REF)
        if state is not None and state.outcome is not PushOutcome.APPLIED:
            self.meter.note("lost")
        return report

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """See `Backend`."""
        merge = super().merge
        return self.meter.time("merge", lambda: merge(ours, theirs, message, when))
