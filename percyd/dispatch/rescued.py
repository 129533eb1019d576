"""Rescue refs of attempts that have completed: nothing needs them (DESIGN 2).

A completion removes its own. One that came later is of a push that nobody answered: work
in progress that was under way when the agent was killed, or cut off.
"""

from __future__ import annotations

from collections.abc import Mapping

from percyd.core.edges import TaskStatus
from percyd.core.ids import RESCUE_REFS
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.dispatch.deletions import Deletions
from percyd.state.backend import Backend

#: A push that was cut off lands within seconds, or never. So long after a completion the
#: refs are looked at; an idle fleet asks for nothing.
LATE_S = 180.0


def needless(snapshot: Snapshot, rescues: Mapping[str, Oid]) -> list[str]:
    """The rescue refs of attempts that completed: what counted was merged."""
    return sorted(ref for ref in rescues if _has_completed(snapshot, ref))


def _has_completed(snapshot: Snapshot, ref: str) -> bool:
    name, _, number = ref.removeprefix(RESCUE_REFS).rpartition("/")
    task = snapshot.task(name)
    return task is not None and any(
        str(entry.number) == number and entry.outcome == "completed"
        for entry in task.attempts
    )


class RescueSweeper:
    """Removes rescue refs that came too late, for a while after each completion."""

    def __init__(self, backend: Backend, late_s: float = LATE_S) -> None:
        self._backend = backend
        self._late_s = late_s
        self._seen: Snapshot | None = None
        self._completed = -1
        self._until_s = 0.0
        self._deletions = Deletions(backend)

    def step(self, snapshot: Snapshot, now_s: float) -> int:
        """Remove what is needless; how many refs went.

        A remote that refuses deletions is asked once.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        self._note_completions(snapshot, now_s)
        if self._deletions.refused or now_s > self._until_s:
            return 0
        listed = self._backend.list_refs(RESCUE_REFS)
        doomed = needless(snapshot, listed)
        return len(self._deletions.delete({ref: listed[ref] for ref in doomed}))

    def _note_completions(self, snapshot: Snapshot, now_s: float) -> None:
        if snapshot is self._seen:
            return
        self._seen = snapshot
        completed = sum(
            task.status is TaskStatus.COMPLETED for task in snapshot.tasks()
        )
        if completed != self._completed:
            self._completed = completed
            self._until_s = now_s + self._late_s
