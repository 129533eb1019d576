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
    """Deletes refs on a remote; one that refuses deletions is asked once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.refused = False

    def delete(self, doomed: Mapping[str, Oid]) -> int:
        """Delete refs that stand where they were seen; how many went: all or none.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        if not doomed or self.refused:
            return 0
        moves = [RefMove(ref, oid, None) for ref, oid in doomed.items()]
        report = self._backend.push(moves, _PUSH_S)
        outcomes = {found.outcome for found in report.refs.values()}
        if outcomes == {PushOutcome.APPLIED}:
            return len(doomed)
        if PushOutcome.REFUSED in outcomes:
            self.refused = True
            why = " ".join(report.remote_lines[-2:]) or "deletions are refused"
            where = f"{short_ref(moves[0].ref)} ..."
            log.warning("refs stay", extra={"why": f"{where}: {why}"})
        return 0
