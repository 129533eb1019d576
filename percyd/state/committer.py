"""Group commit: everything queued goes out as one chain in one push (DESIGN 3).

The outcome is read per ref. A conflict is decided again on the new snapshot; a
refusal is final only for one operation alone; without an answer the remote is read
before anything is tried again, and the same commits are pushed, never a second
version blindly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from percyd.clock import Clock, Randomness
from percyd.core.ids import STATE_REF, short_ref
from percyd.core.operations.agents import Init
from percyd.core.refs import Oid, RefMove
from percyd.core.snapshot import Snapshot
from percyd.errors import (
    BranchCheckedOut,
    ContentionError,
    NotInitialised,
    OutcomeUnknown,
    PercydError,
    PushRefused,
    RemoteFault,
    RemoteUnreachable,
    StatePushRefused,
)
from percyd.failpoints import hit
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.backend import Backend
from percyd.state.draft import Draft, Drafter, Step
from percyd.state.follower import Follower, State
from percyd.state.heartbeat import Heart
from percyd.state.tickets import Applied, Ticket
from percyd.state.turns import Turns

#: How often the same commits are pushed again when nobody said what became of them.
_RESENDS = 3
#: Conflicts on a ref that has not moved: not a race but a stale lock on the remote.
_STUCK = 3
#: Where pushes that the remote could not store are counted, beside the refs.
_FAULT = ""


class Committer:
    """Commits batches. Runs under the follower's lock: one push at a time."""

    def __init__(
        self,
        follower: Follower,
        backend: Backend,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._follower = follower
        self._backend = backend
        self._clock = clock
        self._randomness = randomness
        self._drafter = Drafter(backend, clock, randomness, follower.tips)
        self.heart: Heart | None = None
        self._turns = Turns(clock, randomness)

    def commit(self, tickets: Sequence[Ticket], give_up: float) -> None:
        """Answer every ticket, at the latest at ``give_up`` on the boot clock.

        Raises:
            PercydError: what then holds for every ticket without an answer.
        """
        losses = 0
        stuck: dict[str, int] = {}
        while batch := [ticket for ticket in tickets if not ticket.done.is_set()]:
            if self._clock.boot_s() >= give_up:
                raise ContentionError(f"lost {losses} races until the deadline")
            known, contended_s = self._follower.state, self._follower.contended_s
            waited = self._turns.let_others_in(known, contended_s, give_up)
            if waited or self._follower.is_outdated:
                self._refresh()
            state = self._follower.state or self._refresh()
            draft = self._draft(state, batch)
            if self._rests_on_old_state(state, draft.steps):
                self._read_anew(draft.steps)
                continue
            _answer_what_is_certain(draft.steps)
            if not draft.commits:
                continue
            number = self._follower.next_number()
            parent = state.tip if state else None
            oids = self._backend.write(parent, draft.commits)
            hit("commit-built")
            moves = [RefMove(STATE_REF, parent, oids[-1]), *draft.moves.values()]
            report = self._send(moves, parent, give_up)
            if report is None:
                hit("push-accepted")
                self._adopt(draft, oids, number)
                continue
            losses += 1
            self._follower.contended_s = self._clock.boot_s()
            self._react(report, draft.steps, stuck, losses, give_up)

    def _rests_on_old_state(self, state: State | None, steps: Sequence[Step]) -> bool:
        """Whether an answer rests on something that was read before the call (S6).

        Tips that are newer than the state are as bad: what another process has just
        taken in looks like a branch that no plan owns. What lies behind unpushed
        commits is proved by their push.
        """
        if state is None:
            return False
        return any(
            step.ticket.number >= state.read_number
            or (step.ticket.operation.needs and self._tips_are_newer(state))
            for step in steps
            if step.first == 0 and not step.commits
        )

    def _tips_are_newer(self, state: State) -> bool:
        return self._follower.tips_number > state.read_number

    def _read_anew(self, steps: Sequence[Step]) -> None:
        """Read the tips that matter, and then the state: in this order, see above."""
        needs = [ref for step in steps for ref in step.ticket.operation.needs]
        self._follower.forget_tips(needs)
        self._follower.tips(needs)
        self._refresh()

    def _refresh(self) -> State | None:
        try:
            return self._follower.refresh()
        except NotInitialised:
            return None

    def _draft(self, state: State | None, batch: Sequence[Ticket]) -> Draft:
        if state is None:
            for ticket in batch:
                if not isinstance(ticket.operation, Init):
                    raise NotInitialised(hint="run percyd init")
        return self._drafter.draft(
            state.snapshot if state else Snapshot(),
            batch,
        )

    def _adopt(self, draft: Draft, oids: Sequence[Oid], number: int) -> None:
        """Our push was accepted: its end is the newest state, and all are answered."""
        self._follower.note_tips({m.ref: m.new for m in draft.moves.values()})
        self._follower.adopt(oids[-1], draft.snapshot, number)
        for step in draft.steps:
            if step.ticket.done.is_set():
                continue
            if step.refusal is not None:
                step.ticket.refuse(step.refusal)
            else:
                commit = oids[step.first] if step.commits else None
                step.ticket.answer(Applied(commit, step.decision, step.after))

    def _send(
        self, moves: Sequence[RefMove], parent: Oid | None, give_up: float
    ) -> PushReport | None:
        """Push until the outcome is known. None: accepted.

        A push without an answer may still be under way on the server, so the remote is
        read first. While the tip is still our parent the same commits are sent again;
        once it has moved past the parent without them, they can never land. Until
        then a later "no" says nothing of the push before it.
        """
        new = moves[0].new or ""
        in_doubt, beaten, began_s = False, True, self._clock.boot_s()
        for resends in range(1 + _RESENDS):
            if resends:
                self._turns.back_off(resends + 2, give_up)
            started_s = self._clock.boot_s()
            left = max(1.0, give_up - started_s)
            with self._ride() as beat:
                report = self._backend.push([*moves, *beat], left)
            beaten = beaten and bool(beat)
            outcomes = {ref: r.outcome for ref, r in report.refs.items()}
            if PushOutcome.UNKNOWN not in outcomes.values():
                self._turns.took(self._clock.boot_s() - started_s)
            if outcomes.get(STATE_REF) is PushOutcome.APPLIED:
                self._turns.won(new)
                if self.heart and beat:
                    self.heart.confirm(started_s)
                return None
            in_doubt = in_doubt or PushOutcome.UNKNOWN in outcomes.values()
            if not in_doubt:
                return report
            tip = self._look_again(give_up, new)
            if tip is not None and self._backend.is_ancestor(new, tip):
                if self.heart and beaten:  # whichever of them it was
                    self.heart.confirm(began_s)
                return None
            if parent is not None and not self._is_past(parent, tip):
                break
            if tip != parent:
                conflict = RefReport(PushOutcome.CONFLICT, "moved meanwhile")
                return PushReport({STATE_REF: conflict})
            if self._clock.boot_s() >= give_up:
                break
        raise OutcomeUnknown(
            f"the remote did not say whether {new[:10]} was accepted: "
            f"{report.stderr.strip()[-200:] or 'no answer'}",
            hint="look at percyd log before doing it again",
        )

    def _ride(self) -> AbstractContextManager[Sequence[RefMove]]:
        return self.heart.ride() if self.heart else nullcontext(())

    def _is_past(self, parent: Oid, tip: Oid | None) -> bool:
        """Whether the branch goes on from ``parent``.

        One that was rewound, replaced or deleted does not, and comes back with
        whatever had landed.
        """
        return tip is not None and self._backend.is_ancestor(parent, tip)

    def _look_again(self, give_up: float, new: Oid) -> Oid | None:
        """The remote's tip, however often it takes until the deadline.

        Raises:
            OutcomeUnknown: nobody answered any more.
        """
        tries = 0
        while True:
            try:
                return self._backend.fetch_state(self._follower.patience_s())
            except PercydError as error:
                tries += 1
                passes = isinstance(error, RemoteUnreachable)
                if not passes or self._clock.boot_s() >= give_up:
                    # A branch that cannot be read says nothing of the push either.
                    raise OutcomeUnknown(
                        f"whether {new[:10]} was accepted is not known: "
                        f"{error.message}",
                        hint="look at percyd log before doing it again",
                    ) from error
                self._turns.back_off(tries + 4, give_up)

    def _react(
        self,
        report: PushReport,
        steps: Sequence[Step],
        stuck: dict[str, int],
        losses: int,
        give_up: float,
    ) -> None:
        """Deal with a push that moved nothing: refuse what is refused, or get ready.

        The pause comes before the look at the remote: the other way round, whoever won
        meanwhile would make the next push a lost one as well.
        """
        blamed = {
            ref: found
            for ref, found in report.refs.items()
            if found.outcome not in (PushOutcome.APPLIED, PushOutcome.COLLATERAL)
        }
        outcomes = {found.outcome for found in blamed.values()}
        if PushOutcome.REMOTE_FAULT in outcomes:
            # A clean-up of the remote may have been in the way for a moment.
            stuck[_FAULT] = stuck.get(_FAULT, 0) + 1
            if stuck[_FAULT] < _STUCK:
                self._turns.back_off(losses, give_up)
                return
            why = _words(blamed) + _aside(_faults(report))
            raise RemoteFault(f"the remote could not store the push: {why}")
        if PushOutcome.BUSY in outcomes:
            if STATE_REF in blamed or not self._refuse_owners(blamed, steps):
                raise BranchCheckedOut(
                    f"{_words(blamed)}", hint="check out another branch there"
                )
            return
        if PushOutcome.REFUSED in outcomes or not blamed:
            self._refuse_one_by_one(report, blamed, steps, give_up)
            return
        self._turns.back_off(losses, give_up)
        before = self._follower.state
        state = self._refresh()
        self._follower.forget_tips(blamed)
        self._follower.tips([ref for ref in blamed if ref != STATE_REF])
        if STATE_REF in blamed and before and state and before.tip != state.tip:
            stuck.pop(STATE_REF, None)
            return
        for ref in blamed:
            stuck[ref] = stuck.get(ref, 0) + 1
            if stuck[ref] >= _STUCK:
                error = _unmovable(ref, report)
                if ref == STATE_REF or not _refuse_owners_of(ref, steps, error):
                    raise error

    def _refuse_owners(
        self, blamed: Mapping[str, RefReport], steps: Sequence[Step]
    ) -> bool:
        """Answer the operations whose branches are checked out; true if there are any."""
        answered = [
            _refuse_owners_of(
                ref, steps, BranchCheckedOut(f"{short_ref(ref)}: {found.text}")
            )
            for ref, found in blamed.items()
            if found.outcome is PushOutcome.BUSY
        ]
        return any(answered)

    def _refuse_one_by_one(
        self,
        report: PushReport,
        blamed: Mapping[str, RefReport],
        steps: Sequence[Step],
        give_up: float,
    ) -> None:
        """A hook that refuses a batch may mean one operation: each goes alone."""
        waiting = [s.ticket for s in steps if not s.ticket.done.is_set()]
        if len(waiting) == 1:
            said = _aside(report.remote_lines[-3:])
            kind = StatePushRefused if STATE_REF in blamed else PushRefused
            waiting[0].refuse(kind(f"the remote refused: {_words(blamed)}{said}"))
            return
        for ticket in waiting:
            try:
                self.commit([ticket], give_up)
            except PercydError as error:
                if not ticket.done.is_set():
                    ticket.refuse(error)


def _refuse_owners_of(ref: str, steps: Sequence[Step], error: PercydError) -> bool:
    """Refuse the operations that move a ref; whether there are any."""
    owners = [s for s in steps if ref in s.refs and not s.ticket.done.is_set()]
    for step in owners:
        step.ticket.refuse(error)
    return bool(owners)


def _answer_what_is_certain(steps: Sequence[Step]) -> None:
    """Answer what does not rest on commits that are still to be pushed."""
    for step in steps:
        if step.first > 0:
            return
        if step.refusal is not None:
            step.ticket.refuse(step.refusal)
        elif not step.commits:
            step.ticket.answer(Applied(None, None, step.after))


def _unmovable(ref: str, report: PushReport) -> ContentionError:
    said = report.refs[ref].text + _aside(_faults(report))
    return ContentionError(
        f"{short_ref(ref)} cannot be moved although nobody else moves it: {said}",
        hint="look for a stale lock file on the remote",
    )


def _faults(report: PushReport) -> list[str]:
    """What git says there, or else here: the lock, the disk, the object in the way."""
    marks = ("error: ", "fatal: ")
    lines = [*report.remote_lines, *report.stderr.splitlines()]
    return [line for line in lines if line.startswith(marks)][:2]


def _aside(lines: Sequence[str]) -> str:
    said = " ".join(lines).strip()
    return f" ({said[:300]})" if said else ""


def _words(blamed: Mapping[str, RefReport]) -> str:
    return "; ".join(f"{short_ref(ref)} {found.text}" for ref, found in blamed.items())
