"""The monitor: what has become ready is released, what is finished is closed.

Most of it is done already in the push that ended a task (`percyd.state.draft`); the
monitor reconciles from the whole snapshot, so that no event can be lost. Any number
of monitors may run: every decision is an operation with a guard.
"""

from __future__ import annotations

import logging

from percyd.clock import Clock, Randomness
from percyd.core.operations.base import Operation
from percyd.core.operations.plans import Close, Resolve, is_closable
from percyd.core.snapshot import Snapshot
from percyd.errors import RefusedError
from percyd.state.store import StateStore

log = logging.getLogger(__name__)

#: Between two looks at the whole snapshot, seconds; spread, so that many monitors of
#: one repository do not look at the same moment.
RECONCILE_S = (20.0, 40.0)


class Monitor:
    """Reconciles the state at the start and at intervals."""

    def __init__(self, store: StateStore, clock: Clock, randomness: Randomness) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._due_s = 0.0

    def step(self) -> None:
        """Reconcile if it is time."""
        now_s = self._clock.boot_s()
        if now_s >= self._due_s:
            self.reconcile()
            self._due_s = now_s + self._randomness.uniform(*RECONCILE_S)

    def reconcile(self) -> None:
        """Apply everything that the whole snapshot calls for."""
        for operation in self.due(self._store.state.snapshot):
            try:
                self._store.apply(operation)
            except RefusedError as error:
                # Somebody else was quicker, or the next look will find it again.
                log.info("not reconciled", extra={"why": str(error)})

    def due(self, snapshot: Snapshot) -> list[Operation]:
        """The operations that a snapshot calls for."""
        found: list[Operation] = []
        resolve = Resolve(self._store.stamp())
        if resolve.decide(snapshot, {}) is not None:
            found.append(resolve)
        found += [
            Close(self._store.stamp(), name)
            for name, state in snapshot.plans.items()
            if is_closable(state)
        ]
        return found
