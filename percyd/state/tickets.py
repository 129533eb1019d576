"""A caller's queued operation, and its answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from percyd.core.operations.base import Decision, Operation
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import OutcomeUnknown, PercydError


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of an operation: its commit, or None for "already so".

    ``snapshot`` is the state right after it.
    """

    commit: Oid | None
    decision: Decision | None
    snapshot: Snapshot


@dataclass(slots=True, eq=False)
class Ticket:
    """One queued operation.

    ``number`` is its place in the order of calls and reads; ``after`` the ticket whose
    refusal drops this one too; ``give_up_s`` its caller's deadline on the boot clock.
    """

    operation: Operation
    number: int
    after: Ticket | None = None
    give_up_s: float = float("inf")
    done: threading.Event = field(default_factory=threading.Event)
    _applied: Applied | None = None
    _error: PercydError | None = None

    def answer(self, applied: Applied) -> None:
        """Tell the caller that it is so."""
        self._applied = applied
        self.done.set()

    def refuse(self, error: PercydError) -> None:
        """Tell the caller why it is not so."""
        self._error = error
        self.done.set()

    @property
    def error(self) -> PercydError | None:
        """Why it was refused, if it was."""
        return self._error

    def result(self) -> Applied:
        """The answer. Raises the refusal."""
        if self._error is not None:
            raise self._error
        if self._applied is None:
            # Whoever leads has taken it along: it may be pushed at this moment.
            raise OutcomeUnknown(
                "the change was on its way when the deadline passed",
                hint="look at percyd log before doing it again",
            )
        return self._applied
