"""One held claim's conversation with the state: it has begun, it has ended."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from percyd.clock import Clock
from percyd.core.edges import TaskStatus
from percyd.core.operations.base import Fence, Operation
from percyd.core.operations.claims import EndAttempt, Ending, Work
from percyd.core.reasons import Reason
from percyd.core.records import Outcome, Task, Why
from percyd.core.refs import Oid
from percyd.errors import (
    BranchCheckedOut,
    ContentionError,
    GitError,
    OutcomeUnknown,
    PercydError,
    RemoteFault,
    RemoteUnreachable,
    StaleClaim,
    StatePushRefused,
    StateRefused,
    UnknownIdError,
)
from percyd.state.store import StateStore
from percyd.state.tickets import Applied
from percyd.threads import SYSTEM_THREADS, Thread, Threads
from percyd.work.failure import AttemptFailed, Interrupted
from percyd.work.leash import Leash

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Faults that pass: the work is kept and the step tried again.
PASSING = (
    RemoteUnreachable,
    RemoteFault,
    OutcomeUnknown,
    ContentionError,
    BranchCheckedOut,
    # Without the state nothing can be said of the task, not even that it has failed.
    StatePushRefused,
    # A person mends the branch; until then there is nothing to write to.
    StateRefused,
)
_PAUSE_S = 0.5
_PAUSE_CAP_S = 5.0
#: So long a push that only says that the work has begun waits for its end, seconds.
#: Until then it would stand in the way of the one that matters; as long as three pushes
#: to a remote on this machine take, and so short that nobody who looks misses it.
_TELL_AFTER_S = 0.3
#: A git command may fail once or twice for reasons that pass: memory, a full table.
_HICCUPS = 3
_MESSAGE_CHARS = 1000
#: Ends that only the holder of a claim gives it.
_ENDED_HERE = ("completed", "failed", "released", "parked")
#: Endings that are nobody's fault: they do not count as an attempt.
_OUTCOMES: Mapping[Reason, Outcome] = {
    Reason.RELEASED: "released",
    Reason.PARKED: "parked",
}


class HeldClaim:
    """Writes for one claim, each with its fencing token."""

    def __init__(
        self,
        store: StateStore,
        clock: Clock,
        task: Task,
        settle: Callable[[Sequence[Operation]], Applied],
        leash: Leash,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        self.store = store
        self.task = task
        self.stop = leash.stop
        self._leash = leash
        self.fence = Fence(task.id, task.attempt, task.claim or "")
        self._clock = clock
        self._last = settle
        self._threads = threads
        self._work: Work | None = None
        self._telling: Thread | None = None
        self._ends = threading.Event()
        self._refusal: PercydError | None = None

    def begin(self, base: Oid) -> None:
        """Say soon that the work has begun; what ends before says both in one push."""
        self._work = Work(self.store.stamp(), self.fence, base)
        self._telling = self._threads.start(
            partial(self._tell, self._work), f"work {self.task.id}"
        )

    def _tell(self, operation: Work) -> None:
        if self._clock.wait(self._ends, _TELL_AFTER_S):
            return
        try:
            self.patiently(lambda: self.store.apply(operation))
        except (StaleClaim, Interrupted) as error:
            self._refusal = error
        except PercydError as error:
            # It is said again with the end: no work is lost for want of this word.
            why = str(error)
            log.warning("not told", extra={"task": self.task.id, "why": why})

    def settle(self, operation: Operation) -> Applied:
        """Apply the attempt's last operation, after its first one.

        Raises:
            StaleClaim: the claim is gone.
            Interrupted: told to stop while the remote was in the way.
        """
        self._ends.set()
        if self._telling is not None:
            self._telling.join()
        if self._refusal is not None:
            raise self._refusal
        try:
            return self.patiently(lambda: self._last([*self._untold(), operation]))
        except StaleClaim:
            if self._has_landed():
                state = self.store.state
                return Applied(state.tip, None, state.snapshot)
            raise

    def _untold(self) -> list[Operation]:
        """What is still to be said before the end."""
        task = self.store.state.snapshot.task(self.task.id)
        told = task is not None and task.status is TaskStatus.WORKING
        return [] if told or self._work is None else [self._work]

    def _has_landed(self) -> bool:
        """Whether this claim was ended by us already, in a push without an answer.

        Others end it as lost or cancelled, and never as completed or failed.
        """
        task = self.store.state.snapshot.task(self.task.id)
        return task is not None and any(
            attempt.claim == self.fence.claim and attempt.outcome in _ENDED_HERE
            for attempt in task.attempts
        )

    def end(self, failure: AttemptFailed) -> None:
        """Give the claim back with the reason; the work goes to its rescue ref."""
        outcome = _OUTCOMES.get(failure.reason, "failed")
        ending = Ending(
            outcome=outcome,
            reason=Why(code=failure.reason, message=failure.message[:_MESSAGE_CHARS]),
            commit=failure.commit,
            verdict=failure.verdict,
            session=failure.session,
            usage=failure.usage,
        )
        # Before it is recorded: on a full disk that takes until there is room. Who was
        # stopped because the claim is gone has nothing to release.
        if not (outcome == "released" and self._leash.cut):
            why = f"{failure.reason}: {failure.message}"
            said = "attempt failed" if outcome == "failed" else outcome
            log.info(said, extra={"task": self.task.id, "why": why})
        self.settle(EndAttempt(self.store.stamp(), self.fence, ending))

    def patiently(self, act: Callable[[], T]) -> T:
        """Do it, again and again while only the remote is in the way.

        Raises:
            StaleClaim: the lease could not be renewed in time (S15).
            Interrupted: told to stop while the remote was in the way.
        """
        pause_s = _PAUSE_S
        hiccups = 0
        said = ""
        while True:
            self._refuse_if_cut()
            try:
                return act()
            except (*PASSING, GitError) as error:
                hiccups += isinstance(error, GitError)
                if hiccups > _HICCUPS:
                    raise
                level = logging.DEBUG if str(error) == said else logging.WARNING
                said = str(error)
                log.log(level, "waits", extra={"task": self.task.id, "why": said})
                if self._clock.wait(self.stop, pause_s):
                    self._refuse_if_cut()
                    raise Interrupted from error
                pause_s = min(pause_s * 2, _PAUSE_CAP_S)

    def _refuse_if_cut(self) -> None:
        if self._leash.cut:
            with suppress(UnknownIdError):  # it went with its plan
                # Where it was taken away, that says by what.
                self.fence.check(self.store.state.snapshot)
            raise StaleClaim(
                f"the lease of {self.task.id} could not be renewed in time"
            )
