"""A person has a finished plan landed, and may wait until it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from percyd.clock import Clock
from percyd.core.edges import ENDED
from percyd.core.ids import plan_branch, short_ref
from percyd.core.operations.base import need_plan
from percyd.core.operations.landing import Land, is_landed
from percyd.core.operations.plans import Close, is_closable
from percyd.core.ready import kind_of
from percyd.core.records import Plan, Task
from percyd.core.schedule import no_agent
from percyd.core.snapshot import Snapshot
from percyd.dispatch.lander import MayMove
from percyd.errors import BaseMoved, RemoteUnreachable
from percyd.state.store import StateStore
from percyd.state.tickets import Applied

#: Between two looks at the state, seconds.
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class PlanLanding:
    """Lands one plan.

    Attributes:
        store: The state.
        clock: Waits between two looks.
        may_move: Whether percyd may move a branch.
        say: Told what is waited for, each thing once.
    """

    store: StateStore
    clock: Clock
    may_move: MayMove
    say: Callable[[str], object]

    def land(self, plan_id: str) -> Applied:
        """Fast-forward the base branch, or have it merged and gated first.

        Raises:
            BaseMoved: it has been said that the base branch is to be merged.
            RefusedError: the plan is not done, or the base branch may not be moved.
        """
        plan = need_plan(self.store.state.snapshot, plan_id)
        if is_closable(self.store.state.snapshot.plans[plan_id]):
            # Its last task has just ended, and no monitor has closed it yet.
            self.store.apply(Close(self.store.stamp(), plan_id))
        applied = self.store.apply(
            Land(
                self.store.stamp(),
                plan_id,
                plan.base_branch,
                may_move=self.may_move(plan.base_branch),
            )
        )
        tasks = applied.decision.tasks if applied.decision else ()
        if tasks:
            branch = short_ref(plan_branch(plan_id))
            raise BaseMoved(
                f"{plan.base_branch} has moved: {tasks[0].id} merges it into {branch} "
                "and gates it",
                hint=f"run percyd plan land {plan_id} again when it is completed, or "
                "wait with --wait",
            )
        return applied

    def land_in_the_end(self, plan_id: str) -> Applied:
        """Wait for what is merged first, however often that is needed.

        Raises: see `land`, but for `BaseMoved`.
        """
        said: set[str] = set()
        while True:
            waits_for = self._waits_for(plan_id)
            if not waits_for:
                try:
                    return self.land(plan_id)
                except BaseMoved as moved:
                    self.say(moved.message)
                    continue
            self._wait(waits_for, said)

    def _wait(self, waits_for: Sequence[str], said: set[str]) -> None:
        """Until the next look; everything that is new is said."""
        news = list(waits_for)
        self.clock.wait(threading.Event(), _LOOK_S)
        try:
            self.store.refresh()
        except RemoteUnreachable as error:
            news.append(f"{error.message}; waiting")
        for words in news:
            if words not in said:
                said.add(words)
                self.say(words)

    def _waits_for(self, plan_id: str) -> list[str]:
        """What a plan waits for that has only to be merged; empty if it may land."""
        snapshot = self.store.state.snapshot
        merging = merge_under_way(snapshot, plan_id)
        if merging is None:
            return []
        words = [f"waiting for {merging.id}"]
        if need_plan(snapshot, plan_id).paused is not None:
            words.append(f"{plan_id} is paused; percyd plan resume {plan_id} goes on")
        elif no_agent(snapshot, kind_of(merging)) is not None:
            words.append("no agent is there to do it; run percyd serve")
        return words


def merge_under_way(snapshot: Snapshot, plan_id: str) -> Task | None:
    """The task ``land-N`` of a plan that has nothing else to do; None if there is more."""
    state = snapshot.plan(plan_id)
    open_ = [t for t in state.tasks.values() if t.status not in ENDED] if state else []
    if len(open_) != 1 or open_[0].type != "land":
        return None
    return open_[0]


def landed_words(plan: Plan, *, already: bool) -> str:
    """Where a plan is now, in one line."""
    result = plan.result
    if result is None or not is_landed(plan):
        return f"{plan.id} has not landed"
    how = "has landed already, in" if already else "landed in"
    return (
        f"{plan.id} {how} {result.landed_into} at {(result.landed_commit or '')[:10]}"
    )
