"""`StateStore`: the only way to read and to change the state (DESIGN 3).

Writing is compare-and-swap by push race with group commit: callers queue their
operations; one of them leads, takes everything that is queued and commits it as one
chain in one push, while the next callers queue up behind. Nobody
is answered before the remote has accepted, or is known to have refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from percyd.clock import Clock, Randomness
from percyd.core.ids import AGENT_REFS
from percyd.core.operations.base import Operation, Stamp
from percyd.core.records import complete
from percyd.core.refs import Oid
from percyd.errors import ContentionError, PercydError
from percyd.state.backend import Backend
from percyd.state.committer import Committer
from percyd.state.follower import Follower, State
from percyd.state.heartbeat import Heart
from percyd.state.tickets import Applied, Ticket
from percyd.threads import SYSTEM_THREADS, Threads

#: How long a leader waits for the crowd of the last push: a quarter of a push.
_LINGER_S = 0.005


class StateStore:
    """One process's way to the state branch. Safe to use from many threads."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        randomness: Randomness,
        *,
        deadline_s: float = 60,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        complete()
        self.backend = backend
        self._clock = clock
        self._randomness = randomness
        self._deadline_s = deadline_s
        self._follower = Follower(backend, clock, threads)
        self._committer = Committer(self._follower, backend, clock, randomness)
        self._reading = threads.lock()
        self._queue: list[Ticket] = []
        self._turn = threads.condition()
        self._arrival = threads.condition(self._turn)
        self._leading = False
        self._inside = 0
        self._crowd = 0

    @property
    def state(self) -> State:
        """The newest adopted state, from the remote if there is none yet."""
        return self._follower.state or self.refresh()

    def refresh(self) -> State:
        """Read the remote's tip and adopt it. See `Follower.refresh` for the errors."""
        return self._follower.refresh()

    def look(self, refs: Sequence[str]) -> Mapping[str, Oid]:
        """Adopt what is new, and tell where ``refs`` stand. See `Follower.look`."""
        return self._follower.look(refs)

    def wait_beyond(self, tip: Oid, timeout_s: float) -> bool:
        """Wait until the adopted tip is another than ``tip``; false on time-out."""
        return self._follower.wait_beyond(tip, timeout_s)

    def tip_of(self, ref: str, deadline_s: float | None = None) -> Oid | None:
        """Where a ref stands on the remote, its objects here.

        It keeps other reads of this process waiting, as long as ``deadline_s`` or, as
        the first fetch of a project takes long, a fetch may take.
        """
        known = self._follower.known_tip(ref)
        if known is not None:
            return known
        with self._reading:  # one fetch serves all who want it
            known = self._follower.known_tip(ref)
            if known is not None:
                return known
            number, moves = self._follower.next_number(), self._follower.moves
            tip = self.backend.fetch_refs([ref], deadline_s)[ref]
            self._follower.learn(ref, tip, number, moves)
            return tip

    def live_by(self, heart: Heart | None) -> None:
        """Let an agent's heartbeat ride along with every push of this store."""
        self._committer.heart = heart

    def beat(self) -> bool:
        """Say now that this agent lives; false if nobody confirmed it."""
        heart = self._committer.heart
        return heart is None or heart.beat(self._deadline_s)

    def beats(self) -> Mapping[str, Oid]:
        """Where the heartbeats of all agents stand on the remote."""
        found = self.backend.list_refs(AGENT_REFS)
        return {ref.removeprefix(AGENT_REFS): oid for ref, oid in found.items()}

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
        give_up = self._clock.boot_s() + self._deadline_s
        for operation in operations:
            before = tickets[-1] if tickets else None
            tickets.append(Ticket(operation, number, before, give_up))
        with self._turn:
            self._inside += 1
            self._queue += tickets
            self._arrival.notify_all()
        try:
            while batch := self._wait_to_lead(tickets, give_up):
                self._lead(batch)
        finally:
            with self._turn:
                self._inside -= 1
                is_last = not self._inside
            self._follower.remember(in_a_hurry=not is_last)
        return tickets

    def _wait_to_lead(self, mine: Sequence[Ticket], give_up: float) -> list[Ticket]:
        """Wait until ours are answered, or nobody leads: then lead all that is queued.

        Returns the batch to commit, empty if there is nothing left to do here.
        """
        with self._turn:
            while not all(ticket.done.is_set() for ticket in mine):
                if not self._leading and any(ticket in self._queue for ticket in mine):
                    return self._gather()
                left = give_up - self._clock.boot_s()
                if left <= -self._deadline_s or (left <= 0 and self._withdraw(mine)):
                    break
                # Past the deadline another leader has ours, and answers at its own.
                self._turn.wait(max(left, 0.1))
        return []

    def _gather(self) -> list[Ticket]:
        """Everything that is queued; a crowd gets a moment to queue up again.

        Whoever was answered by the last push is just about to call again, and would
        find a push under way that took only the first of them along.
        """
        self._leading = True
        try:
            if self._crowd > 1:
                self._arrival.wait_for(
                    lambda: _callers(self._queue) >= self._crowd, _LINGER_S
                )
        except BaseException:
            self._leading = False
            self._turn.notify_all()
            raise
        batch, self._queue = self._queue, []
        self._crowd = _callers(batch)
        return batch

    def _lead(self, batch: Sequence[Ticket]) -> None:
        """Commit a batch for all who wait for it, until the last one's deadline."""
        give_up = max(ticket.give_up_s for ticket in batch)
        try:
            with self._follower.until(give_up):
                self._committer.commit(batch, give_up)
        except PercydError as error:
            _refuse_open(batch, error)
        except BaseException:
            _refuse_open(batch, PercydError("the commit was interrupted"))
            raise
        finally:
            with self._turn:
                self._leading = False
                self._turn.notify_all()

    def _withdraw(self, mine: Sequence[Ticket]) -> bool:
        """Take back what nobody has begun to commit; true if that is all of ours."""
        queued = [ticket for ticket in mine if ticket in self._queue]
        for ticket in queued:
            self._queue.remove(ticket)
        _refuse_open(queued, ContentionError("the state was busy until the deadline"))
        return all(ticket.done.is_set() for ticket in mine)


def _callers(tickets: Sequence[Ticket]) -> int:
    return len({ticket.number for ticket in tickets})


def _refuse_open(tickets: Sequence[Ticket], error: PercydError) -> None:
    for ticket in tickets:
        if not ticket.done.is_set():
            ticket.refuse(error)
