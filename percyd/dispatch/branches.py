"""Refs stay few: merged agent branches are deleted, the newest are kept (DESIGN 2).

Every push advertises every ref to every client: 10,000 refs cost 100 to 330 ms a push
(measured).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from percyd.core.edges import TaskStatus
from percyd.core.ids import AGENT_BRANCHES, short_ref
from percyd.core.refs import Oid, RefMove
from percyd.core.snapshot import Snapshot
from percyd.repo.values import PushOutcome
from percyd.state.backend import Backend

log = logging.getLogger(__name__)

#: How many merged branches stay, for people to look at.
KEPT = 200
#: How many more there may be before they are deleted, in one push.
SLACK = 50
_PUSH_S = 60.0


def merged_branches(snapshot: Snapshot, branches: Mapping[str, Oid]) -> list[str]:
    """The agent branches whose work is merged for certain, oldest first.

    ``completed`` means that the integration branch contains the recorded commit, so
    that a branch which still stands there holds nothing of its own.
    """
    found = []
    for task in snapshot.tasks():
        result = task.result
        if task.status is not TaskStatus.COMPLETED or result is None:
            continue
        ref = f"refs/heads/{result.branch}"
        if result.branch and branches.get(ref) == result.commit:
            found.append((task.updated_at or "", ref))
    return [ref for _, ref in sorted(found)]


class Pruner:
    """Deletes merged agent branches beyond the newest ``kept``."""

    def __init__(self, backend: Backend, kept: int = KEPT, slack: int = SLACK) -> None:
        self._backend = backend
        self._kept = kept
        self._slack = slack
        self._refused = False

    def step(self, snapshot: Snapshot) -> int:
        """Delete what is too much; how many branches went.

        A remote that refuses deletions is asked once.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        if self._refused:
            return 0
        branches = self._backend.list_refs(AGENT_BRANCHES)
        if len(branches) <= self._kept + self._slack:
            return 0
        doomed = merged_branches(snapshot, branches)[: -self._kept]
        if not doomed:
            return 0
        moves = [RefMove(ref, branches[ref], None) for ref in doomed]
        report = self._backend.push(moves, _PUSH_S)
        outcomes = {found.outcome for found in report.refs.values()}
        if outcomes == {PushOutcome.APPLIED}:
            return len(doomed)
        if PushOutcome.REFUSED in outcomes:
            self._refused = True
            why = " ".join(report.remote_lines[-2:]) or "deletions are refused"
            log.warning(
                "branches stay", extra={"why": f"{short_ref(doomed[0])} ...: {why}"}
            )
        return 0
