"""Refs of percyd's own that nobody needs any more go in one push, each under a lease."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from percyd.core.ids import short_ref
from percyd.core.refs import Oid, RefMove
from percyd.repo.values import PushOutcome
from percyd.state.backend import Backend

log = logging.getLogger(__name__)

_PUSH_S = 60.0


class Deletions:
    """Deletes refs on a remote.

    A remote that refuses deletions is asked once, and so is one that has a branch
    checked out: each is said once, and what else is to go goes.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.refused = False
        self._busy: set[str] = set()

    def stays(self, ref: str) -> bool:
        """Whether the remote has said that it keeps a ref."""
        return self.refused or ref in self._busy

    def delete(self, doomed: Mapping[str, Oid]) -> frozenset[str]:
        """Delete refs that stand where they were seen; which ones went.

        All that the remote does not keep, or none: then one has moved meanwhile.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        moves = [
            RefMove(ref, oid, None)
            for ref, oid in doomed.items()
            if not self.stays(ref)
        ]
        if not moves:
            return frozenset()
        report = self._backend.push(moves, _PUSH_S)
        outcomes = {ref: found.outcome for ref, found in report.refs.items()}
        if set(outcomes.values()) == {PushOutcome.APPLIED}:
            return frozenset(outcomes)
        if PushOutcome.REFUSED in outcomes.values():
            self.refused = True
            why = " ".join(report.remote_lines[-2:]) or "deletions are refused"
            where = f"{short_ref(moves[0].ref)} ..."
            log.warning("refs stay", extra={"why": f"{where}: {why}"})
            return frozenset()
        busy = {ref for ref, found in outcomes.items() if found is PushOutcome.BUSY}
        if not busy:
            return frozenset()
        for ref in sorted(busy):
            why = "it is checked out in the remote repository"
            log.warning("ref stays", extra={"ref": short_ref(ref), "why": why})
        self._busy |= busy
        return self.delete(doomed)
