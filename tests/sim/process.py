"""One percyd process: the real store, monitor, worker, lease and landing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

from percyd.core.ids import agent_id, plan_branch, rescue_ref, short_of
from percyd.core.operations.agents import Depart
from percyd.core.operations.base import Operation
from percyd.core.operations.completion import Report
from percyd.core.reasons import Reason
from percyd.core.records import Agent, Task
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.dispatch.monitor import Monitor
from percyd.errors import MergeConflictError, PercydError, StaleClaim
from percyd.state.heartbeat import Heart, Observer, Rider
from percyd.state.memory import MemoryBackend, tree_id
from percyd.state.tickets import Applied
from percyd.work.failure import AttemptFailed, Interrupted
from percyd.work.gate import Verdicts
from percyd.work.held import HeldClaim
from percyd.work.landing import Landing
from percyd.work.leash import Leash
from percyd.work.output import Listener
from percyd.work.pulse import Pulse
from percyd.work.supervise import Bounds, Command, Ending, ProcessResult
from percyd.work.worker import Worker
from tests.sim.journal import Journal, Program, RecordingStore
from tests.sim.network import SimBackend
from tests.sim.scheduler import Scheduler, SimClock, SimThreads
from tests.support.state import agent

BOUNDS = Bounds(60, 60, 1000, 1)
POLL_S = (0.1, 1.0)
BEAT_S, LEASE_S, IDLE_S = 0.6, 3.0, 5.0
#: A program's steps: most are short, some outlive a lease. Seconds.
SHORT_S, LONG_S = (0.05, 1.0), (LEASE_S, 2.5 * LEASE_S)


@dataclass
class SeededRandomness:
    """Ids and jitter that a seed decides."""

    random: Random

    def token(self) -> str:
        return f"{self.random.getrandbits(128):032x}"

    def hex6(self) -> str:
        return f"{self.random.getrandbits(24):06x}"

    def uniform(self, low: float, high: float) -> float:
        return self.random.uniform(low, high)


@dataclass(frozen=True)
class Habits:
    """How programs and gates behave: shares of one, and seconds."""

    breaks: float = 0.08
    takes_long: float = 0.3
    gate_s: tuple[float, float] = (0.05, 0.8)
    gate_says_no: float = 0.05


USUAL = Habits()


@dataclass
class Surroundings:
    """What a process is started in."""

    scheduler: Scheduler
    random: Random
    journal: Journal
    habits: Habits = USUAL


class Process:
    """One run of percyd on a machine; `main` is its loop, as `percyd.daemon` has it."""

    def __init__(
        self, around: Surroundings, clone: SimBackend, slots: int, buries: str = ""
    ) -> None:
        self.around = around
        self.machine = clone.machine
        self.clone = clone
        scheduler = around.scheduler
        self.clock = SimClock(scheduler, self.machine, around.random.uniform(0, 1e6))
        self.threads = SimThreads(scheduler, self.machine)
        self.randomness = SeededRandomness(around.random)
        self.store = RecordingStore(
            clone, self.clock, self.randomness, deadline_s=20, threads=self.threads
        )
        self.store.journal = around.journal
        self.store.machine = self.machine
        self.store.buries = buries
        self.wake = threading.Event()
        self.member: Member | None = None
        self._slots = slots
        self._monitor = Monitor(
            self.store,
            self.clock,
            self.randomness,
            Observer(self.clock, own=self._own),
        )

    def _own(self) -> list[str]:
        return [self.member.agent.id] if self.member else []

    def main(self) -> None:
        poll_s = POLL_S[0]
        while True:
            self.wake.clear()
            try:
                tip = self.store.state.tip
                self.store.refresh()
                self._turn()
                moved = self.store.state.tip != tip
            except PercydError:
                moved = False
            poll_s = POLL_S[0] if moved else min(POLL_S[1], poll_s * 1.5)
            pause_s = min(poll_s, max(0.05, self._monitor.next_s()))
            self.clock.wait(self.wake, pause_s)

    def _turn(self) -> None:
        self._monitor.step()
        if self.store.buries:
            message = "its process is gone"
            depart = Depart(
                self.store.stamp(), self.store.buries, lost=True, message=message
            )
            self.store.apply(depart)
            self.store.buries = ""
        if self.member is None:
            member = Member(self, self._slots)
            member.begin()
            self.member = member
        self.member.worker.step()
        if self.member.worker.fenced:
            member, self.member = self.member, None
            member.leave()


class Member:
    """An agent from its joining to its leaving, as `percyd.membership` has it."""

    def __init__(self, process: Process, slots: int) -> None:
        self._process = process
        store, clock, threads = process.store, process.clock, process.threads
        self.agent: Agent = agent(
            agent_id(process.machine.name, process.randomness.hex6()),
            slots=slots,
            beat_s=BEAT_S,
            lease_s=LEASE_S,
            idle_beat_s=IDLE_S,
        )
        places = [Place(process) for _ in range(slots)]
        self.worker = Worker(store, self.agent, places, clock, process.wake, threads)
        self._heart = Heart(
            store.backend,
            clock,
            self.agent,
            busy=lambda: self.worker.busy > 0,
            riders=self.worker.progress,
        )
        self._pulse = Pulse(self._heart, self.worker, clock, threads)

    def begin(self) -> None:
        journal = self._process.around.journal
        ref = f"refs/percy/agents/{self.agent.id}"
        journal.network.beaten_s[ref] = self._process.around.scheduler.now
        self._process.store.live_by(self._heart)
        try:
            self.worker.join()
        except PercydError:
            self._process.store.live_by(None)
            raise
        self._pulse.start()

    def leave(self) -> None:
        store = self._process.store
        try:
            self.worker.drain(0, threading.Event())
            store.buries = self.agent.id
            store.apply(Depart(store.stamp(), self.agent.id, lost=True))
        finally:
            store.buries = ""
            self._pulse.stop()
            store.live_by(None)


class Place:
    """A slot: a task's program takes some time, and often does what it should."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._held: HeldClaim | None = None
        self._unfinished: Oid | None = None
        self._pushed: Oid | None = None

    def run(
        self,
        task: Task,
        settle: Callable[[Sequence[Operation]], Applied],
        leash: Leash,
    ) -> None:
        """See `percyd.work.worker.Slot`."""
        process = self._process
        held = HeldClaim(
            process.store, process.clock, task, settle, leash, process.threads
        )
        self._held, self._unfinished, self._pushed = held, None, None
        try:
            try:
                self._straight_path(held)
            except AttemptFailed as failure:
                failure.commit = failure.commit or self._unfinished
                held.end(failure)
            except MergeConflictError as conflict:
                held.end(AttemptFailed(Reason.CONFLICT, str(conflict)))
        except (StaleClaim, Interrupted):
            return
        finally:
            self._held = None

    def _straight_path(self, held: HeldClaim) -> None:
        task, store, random = held.task, held.store, self._process.around.random
        branch = plan_branch(task.plan)
        base = held.patiently(lambda: store.tip_of(branch))
        assert base is not None
        held.begin(base)
        try:
            self._program(held, base)
            if random.random() < self._process.around.habits.breaks:
                raise AttemptFailed(Reason.RUNNER_FAILED, "it broke")
            commit = self._commit(task, base, "done")
            self._landing(held, base).land(
                commit, Report("did it"), lambda: self._pushed is not None
            )
        except Interrupted as stopped:
            raise AttemptFailed(Reason.RELEASED, "percyd was stopped") from stopped

    def _program(self, held: HeldClaim, base: Oid) -> None:
        process, task = self._process, held.task
        random, journal = process.around.random, process.around.journal
        takes_long = process.around.habits.takes_long
        if held.stop.is_set():
            raise Interrupted
        now = process.around.scheduler.now
        program = Program(task.id, task.attempt, task.claim or "", process.machine, now)
        journal.began(program)
        try:
            for step in range(random.choice((1, 1, 2))):
                bounds_s = LONG_S if random.random() < takes_long else SHORT_S
                if process.clock.wait(held.stop, random.uniform(*bounds_s)):
                    raise Interrupted
                if random.random() < 0.3:
                    self._unfinished = self._commit(task, base, f"step {step}")
        finally:
            program.ended_s = process.around.scheduler.now

    def _commit(self, task: Task, base: Oid, what: str) -> Oid:
        remote = self._process.clone.remote
        if task.type == "land":
            return self._merge_main(task, base)
        # A few tasks meddle with the same file: their merges conflict.
        name = "shared" if "meddle" in task.title else short_of(task.id)
        files = remote.commits[base].files
        content = f"{task.id} {task.attempt} {task.claim}".encode()
        return remote.commit([base], files.set(name, content), f"{task.id}: {what}")

    def _merge_main(self, task: Task, tip: Oid) -> Oid:
        """What a task land-N makes: the base branch merged into the tip."""
        clone = self._process.clone
        main = clone.remote.refs["refs/heads/main"]
        now = self._process.clock.now()
        merged = clone.merge(tip, main, f"merge {task.id} {task.claim}", now)
        if isinstance(merged, MergeConflict):
            raise MergeConflictError(merged.paths)
        return merged.commit

    def progress(self) -> Rider | None:
        """See `percyd.work.worker.Slot`."""
        held, commit = self._held, self._unfinished
        if held is None or commit in (None, self._pushed) or held.stop.is_set():
            return None
        ref = rescue_ref(held.task.id, held.task.attempt)

        def landed() -> None:
            self._pushed = commit

        return Rider(RefMove(ref, self._pushed, commit), landed)

    def _landing(self, held: HeldClaim, base: Oid) -> Landing:
        shop = cast(Any, Shop(self._process, held.task))
        return Landing(
            held=held,
            shop=shop,
            clone=shop,
            path=Path("/nowhere"),
            base=base,
            environment={},
            bounds=BOUNDS,
            log=Path("/nowhere/log"),
            verdicts=Verdicts(),
        )


class Shop:
    """The ports to the outside that a landing needs: merges, a checkout, a gate."""

    def __init__(self, process: Process, task: Task) -> None:
        self._process = process
        self._task = task
        self._backend: MemoryBackend = process.clone
        self.store, self.clock = process.store, process.clock
        self.hub = self.processes = self
        self._tree: Oid = ""

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: Any
    ) -> Merged | MergeConflict:
        return self._backend.merge(ours, theirs, message, when)

    def tree_of(self, commit: Oid) -> Oid:
        return tree_id(self._backend.remote.commits[commit].files)

    def checkout_commit(self, path: Path, commit: Oid) -> None:
        """What the gate will look at."""
        self._tree = self.tree_of(commit)

    def run(
        self,
        command: Command,
        bounds: Bounds,
        log: Path | None,
        stop: threading.Event,
        listener: Listener | None = None,
    ) -> ProcessResult:
        """A gate: it takes its time, and says no now and then."""
        around = self._process.around
        around.journal.gates.append(self._task.id)
        if self.clock.wait(stop, around.random.uniform(*around.habits.gate_s)):
            return ProcessResult(Ending.STOPPED)
        code = int(around.random.random() < around.habits.gate_says_no)
        if code == 0:
            around.journal.passed.add(self._tree)
        return ProcessResult(Ending.EXITED, code)
