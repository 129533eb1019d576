"""Refs stay few: merged agent branches are deleted, the newest are kept (DESIGN 2).

Every push advertises every ref to every client: 10,000 refs cost 100 to 330 ms a push
(measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from percyd.core.edges import TaskStatus
from percyd.core.ids import AGENT_BRANCHES
from percyd.core.records import Task
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.dispatch.deletions import Deletions
from percyd.state.backend import Backend

#: How many merged branches stay, for people to look at.
KEPT = 200
#: How many more there may be before they are deleted, in one push.
SLACK = 50


def merged_branches(tasks: Iterable[Task], branches: Mapping[str, Oid]) -> list[str]:
    """The agent branches of tasks whose work is merged for certain, oldest first.

    ``completed`` means that the integration branch contains the recorded commit, so
    that a branch which still stands there holds nothing of its own.
    """
    found = []
    for task in tasks:
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
        self._deletions = Deletions(backend)

    def step(self, snapshot: Snapshot) -> int:
        """Delete what is too much; how many branches went.

        A remote that refuses deletions is asked once.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        if self._deletions.refused:
            return 0
        branches = self._backend.list_refs(AGENT_BRANCHES)
        if len(branches) <= self._kept + self._slack:
            return 0
        doomed = merged_branches(snapshot.tasks(), branches)[: -self._kept]
        return len(self._deletions.delete({ref: branches[ref] for ref in doomed}))
