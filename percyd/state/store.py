"""`StateStore`: the only way to read and to change the state (DESIGN 3).

Writing is compare-and-swap by push race with group commit: callers queue their
operations; whoever gets the commit lock first takes everything that is queued and
commits it as one chain in one push, while the next callers queue up behind. Nobody
is answered before the remote has accepted, or is known to have refused.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from percyd.clock import Clock, Randomness
from percyd.core.operations.base import Operation, Stamp
from percyd.core.refs import Oid
from percyd.errors import ContentionError, PercydError
from percyd.state.backend import Backend
from percyd.state.committer import Committer
from percyd.state.follower import Follower, State
from percyd.state.heartbeat import Heart
from percyd.state.tickets import Applied, Ticket


class StateStore:
    """One process's way to the state branch. Safe to use from many threads."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        randomness: Randomness,
        *,
        deadline_s: float = 60,
    ) -> None:
        self.backend = backend
        self._clock = clock
        self._randomness = randomness
        self._deadline_s = deadline_s
        self._follower = Follower(backend, clock)
        self._committer = Committer(self._follower, backend, clock, randomness)
        self._queue: list[Ticket] = []
        self._queue_guard = threading.Lock()

    @property
    def state(self) -> State:
        """The newest adopted state, from the remote if there is none yet."""
        return self._follower.state or self.refresh()

    def refresh(self) -> State:
        """Read the remote's tip and adopt it. See `Follower.refresh` for the errors."""
        return self._follower.refresh()

    def wait_beyond(self, tip: Oid, timeout_s: float) -> bool:
        """Wait until the adopted tip is another than ``tip``; false on time-out."""
        return self._follower.wait_beyond(tip, timeout_s)

    def tip_of(self, ref: str) -> Oid | None:
        """Where a ref stands on the remote, its objects here."""
        with self._follower.lock:
            return self._follower.tips([ref])[ref]

    def live_by(self, heart: Heart | None) -> None:
        """Let an agent's heartbeat ride along with every push of this store."""
        self._committer.heart = heart

    def beats(self) -> Mapping[str, Oid]:
        """Where the heartbeats of all agents stand on the remote."""
        return self.backend.beats()

    def stamp(self) -> Stamp:
        """The id and the time for a new operation."""
        return Stamp(self._randomness.token(), self._clock.now())

    def token(self) -> str:
        """A fresh claim token."""
        return self._randomness.token()

    def apply(self, operation: Operation) -> Applied:
        """Apply one operation; returns once the remote has accepted it.

        Raises:
            RefusedError: its guard failed on a state that is newer than this call.
            OutcomeUnknown: nobody said whether it was accepted, until the deadline.
            RemoteUnreachable: nobody answered.
            StateRefused: the branch is not one to build on.
        """
        return self.submit([operation])[0].result()

    def submit(self, operations: Sequence[Operation]) -> list[Ticket]:
        """Apply operations in this order, in one push where possible.

        Returns one ticket each, answered. Each counts on the one before it: once one
        is refused, the rest are dropped with the same error.
        """
        number = self._follower.next_number()
        tickets: list[Ticket] = []
        for operation in operations:
            before = tickets[-1] if tickets else None
            tickets.append(Ticket(operation, number, before))
        with self._queue_guard:
            self._queue += tickets
        give_up = self._clock.boot_s() + self._deadline_s
        while not all(ticket.done.is_set() for ticket in tickets):
            left = give_up - self._clock.boot_s()
            if left <= 0 or not self._follower.lock.acquire(timeout=left):
                self._withdraw(tickets)
                break
            try:
                self._lead(give_up)
            finally:
                self._follower.lock.release()
        return tickets

    def _lead(self, give_up: float) -> None:
        """Commit everything that is queued, for all who wait behind the lock."""
        with self._queue_guard:
            tickets, self._queue = self._queue, []
        try:
            self._committer.commit(tickets, give_up)
        except PercydError as error:
            _refuse_open(tickets, error)
        except BaseException:
            _refuse_open(tickets, PercydError("the commit was interrupted"))
            raise

    def _withdraw(self, tickets: Sequence[Ticket]) -> None:
        with self._queue_guard:
            queued = [ticket for ticket in tickets if ticket in self._queue]
            for ticket in queued:
                self._queue.remove(ticket)
        _refuse_open(queued, ContentionError("the state was busy until the deadline"))
        for ticket in tickets:
            # Another leader has it, and answers at a deadline of its own.
            ticket.done.wait(self._deadline_s)


def _refuse_open(tickets: Sequence[Ticket], error: PercydError) -> None:
    for ticket in tickets:
        if not ticket.done.is_set():
            ticket.refuse(error)
