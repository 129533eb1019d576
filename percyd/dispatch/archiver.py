"""What is long finished goes into the archive, and its refs go (DESIGN 8).

Any number of monitors may do it at once: each step has its guard, and a step that was
interrupted is found again. Refs go first, while the records that tell what they are
still lie open.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from percyd.core.ids import (
    AGENT_BRANCHES,
    AGENT_REFS,
    PLAN_REFS,
    heartbeat_ref,
    plan_branch,
)
from percyd.core.operations.archive import (
    ArchiveAgents,
    ArchivePlan,
    Retention,
    agents_due,
    plans_due,
)
from percyd.core.operations.base import Operation
from percyd.core.operations.landing import is_landed
from percyd.core.records import Agent, Plan
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.dispatch.branches import merged_branches
from percyd.dispatch.deletions import Deletions
from percyd.errors import RefusedError
from percyd.state.backend import Backend
from percyd.state.store import StateStore

log = logging.getLogger(__name__)

#: So many plans are archived at a time, each in a commit of its own.
AT_ONCE = 20


class Archiver:
    """Archives plans and forgets agents beyond what is kept."""

    def __init__(self, store: StateStore, kept: Retention | None = None) -> None:
        self._store = store
        self._kept = kept or Retention()
        self._deletions = Deletions(store.backend)

    def step(self) -> int:
        """Archive what is too much; how many plans and agents went.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        snapshot = self._store.state.snapshot
        plans = plans_due(snapshot, self._kept)[:AT_ONCE]
        agents = agents_due(snapshot, self._kept)
        if (not plans and not agents) or not self._delete_refs(snapshot, plans, agents):
            return 0
        stamp = self._store.stamp
        steps: list[Operation] = [
            ArchivePlan(stamp(), plan.id, self._kept) for plan in plans
        ]
        if agents:
            names = tuple(agent.id for agent in agents)
            steps.append(ArchiveAgents(stamp(), names, self._kept))
        try:
            done = [ticket.result() for ticket in self._store.submit(steps)]
        except RefusedError as error:
            log.info("not archived", extra={"why": str(error)})
            return 0
        decided = [applied.decision for applied in done if applied.decision]
        return sum(len(decision.gone) for decision in decided)

    def _delete_refs(
        self, snapshot: Snapshot, plans: Sequence[Plan], agents: Sequence[Agent]
    ) -> bool:
        """Delete what nobody needs; false if that is to be tried again first.

        What the remote keeps stays, and nothing is lost.
        """
        if self._deletions.refused:
            return True
        doomed = dict(self._doomed(snapshot, plans, agents))
        gone = self._deletions.delete(doomed)
        return all(ref in gone or self._deletions.stays(ref) for ref in doomed)

    def _doomed(
        self, snapshot: Snapshot, plans: Sequence[Plan], agents: Sequence[Agent]
    ) -> Iterator[tuple[str, Oid]]:
        backend = self._store.backend
        if agents:
            beats = backend.list_refs(AGENT_REFS)
            for ref in (heartbeat_ref(agent.id) for agent in agents):
                if ref in beats:
                    yield ref, beats[ref]
        if plans:
            branches = backend.list_refs(AGENT_BRANCHES)
            integration = backend.list_refs(PLAN_REFS)
            for plan in plans:
                tasks = snapshot.plans[plan.id].tasks.values()
                for ref in merged_branches(tasks, branches):
                    yield ref, branches[ref]
                yield from _landed_branch(backend, plan, integration)


def _landed_branch(
    backend: Backend, plan: Plan, branches: Mapping[str, Oid]
) -> Iterator[tuple[str, Oid]]:
    """The integration branch of a landed plan, if the base branch has all of it."""
    ref, base = plan_branch(plan.id), f"refs/heads/{plan.base_branch}"
    if not is_landed(plan) or ref not in branches:
        return
    tips = backend.fetch_refs([ref, base])
    tip, onto = tips[ref], tips[base]
    if tip is not None and onto is not None and backend.is_ancestor(tip, onto):
        yield ref, tip
