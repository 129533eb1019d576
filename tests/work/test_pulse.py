"""The threads that keep a lease: nothing that takes long may stand before a beat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from random import Random

import pytest

from percyd.core.operations.base import Operation
from percyd.core.records import Task
from percyd.core.refs import RefMove
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.heartbeat import Heart, Rider
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.tickets import Applied
from percyd.work.leash import Leash
from percyd.work.pulse import Pulse
from percyd.work.worker import Worker
from tests.sim.scheduler import Machine, Scheduler, SimClock, SimThreads
from tests.support.state import Bench, plan, task

LONG_S = 1000.0


class Uplink(MemoryBackend):
    """A clone whose uploads of work end at their deadline."""

    def __init__(self, remote: MemoryRemote, clock: SimClock) -> None:
        super().__init__(remote)
        self._clock = clock
        self.tried = 0

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        if any(move.ref.startswith("refs/percy/rescue/") for move in moves):
            self.tried += 1
            self._clock.wait(threading.Event(), deadline_s)
            unknown = RefReport(PushOutcome.UNKNOWN)
            return PushReport({move.ref: unknown for move in moves})
        return super().push(moves, deadline_s)


class LongSlot:
    """A slot whose program runs long and has always more to carry."""

    def __init__(self, clock: SimClock, collecting_s: float) -> None:
        self._clock = clock
        self._collecting_s = collecting_s
        self.collected = 0

    def run(
        self,
        claimed: Task,
        settle: Callable[[Sequence[Operation]], Applied],
        leash: Leash,
    ) -> None:
        self._clock.wait(leash.stop, 2 * LONG_S)

    def progress(self) -> Rider | None:
        self.collected += 1
        self._clock.wait(threading.Event(), self._collecting_s)
        move = RefMove("refs/percy/rescue/p.a/1", None, "c" * 40)
        return Rider(move, lambda: None)


@pytest.mark.parametrize("collecting_s", [0.0, 300.0])
def test_neither_collecting_nor_uploading_work_costs_the_lease(
    collecting_s: float,
) -> None:
    bench = Bench()
    bench.start()
    bench.take_in(plan(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    scheduler = Scheduler(Random(0))
    machine = Machine("here")
    clock, threads = (
        SimClock(scheduler, machine, 1000.0),
        SimThreads(scheduler, machine),
    )
    backend = Uplink(bench.remote, clock)
    slot = LongSlot(clock, collecting_s)
    worker = Worker(bench.store, bench.agent, [slot], clock, threading.Event(), threads)
    heart = Heart(
        backend,
        clock,
        bench.agent,
        busy=lambda: worker.busy > 0,
        riders=worker.progress,
    )
    pulse = Pulse(heart, worker, clock, threads)

    def begin() -> None:
        worker.step()
        pulse.start()

    try:
        threads.start(begin, "main")
        scheduler.run(
            lambda: worker.fenced or scheduler.now > LONG_S, 2 * LONG_S, 100_000
        )
    finally:
        scheduler.close()
    assert not worker.fenced
    assert slot.collected > 1
    assert backend.tried > 1
