"""Finished plans are folded into one file each, old agents are removed (DESIGN 8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from percyd.core.edges import CLOSED, AgentStatus, Op, PlanStatus
from percyd.core.operations.base import Answer, Decision, Stamp, Tips, trailers_of
from percyd.core.operations.landing import is_landed
from percyd.core.records import Agent, Plan
from percyd.core.snapshot import ArchivedPlan, Snapshot

#: So many closed plans stay live: they can be looked at, retried and landed.
PLANS_KEPT: Final = 50
#: A plan that is done and has not landed stays live among so many closed plans. An
#: archived plan can only be rerun, and nobody may lose a landing that is still to come.
UNLANDED_KEPT: Final = 200
#: So many agents that have left or were lost stay known.
AGENTS_KEPT: Final = 100
#: How many more there may be before they are removed, in one commit.
AGENTS_SLACK: Final = 20


@dataclass(frozen=True, slots=True)
class Retention:
    """How much stays live."""

    plans: int = PLANS_KEPT
    unlanded: int = UNLANDED_KEPT
    agents: int = AGENTS_KEPT
    slack: int = AGENTS_SLACK


def plans_due(snapshot: Snapshot, kept: Retention) -> list[Plan]:
    """The closed plans that are to be archived, oldest first.

    The newest are those whose records changed last, by the time in them and then by id:
    every clone comes to the same order, whatever the clocks say.
    """
    closed = [
        state.record
        for state in snapshot.plans.values()
        # A closed plan with an open task is a fault that `verify` names: it stays.
        if state.record.status in CLOSED and not state.open_count
    ]
    closed.sort(key=lambda plan: (plan.updated_at or "", plan.id), reverse=True)
    old = [
        plan
        for place, plan in enumerate(closed)
        if place >= (kept.unlanded if _may_land(plan) else kept.plans)
    ]
    return old[::-1]


def _may_land(plan: Plan) -> bool:
    return plan.status is PlanStatus.DONE and not is_landed(plan)


def agents_due(snapshot: Snapshot, kept: Retention) -> list[Agent]:
    """The agents that are to be removed, oldest first: none until there are many."""
    gone = [a for a in snapshot.agents.values() if a.status is not AgentStatus.JOINED]
    if len(gone) <= kept.agents + kept.slack:
        return []
    gone.sort(key=lambda agent: (agent.started_at or "", agent.id))
    return gone[: len(gone) - kept.agents]


@dataclass(frozen=True, slots=True)
class ArchivePlan:
    """A closed plan, its tasks and its document become one file of the archive."""

    stamp: Stamp
    plan: str
    kept: Retention = Retention()
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None for a plan that is archived, or has to stay."""
        if not any(plan.id == self.plan for plan in plans_due(snapshot, self.kept)):
            return None
        state = snapshot.plans[self.plan]
        tasks = tuple(state.tasks[name] for name in sorted(state.tasks))
        return Decision(
            Op.ARCHIVE,
            f"{self.plan}, {state.record.status}, {len(tasks)} task"
            + "s" * (len(tasks) != 1),
            (ArchivedPlan(self.plan, (state.record, *tasks)),),
            trailers=trailers_of(self.plan),
            gone=(state.record,),
        )


@dataclass(frozen=True, slots=True)
class ArchiveAgents:
    """Agents that have left, or were lost, long ago are forgotten."""

    stamp: Stamp
    agents: tuple[str, ...]
    kept: Retention = Retention()
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None if they are gone, or not many enough any more."""
        due = {agent.id: agent for agent in agents_due(snapshot, self.kept)}
        gone = [due[name] for name in self.agents if name in due]
        if not gone:
            return None
        return Decision(
            Op.ARCHIVE, f"agents {_several(a.id for a in gone)}", gone=tuple(gone)
        )


def _several(names: Iterable[str]) -> str:
    first, *others = names
    return f"{first} and {len(others)} more" if others else first
