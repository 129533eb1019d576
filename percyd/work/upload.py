"""Work too big for the store's push goes ahead of it, by a push of its own.

The store pushes what many threads ask for as one, and ends that push at its deadline. A
result that cannot be sent by then would never land, and hold up all the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from percyd.core.ids import rescue_ref
from percyd.core.reasons import Reason
from percyd.core.refs import Oid, RefMove
from percyd.errors import RemoteUnreachable
from percyd.repo.hub import Hub
from percyd.repo.values import PushOutcome
from percyd.work.failure import AttemptFailed
from percyd.work.held import HeldClaim


@dataclass(frozen=True, slots=True)
class Pace:
    """What is big, and how long it may take."""

    #: At `slowest_bytes_s` this still fits into the store's 60 seconds.
    big_bytes: int = 1_000_000
    #: Slower than this, a remote is of no use for such work.
    slowest_bytes_s: int = 20_000
    least_s: float = 60.0

    def deadline_s(self, size: int) -> float:
        """How long a push of so many bytes may take."""
        return max(self.least_s, size / self.slowest_bytes_s)


class Upload:
    """Sends one attempt's big work to its rescue ref, in the attempt's own thread."""

    def __init__(self, hub: Hub, held: HeldClaim, pace: Pace) -> None:
        self._hub = hub
        self._held = held
        self._pace = pace
        self._ref = rescue_ref(held.task.id, held.task.attempt)
        self._sent: Oid | None = None
        self._failure: AttemptFailed | None = None
        #: Something may be on the rescue ref.
        self.tried = False

    def is_big(self, commit: Oid, base: Oid) -> bool:
        """Whether no push should carry it that others wait for."""
        return self._size(commit, base) > self._pace.big_bytes

    def _size(self, commit: Oid, base: Oid) -> int:
        return self._hub.new_bytes(commit, base, self._pace.big_bytes)

    def ahead(self, commit: Oid, base: Oid) -> None:
        """Bring it to the remote if it is big; it is tried once, however often asked.

        Raises:
            AttemptFailed: it takes too long.
            StaleClaim: the claim is gone.
            Interrupted: told to stop.
        """
        if commit == self._sent:
            return
        if self._failure is not None:
            raise self._failure
        size = self._size(commit, base)
        if size > self._pace.big_bytes:
            self._held.patiently(partial(self._push, commit, size))

    def _push(self, commit: Oid, size: int) -> None:
        self.tried = True
        deadline_s = self._pace.deadline_s(size)
        # Only this attempt writes there: work in progress may be on it already.
        move = RefMove(self._ref, None, commit, forced=True)
        report = self._hub.push([move], deadline_s, self._held.stop)
        outcome = report.refs[self._ref].outcome
        if outcome in (PushOutcome.APPLIED, PushOutcome.REFUSED):
            # What the remote refuses here, it refuses with its reasons at the end.
            self._sent = commit
            return
        if report.timed_out and not self._held.stop.is_set():
            self._failure = AttemptFailed(
                Reason.TIMED_OUT,
                f"the work, {size:,} bytes, was not uploaded within {deadline_s:g} s",
            )
            raise self._failure
        raise RemoteUnreachable(f"the work was not uploaded: {outcome}")
