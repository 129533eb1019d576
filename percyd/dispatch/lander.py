"""Plans with ``land: auto`` are closed and landed without anybody's word."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from percyd.clock import Clock
from percyd.core.edges import PlanStatus
from percyd.core.operations.base import Operation
from percyd.core.operations.landing import (
    Land,
    is_due,
    is_landed,
    lands_when_closed,
)
from percyd.core.operations.plans import Close
from percyd.core.records import Plan
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import ContentionError, OutcomeUnknown, RefusedError
from percyd.state.store import StateStore

log = logging.getLogger(__name__)

#: How long a plan that could not land rests, seconds: a protected branch stays so.
REST_S = (30.0, 3600.0)
#: The same after a fault that passes: no answer, or too many others at once.
PASSING_S = 5.0

#: Whether percyd may move a branch (its short name) of the remote: not one that is
#: checked out in a repository that is its own remote.
MayMove = Callable[[str], bool]


def may_always(_branch: str) -> bool:
    """The `MayMove` of a remote that nobody works in."""
    return True


@dataclass(slots=True)
class _Rest:
    """When a plan may be tried again, and how long it rested."""

    until_s: float
    pause_s: float


class Lander:
    """Lands what lands by itself; any number of them may run.

    A refusal is said once and tried again after ever longer pauses, a fault of the
    moment soon.
    """

    def __init__(
        self, store: StateStore, clock: Clock, may_move: MayMove = may_always
    ) -> None:
        self._store = store
        self._clock = clock
        self._may_move = may_move
        self._resting: dict[str, _Rest] = {}
        self._said: dict[str, str] = {}

    def due(self, snapshot: Snapshot) -> list[PlanState]:
        """The plans that could be landed now."""
        now_s = self._clock.boot_s()
        return [
            state
            for name, state in snapshot.plans.items()
            if (is_due(state.record) or lands_when_closed(state))
            and (name not in self._resting or self._resting[name].until_s <= now_s)
        ]

    def step(self) -> None:
        """Close and land what is due.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        for state in self.due(self._store.state.snapshot):
            self._land(state)

    def _land(self, state: PlanState) -> None:
        """Both in one push; if the landing is refused, the plan is closed all the same.

        What has to be merged first is added before the plan is closed.
        """
        plan = state.record
        steps: list[Operation] = [self._operation(plan)]
        if plan.status is not PlanStatus.DONE:
            steps += [Close(self._store.stamp(), plan.id), self._operation(plan)]
        try:
            answers = [ticket.result() for ticket in self._store.submit(steps)]
        except (OutcomeUnknown, ContentionError) as error:
            self._rest(plan.id, str(error), PASSING_S)  # nobody has said no
            return
        except RefusedError as error:
            before = self._resting.get(plan.id)
            longer_s = 2 * before.pause_s if before else 0.0
            pause_s = min(max(longer_s, REST_S[0]), REST_S[1])
            self._rest(plan.id, str(error), pause_s)
            if plan.status is not PlanStatus.DONE:
                self._close(plan)
            return
        self._resting.pop(plan.id, None)
        last = answers[-1]
        if last.commit is not None and is_landed(last.snapshot.plans[plan.id].record):
            log.info("landed", extra={"plan": plan.id, "why": f"in {plan.base_branch}"})

    def _close(self, plan: Plan) -> None:
        try:
            self._store.apply(Close(self._store.stamp(), plan.id))
        except RefusedError as error:
            log.info("not closed", extra={"plan": plan.id, "why": str(error)})

    def _operation(self, plan: Plan) -> Land:
        return Land(
            self._store.stamp(),
            plan.id,
            plan.base_branch,
            may_move=self._may_move(plan.base_branch),
            by_itself=True,
        )

    def _rest(self, plan: str, why: str, pause_s: float) -> None:
        if self._said.get(plan) != why:
            log.warning("not landed", extra={"plan": plan, "why": why})
            self._said[plan] = why
        self._resting[plan] = _Rest(self._clock.boot_s() + pause_s, pause_s)
