"""Which requeued tasks have waited long enough (FORMAT 3, reason codes).

Each worker counts from when it saw the requeue, on its own boot-time clock: no clock
is shared between machines.
"""

from __future__ import annotations

from percyd.core.reasons import backoff_s
from percyd.core.snapshot import Snapshot

Key = tuple[str, int]


class Resting:
    """The pauses of one worker, by task and attempt."""

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}

    def observe(self, snapshot: Snapshot, now_s: float) -> None:
        """Start the pause of every requeued task that is new here; forget the rest."""
        seen: dict[Key, float] = {}
        for state in snapshot.plans.values():
            first_s = state.record.limits.backoff_s
            for task_id in state.tired:
                task = state.tasks[task_id]
                key = (task.id, task.attempt)
                pause_s = backoff_s(first_s, task.retries)
                seen[key] = self._until.get(key, now_s + pause_s)
        self._until = seen

    def rested(self, now_s: float) -> frozenset[Key]:
        """The attempts whose pause is over."""
        return frozenset(key for key, until in self._until.items() if until <= now_s)

    def next_s(self, now_s: float) -> float | None:
        """Seconds until the next pause ends; None if none is running."""
        left = [until - now_s for until in self._until.values() if until > now_s]
        return min(left, default=None)
