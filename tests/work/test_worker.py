"""The worker's slots: what it claims, when, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from percyd.core.operations.base import Operation
from percyd.core.operations.claims import EndAttempt, Ending
from percyd.core.reasons import Reason
from percyd.core.records import Task, Why
from percyd.state.heartbeat import Rider
from percyd.state.tickets import Applied
from percyd.work.leash import Leash
from percyd.work.worker import Worker
from tests.support.state import Bench, fence, plan, task


class OneSlot:
    """A slot that completes its tasks in memory, once it may."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.may_end = threading.Event()
        self.may_end.set()
        self.fails: set[str] = set()
        self.breaks: set[str] = set()
        self.ran: list[str] = []

    def run(
        self,
        claimed: Task,
        settle: Callable[[Sequence[Operation]], Applied],
        leash: Leash,
    ) -> None:
        stop = leash.stop
        self.ran.append(claimed.id)
        if claimed.id in self.breaks:
            raise RuntimeError("a bug")
        while not (self.may_end.wait(0.01) or stop.is_set()):
            pass
        self.bench.work(claimed)
        if claimed.id in self.fails or stop.is_set():
            code = Reason.RELEASED if stop.is_set() else Reason.IDLE
            outcome = "released" if stop.is_set() else "failed"
            ending = Ending(outcome, Why(code=code))  # type: ignore[arg-type]
            settle([EndAttempt(self.bench.store.stamp(), fence(claimed), ending)])
            return
        settle([self.bench.completion(claimed)])

    def progress(self) -> Rider | None:
        return None


def hire(bench: Bench, *slots: OneSlot) -> tuple[Worker, threading.Event]:
    wake = threading.Event()
    return Worker(bench.store, bench.agent, slots, bench.clock, wake), wake


def bench_with(*tasks: Task) -> Bench:
    bench = Bench()
    bench.start()
    bench.take_in(plan(base=bench.base(readme="x")), *tasks)
    return bench


def until_free(worker: Worker) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if not worker.busy:
            return
        pause.wait(0.005)
    raise AssertionError("the slots did not become free")


def test_free_slots_are_filled_by_one_claim() -> None:
    bench = bench_with(*(task("p", f"t{n}") for n in range(3)))
    slots = [OneSlot(bench) for _ in range(4)]
    for slot in slots:
        slot.may_end.clear()
    worker, _ = hire(bench, *slots)
    worker.step()
    assert worker.busy == 3
    history = bench.backend.history(None, bench.store.state.tip)
    claims = [
        link
        for link in history
        if bench.remote.commits[link.oid].message.startswith("claim:")
    ]
    assert len(claims) == 1
    for slot in slots:
        slot.may_end.set()
    until_free(worker)


def test_the_next_claim_travels_behind_a_completion() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c", "b"))
    slot = OneSlot(bench)
    worker, _ = hire(bench, slot)
    worker.step()
    until_free(worker)
    assert slot.ran == ["p.a", "p.b", "p.c"]
    assert bench.plan("p").status == "done"


def test_a_failed_attempt_is_not_claimed_again_at_once() -> None:
    bench = bench_with(task("p", "a"))
    slot = OneSlot(bench)
    slot.fails.add("p.a")
    worker, _ = hire(bench, slot)
    worker.step()
    until_free(worker)
    worker.step()
    assert slot.ran == ["p.a"]
    assert worker.next_s() == 5.0
    assert worker.may_run()
    bench.clock.boot += 5.0
    slot.fails.clear()
    worker.step()
    until_free(worker)
    assert slot.ran == ["p.a", "p.a"]


def test_a_slot_that_breaks_is_free_again() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    slot = OneSlot(bench)
    slot.breaks |= {"p.a", "p.b"}
    worker, wake = hire(bench, slot)
    worker.step()
    until_free(worker)
    assert wake.is_set()
    worker.step()
    until_free(worker)
    assert sorted(slot.ran) == ["p.a", "p.b"]


def test_draining_claims_nothing_more_and_gives_back_what_does_not_end() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    slot = OneSlot(bench)
    slot.may_end.clear()
    worker, _ = hire(bench, slot)
    worker.step()
    worker.drain(0.0, threading.Event())
    worker.step()
    worker.leave()
    assert len(slot.ran) == 1
    assert bench.task(slot.ran[0]).attempts[0].outcome == "released"
    assert bench.store.state.snapshot.agents[bench.agent.id].status == "left"


def test_a_worker_without_a_suitable_task_writes_nothing() -> None:
    bench = bench_with(task("p", "a", specialization=("rust",)))
    worker, _ = hire(bench, OneSlot(bench))
    tip = bench.store.state.tip
    worker.step()
    assert bench.store.state.tip == tip
    assert not worker.may_run()


def test_an_orphan_takes_the_slot_that_no_claim_may_count_on() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    slot = OneSlot(bench)
    slot.may_end.clear()
    worker, _ = hire(bench, slot)
    (orphan,) = bench.claim(1)

    worker.step()

    held = [t.id for t in bench.store.state.snapshot.held_tasks()]
    assert held == [orphan.id]
    slot.may_end.set()
    worker.drain(5, threading.Event())
