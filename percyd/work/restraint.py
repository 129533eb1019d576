"""What a worker does not claim although it could: for want of money, or of a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from percyd.core.budget import day_used_up
from percyd.core.records import Agent, Budget
from percyd.core.schedule import without
from percyd.core.snapshot import Snapshot

#: A limit of a runner's provider that ends so soon counts as a pause, not as an end.
_WORTH_WAITING = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Restraint:
    """The day's budget, and the runners that rest.

    Args:
        clock: The time, for budgets and rests.
        resting: The runners that rest now, and until when.
        daily: What may be used in a day; None for as much as there is.
    """

    clock: Callable[[], datetime]
    resting: Callable[[], Mapping[str, datetime]] = dict
    daily: Budget | None = None

    def is_spent(self, snapshot: Snapshot) -> bool:
        """Whether the budget of the day is used up."""
        daily = self.daily
        return daily is not None and bool(day_used_up(daily, snapshot, self.clock()))

    def parked(self, agent: Agent) -> tuple[str, ...]:
        """The runners of an agent that rest now."""
        resting = self.resting()
        return tuple(name for name in agent.runners if name in resting)

    def now(self, agent: Agent) -> Agent:
        """An agent with the runners that do not rest."""
        return without(agent, self.parked(agent))

    def soon(self, agent: Agent, snapshot: Snapshot) -> Agent | None:
        """An agent with the runners that rest not for long; None if all has to wait."""
        if self.is_spent(snapshot):
            return None
        by = self.clock() + _WORTH_WAITING
        late = [name for name, until in self.resting().items() if until > by]
        return without(agent, late)


#: Nothing rests, and nothing is bounded.
NONE = Restraint(lambda: datetime.min.replace(tzinfo=UTC))
