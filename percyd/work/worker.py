"""The worker: free slots claim ready tasks, each slot runs one attempt at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from percyd.clock import Clock
from percyd.core.edges import AgentStatus
from percyd.core.ids import plan_branch
from percyd.core.operations.agents import Depart, Join
from percyd.core.operations.base import Fence, Operation
from percyd.core.operations.claims import Claim, EndAttempt, Ending
from percyd.core.reasons import Reason
from percyd.core.records import Agent, Task, Why
from percyd.core.schedule import pick
from percyd.core.snapshot import Snapshot
from percyd.errors import PercydError, StaleClaim
from percyd.state.heartbeat import Rider
from percyd.state.store import StateStore
from percyd.state.tickets import Applied, Ticket
from percyd.threads import SYSTEM_THREADS, Thread, Threads
from percyd.work.leash import Leash
from percyd.work.resting import Resting
from percyd.work.restraint import NONE, Restraint

log = logging.getLogger(__name__)


#: What a read beside a claim may take; the task's own takes as long as it needs.
_AHEAD_S = 5.0


class Everything:
    """A `Rested` that holds every attempt: "what could run sooner or later"."""

    def __contains__(self, key: object) -> bool:
        return True


#: Settles an attempt: applies its last operations, and answers for the very last one.
#: Raises what the store refuses.
Settle = Callable[[Sequence[Operation]], Applied]


class Slot(Protocol):
    """One place for a running task."""

    def run(self, task: Task, settle: Settle, leash: Leash) -> None:
        """Take a claimed task to its end; the last operations go through `settle`."""
        ...

    def progress(self) -> Rider | None:
        """Unfinished work to push with the next beat, if there is new."""
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    """A slot at work."""

    slot: Slot
    task: Task
    leash: Leash


class Worker:
    """One registered agent with its slots."""

    def __init__(
        self,
        store: StateStore,
        agent: Agent,
        slots: Sequence[Slot],
        clock: Clock,
        wake: threading.Event,
        threads: Threads = SYSTEM_THREADS,
        restraint: Restraint = NONE,
    ) -> None:
        self.agent = agent
        self._restraint = restraint
        self._store = store
        self._clock = clock
        self._wake = wake
        self._free = list(slots)
        self._start_thread = threads.start
        self._at_work: dict[Slot, _Running] = {}
        self._threads: dict[Slot, Thread] = {}
        self._guard = threading.Lock()
        self._resting = Resting()
        #: The attempts that a slot has begun, until the state knows of their end; of
        #: these, those that a slot is through with; claims whose answers are awaited.
        self._begun: set[tuple[str, int]] = set()
        self._through: set[tuple[str, int]] = set()
        self._claims_under_way = 0
        self._owed: list[tuple[Task, Ending]] = []
        self._has_joined = False
        self._draining = False
        self._stopping = False
        self.fenced = False

    def join(self) -> None:
        """Register the agent."""
        self._store.apply(Join(self._store.stamp(), self.agent))
        self._has_joined = True

    @property
    def busy(self) -> int:
        """How many slots run a task."""
        with self._guard:
            return len(self._at_work)

    def step(self) -> None:
        """Claim for the free slots if anything is ready for this agent."""
        self.check_claims()
        self._end_what_is_owed()
        self._take_up_orphans()
        snapshot = self._store.state.snapshot
        now_s = self._clock.boot_s()
        with self._guard:
            free = len(self._free)
            self._resting.observe(snapshot, now_s)
            rested = self._resting.rested(now_s)
        if self._draining or not free or self._restraint.is_spent(snapshot):
            return
        due = pick(snapshot, self._card(snapshot), free, rested)
        if not due:
            return
        for plan in sorted({task.plan for task in due}):
            # Beside the claim: what the work would start from.
            self._start_thread(partial(self._read_tip, plan), f"tip of {plan}")
        with self._claiming():
            applied = self._store.apply(self._claim(free, rested))
            for task in self._mine(applied):
                self._start(task)

    def _read_tip(self, plan: str) -> None:
        with suppress(PercydError):  # who needs it then will hear of it
            self._store.tip_of(plan_branch(plan), _AHEAD_S)

    def apply_and_claim(
        self, operation: Operation, then: Callable[[Applied], object]
    ) -> Applied:
        """Apply an operation that may make tasks ready; a claim travels behind it.

        ``then`` is called before anything of it starts.

        Raises: what the store refuses; the claim behind it was dropped then.
        """
        with self._guard:
            free = 0 if self._draining else len(self._free)
            rested = self._resting.rested(self._clock.boot_s())
        if not free:
            applied = self._store.apply(operation)
            then(applied)
            return applied
        with self._claiming():
            claim = self._claim(free, rested)
            first, second = self._store.submit([operation, claim])
            applied = first.result()
            then(applied)
            for task in self._taken(second):
                self._start(task)
        return applied

    @contextmanager
    def _claiming(self) -> Iterator[None]:
        """While a claim is under way, what it brings looks like an orphan."""
        with self._guard:
            self._claims_under_way += 1
        try:
            yield
        finally:
            with self._guard:
                self._claims_under_way -= 1

    def _take_up_orphans(self) -> None:
        """Start tasks that this agent holds although no slot ever began them.

        The answer to their claim was lost; nobody else may work on them while this
        agent beats.
        """
        with self._guard:
            through = set(self._through)
        snapshot = self._store.state.snapshot
        held = {(task.id, task.attempt) for task in snapshot.held_tasks()}
        with self._guard:
            # Seen after their end: no older state will bring them back.
            self._begun -= through - held
            self._through -= through - held
        for task in snapshot.held_tasks():
            with self._guard:
                mine = task.assigned_to == self.agent.id
                known = (task.id, task.attempt) in self._begun
                if not mine or known or self._claims_under_way or not self._free:
                    continue
            # An idle agent's last beat may be older than a lease.
            if self._store.beat():
                self._start(task)

    def _end_what_is_owed(self) -> None:
        """Give back the claims of attempts that broke without a word."""
        with self._guard:
            owed, self._owed = self._owed, []
        for task, ending in owed:
            fence = Fence(task.id, task.attempt, task.claim or "")
            try:
                self._store.apply(EndAttempt(self._store.stamp(), fence, ending))
            except StaleClaim:
                continue
            except PercydError as error:
                log.warning("still owed", extra={"task": task.id, "why": str(error)})
                with self._guard:
                    self._owed.append((task, ending))

    def may_run(self) -> bool:
        """Whether a ready task suits this agent, at once or after a pause."""
        snapshot = self._store.state.snapshot
        card = snapshot.agents.get(self.agent.id, self.agent)
        soon = self._restraint.soon(card, snapshot)
        return soon is not None and bool(pick(snapshot, soon, 1, Everything()))

    def next_s(self) -> float | None:
        """Seconds until a resting task may be claimed; None if none rests."""
        with self._guard:
            return self._resting.next_s(self._clock.boot_s())

    def drain(self, grace_s: float, kill: threading.Event) -> None:
        """Claim nothing more; let what runs end within the grace, then stop it.

        ``kill`` set ends the grace at once.
        """
        self._draining = True
        give_up = self._clock.boot_s() + grace_s
        while self.busy and not kill.is_set():
            left = give_up - self._clock.boot_s()
            if left <= 0:
                break
            self._wake.clear()
            self._clock.wait(self._wake, min(left, 0.2))
        with self._guard:
            self._stopping = True
            at_work = list(self._at_work.values())
            threads = list(self._threads.values())
        for running in at_work:
            running.leash.release()
        for thread in threads:
            thread.join()

    # The lease

    def fence_off(self) -> None:
        """The lease could not be renewed in time: end everything, publish nothing.

        Somebody else may have called this agent lost by now. It never claims again;
        its successor has a new id.
        """
        if not self.fenced:
            log.error("lease not renewed", extra={"agent": self.agent.id})
        with self._guard:
            self.fenced = self._draining = True
            at_work = list(self._at_work.values())
        for running in at_work:
            running.leash.cut_off()

    def check_claims(self) -> None:
        """Stop attempts whose claim is gone, and all of them if the agent is."""
        snapshot = self._store.state.snapshot
        card = snapshot.agents.get(self.agent.id)
        if self._has_joined and (card is None or card.status is not AgentStatus.JOINED):
            self.fence_off()
            return
        for running in self._all_running():
            mine = running.task
            task = snapshot.task(mine.id)
            held = task is not None and (task.attempt, task.claim) == (
                mine.attempt,
                mine.claim,
            )
            # Older states than the claim do not know of it yet.
            if task is None or (not held and task.attempt >= mine.attempt):
                running.leash.cut_off()

    def progress(self) -> list[Rider]:
        """Unfinished work of all slots, to push with the next beat."""
        found = [running.slot.progress() for running in self._all_running()]
        return [rider for rider in found if rider is not None]

    def _all_running(self) -> list[_Running]:
        with self._guard:
            return list(self._at_work.values())

    def leave(self) -> None:
        """Unregister; what is still claimed goes back to the queue uncounted."""
        self._store.apply(Depart(self._store.stamp(), self.agent.id))

    def _card(self, snapshot: Snapshot) -> Agent:
        """This agent with the runners that do not rest."""
        return self._restraint.now(snapshot.agents.get(self.agent.id, self.agent))

    def _claim(self, count: int, rested: frozenset[tuple[str, int]]) -> Claim:
        tokens = tuple(self._store.token() for _ in range(count))
        parked = self._restraint.parked(self.agent)
        stamp, daily = self._store.stamp(), self._restraint.daily
        return Claim(stamp, self.agent.id, tokens, rested, parked, daily)

    def _mine(self, applied: Applied) -> list[Task]:
        decision = applied.decision
        return list(decision.tasks) if decision else []

    def _start(self, task: Task) -> None:
        with self._guard:
            running = self._running(self._free.pop(0), task)
            slot = running.slot
            self._at_work[slot] = running
            # Its end waits for the guard too, so that it finds itself here.
            self._threads[slot] = self._start_thread(
                partial(self._run, running), f"task {task.id}"
            )

    def _running(self, slot: Slot, task: Task) -> _Running:
        """A slot at work, on a leash that knows what all leashes were told before."""
        leash = Leash()
        if self.fenced:
            leash.cut_off()
        elif self._stopping:
            leash.release()
        self._begun.add((task.id, task.attempt))
        return _Running(slot, task, leash)

    def _run(self, running: _Running) -> None:
        try:
            while (claimed := self._run_one(running)) is not None:
                with self._guard:
                    running = self._running(running.slot, claimed)
                    self._at_work[running.slot] = running
        finally:
            with self._guard:
                del self._at_work[running.slot], self._threads[running.slot]
                self._free.append(running.slot)
            self._wake.set()

    def _run_one(self, running: _Running) -> Task | None:
        """Run one attempt; answers the task that was claimed behind its end, if any."""
        claimed: list[Task] = []
        task = running.task

        def settle(operations: Sequence[Operation]) -> Applied:
            with self._claiming():
                tickets = self._store.submit([*operations, *self._next_claim()])
                last = len(operations) - 1
                applied = tickets[last].result()  # refused: the claim was dropped
                for ticket in tickets[last + 1 :]:
                    claimed.extend(self._taken(ticket))
                with self._guard:
                    self._begun |= {(t.id, t.attempt) for t in claimed}
            return applied

        log.info("started", extra={"task": task.id, "attempt": task.attempt})
        try:
            running.slot.run(task, settle, running.leash)
        except Exception as error:  # the slot lives on; the claim must not
            log.exception("slot broke", extra={"task": task.id})
            why = Why(code=Reason.WORKSPACE_FAILED, message=str(error)[:1000])
            with self._guard:
                self._owed.append((task, Ending("failed", why)))
        with self._guard:
            self._through.add((task.id, task.attempt))
        self._wake.set()
        return claimed[0] if claimed else None

    def _next_claim(self) -> list[Operation]:
        """A claim for this slot, to travel behind the end of its attempt."""
        if self._draining:
            return []
        with self._guard:
            rested = self._resting.rested(self._clock.boot_s())
        return [self._claim(1, rested)]

    def _taken(self, ticket: Ticket) -> list[Task]:
        try:
            return self._mine(ticket.result())
        except PercydError as error:
            log.warning("no claim", extra={"why": str(error)})
            return []
