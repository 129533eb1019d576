"""The monitor: what has become ready is released, what is finished is closed.

Most of it is done already in the push that ended a task (`percyd.state.draft`); the
monitor reconciles from the whole snapshot, so that no event can be lost. Any number
of monitors may run: every decision is an operation with a guard.
"""

from __future__ import annotations

import logging

from percyd.clock import Clock, Randomness
from percyd.core.operations.agents import Depart
from percyd.core.operations.base import Operation
from percyd.core.operations.landing import lands_when_closed
from percyd.core.operations.plans import Close, Resolve, is_closable
from percyd.core.snapshot import Snapshot
from percyd.dispatch.archiver import Archiver
from percyd.dispatch.branches import Pruner
from percyd.dispatch.lander import Lander, MayMove, may_always
from percyd.dispatch.rescued import RescueSweeper
from percyd.errors import RefusedError
from percyd.failpoints import hit
from percyd.state.heartbeat import Observer
from percyd.state.store import StateStore

log = logging.getLogger(__name__)

#: Between two looks at the whole snapshot, seconds; spread, so that many monitors of
#: one repository do not look at the same moment.
RECONCILE_S = (20.0, 40.0)
#: The longest pause between two looks at who is there, seconds. A look reads heartbeats
#: only where somebody else has joined.
LOOK_S = 10.0


class Monitor:
    """Reconciles the state at the start and at intervals; notices lost agents."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        randomness: Randomness,
        observer: Observer,
        may_move: MayMove = may_always,
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._observer = observer
        self._pruner = Pruner(store.backend)
        self._sweeper = RescueSweeper(store.backend)
        self._archiver = Archiver(store)
        self._lander = Lander(store, clock, may_move)
        self._due_s = 0.0
        self._looked_s = float("-inf")
        self._look_s = 0.0

    def step(self) -> None:
        """Do what it is time for.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        now_s = self._clock.boot_s()
        # From the newest state each time: somebody may just have joined or claimed.
        pause_s = self._observer.interval_s(self._store.state.snapshot)
        if pause_s is not None and now_s >= self._looked_s + min(pause_s, LOOK_S):
            self._looked_s = now_s
            self.look_for_the_lost()
        since_s = now_s if pause_s is None else self._looked_s
        self._look_s = since_s + min(pause_s or LOOK_S, LOOK_S)
        self._lander.step()
        if now_s >= self._due_s:
            self.reconcile()
            self._due_s = now_s + self._randomness.uniform(*RECONCILE_S)

    def next_s(self) -> float:
        """Seconds until there may be something to do."""
        return max(0.0, min(self._due_s, self._look_s) - self._clock.boot_s())

    @property
    def is_landing(self) -> bool:
        """Whether something is to be landed that has just become due."""
        return bool(self._lander.due(self._store.state.snapshot))

    def look_for_the_lost(self) -> None:
        """Read the heartbeats of others, and take back the tasks of lost agents."""
        snapshot = self._store.state.snapshot
        began_s = self._clock.boot_s()
        for agent in self._observer.lost(snapshot, self._store.beats(), began_s):
            log.warning("lost", extra={"agent": agent})
            hit("lost-decided")
            message = f"{agent} has not moved its heartbeat for its lease"
            held = (t.claim for t in snapshot.held_tasks() if t.assigned_to == agent)
            depart = Depart(
                self._store.stamp(),
                agent,
                lost=True,
                message=message,
                judged=frozenset(held),
            )
            self._apply(depart)

    def reconcile(self) -> None:
        """Apply everything that the whole snapshot calls for."""
        for operation in self.due(self._store.state.snapshot):
            self._apply(operation)
        self._archiver.step()
        self._pruner.step(self._store.state.snapshot)
        self._sweeper.step(self._store.state.snapshot, self._clock.boot_s())
        self._store.backend.tidy()

    def _apply(self, operation: Operation) -> None:
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
            if is_closable(state) and not lands_when_closed(state)
        ]
        return found
