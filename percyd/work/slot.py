"""One slot: a place for one running task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from percyd.core.operations.base import Operation
from percyd.core.records import Task
from percyd.repo.worktrees import SlotClone
from percyd.state.heartbeat import Rider
from percyd.state.tickets import Applied
from percyd.work.attempt import Attempt
from percyd.work.held import HeldClaim
from percyd.work.leash import Leash
from percyd.work.workshop import Workshop


class WorkSlot:
    """One slot: its own clone of the hub, one worktree at a time."""

    def __init__(self, workshop: Workshop, clone: SlotClone) -> None:
        self._workshop = workshop
        self._clone = clone
        self._attempt: Attempt | None = None

    def run(
        self,
        task: Task,
        settle: Callable[[Sequence[Operation]], Applied],
        leash: Leash,
    ) -> None:
        """See `percyd.work.worker.Slot`."""
        shop = self._workshop
        held = HeldClaim(shop.store, shop.clock, task, settle, leash)
        self._attempt = Attempt(shop, self._clone, held)
        try:
            self._attempt.run()
        finally:
            self._attempt = None

    def progress(self) -> Rider | None:
        """See `percyd.work.worker.Slot`."""
        attempt = self._attempt
        return attempt.progress() if attempt else None
