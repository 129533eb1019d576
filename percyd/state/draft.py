"""A batch of operations decided one after the other: the chain that will be pushed.

Decided on an evolving snapshot and on evolving tips, so that operations that follow
from one another travel in one push (DESIGN 3, point 5).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from percyd.clock import Clock, Randomness
from percyd.core.edges import ENDED, Op, TaskStatus
from percyd.core.operations.base import (
    Answer,
    Decision,
    LineRequest,
    MergeRequest,
    Operation,
    Stamp,
    Tips,
)
from percyd.core.operations.landing import lands_when_closed
from percyd.core.operations.plans import Close, Resolve, is_closable
from percyd.core.records import Plan
from percyd.core.refs import Oid, RefMove
from percyd.core.snapshot import Snapshot, SourceFile
from percyd.errors import PercydError
from percyd.repo.values import NewCommit
from percyd.state import codec
from percyd.state.backend import Backend
from percyd.state.tickets import Ticket

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Step:
    """One operation of a batch, and what became of it on this draft.

    ``commits`` counts its own commit and those of what follows from it; zero with no
    ``refusal`` means "already so".
    """

    ticket: Ticket
    decision: Decision | None = None
    refusal: PercydError | None = None
    commits: int = 0
    first: int = 0
    after: Snapshot = field(default_factory=Snapshot)
    refs: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Draft:
    """The chain of commits and the ref moves that a batch comes to."""

    snapshot: Snapshot
    steps: list[Step] = field(default_factory=list)
    commits: list[NewCommit] = field(default_factory=list)
    moves: dict[str, RefMove] = field(default_factory=dict)


class Drafter:
    """Turns operations into a draft; reads refs and makes merges through its ports."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        randomness: Randomness,
        tips: Callable[[Iterable[str]], Tips],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._randomness = randomness
        self._tips = tips

    def draft(self, snapshot: Snapshot, tickets: Sequence[Ticket]) -> Draft:
        """Decide a batch in order on a snapshot.

        A refused operation leaves no trace in the chain; what counts on it is dropped,
        and the others go on.
        """
        draft = Draft(snapshot)
        for ticket in tickets:
            operation = ticket.operation
            step = Step(ticket, first=len(draft.commits))
            draft.steps.append(step)
            step.refusal = _refusal_before(draft, ticket)
            if step.refusal is not None:
                continue
            before = draft.snapshot, dict(draft.moves)
            try:
                step.decision = self._decide(draft, operation)
                if step.decision is not None:
                    self._add(draft, step, operation.stamp, step.decision)
                    self._follow(draft, step)
            except PercydError as error:
                step.refusal = error
            except Exception as error:
                # A fault in one operation must not fail whoever travels with it.
                log.exception("decision broke", extra={"why": repr(operation)[:200]})
                step.refusal = PercydError(f"percyd failed to decide: {error}")
            if step.refusal is not None:
                step.decision = None
                draft.snapshot, draft.moves = before
                del draft.commits[step.first :]
                continue
            step.after = draft.snapshot
            step.commits = len(draft.commits) - step.first
        return draft

    def _decide(self, draft: Draft, operation: Operation) -> Decision | None:
        answer: Answer = operation.decide(
            draft.snapshot, self._evolving_tips(draft, operation.needs)
        )
        while True:
            match answer:
                case MergeRequest(ours, theirs, message, merged):
                    now = operation.stamp.now
                    answer = merged(self._backend.merge(ours, theirs, message, now))
                case LineRequest(old, new, seen):
                    answer = seen(self._backend.is_ancestor(old, new))
                case _:
                    return answer

    def _evolving_tips(self, draft: Draft, refs: Iterable[str]) -> Tips:
        wanted = [ref for ref in refs if ref not in draft.moves]
        found: dict[str, Oid | None] = dict(self._tips(wanted))
        found.update({ref: move.new for ref, move in draft.moves.items()})
        return found

    def _add(self, draft: Draft, step: Step, stamp: Stamp, decision: Decision) -> None:
        changes: dict[str, bytes | None] = {
            codec.path_of(entry): codec.encode(entry) for entry in decision.puts
        }
        changes |= dict.fromkeys(_paths_of_the_gone(draft.snapshot, decision))
        text = codec.message(
            decision.op, decision.subject, stamp.op_id, decision.trailers
        )
        draft.commits.append(NewCommit(text, stamp.now, changes))
        draft.snapshot = draft.snapshot.put(*decision.puts).without(*decision.gone)
        for move in decision.moves:
            earlier = draft.moves.get(move.ref)
            expected = earlier.expected if earlier else move.expected
            draft.moves[move.ref] = replace(move, expected=expected)
            step.refs.add(move.ref)

    def _follow(self, draft: Draft, step: Step) -> None:
        """Append what follows from tasks that ended: `resolve`, then `close`.

        What an edit leaves blocked may wait for nothing any more, or in vain.
        """
        decision = step.decision
        tasks = decision.tasks if decision else ()
        ended = tuple(task.id for task in tasks if task.status in ENDED)
        edited: tuple[str, ...] = ()
        if decision is not None and decision.op is Op.RECONCILE:
            edited = tuple(t.id for t in tasks if t.status is TaskStatus.BLOCKED)
        if not ended and not edited:
            return
        self._chain(draft, step, Resolve(self._stamp(), ended, edited))
        for plan in sorted({name.partition(".")[0] for name in (*ended, *edited)}):
            state = draft.snapshot.plans[plan]
            # A refusal of the base branch must not hold up what has just ended: a
            # plan that lands by itself is closed by a monitor, in a push of its own.
            if is_closable(state) and not lands_when_closed(state):
                self._chain(draft, step, Close(self._stamp(), plan))

    def _chain(self, draft: Draft, step: Step, operation: Operation) -> None:
        decision = self._decide(draft, operation)
        if decision is not None:
            self._add(draft, step, operation.stamp, decision)

    def _stamp(self) -> Stamp:
        return Stamp(self._randomness.token(), self._clock.now())


def _paths_of_the_gone(snapshot: Snapshot, decision: Decision) -> Iterator[str]:
    """Every file of the records that a decision removes."""
    for record in decision.gone:
        yield codec.path_of(record)
        if not isinstance(record, Plan):
            continue
        state = snapshot.plans[record.id]
        yield from (codec.path_of(task) for task in state.tasks.values())
        if state.source is not None:
            yield codec.path_of(SourceFile(record.id, state.source, b""))


def _refusal_before(draft: Draft, ticket: Ticket) -> PercydError | None:
    if ticket.after is None:
        return None
    if ticket.after.error is not None:
        return ticket.after.error
    for step in draft.steps:
        if step.ticket is ticket.after:
            return step.refusal
    return None
