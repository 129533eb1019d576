"""Bugs to plant: each must be seen by the simulation, or its silence proves nothing.

Each is one replaced function of the code under test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from unittest.mock import patch

from percyd.clock import Clock
from percyd.core import schedule
from percyd.core.operations.base import (
    Answer,
    Decision,
    Fence,
    Stamp,
    Tips,
    need_task,
)
from percyd.core.operations.completion import Complete
from percyd.core.operations.steer import CancelPlan
from percyd.core.records import Agent, Task
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.core.snapshot import Snapshot
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.committer import Committer
from percyd.state.heartbeat import Observer
from percyd.state.memory import MemoryRemote
from percyd.state.store import StateStore
from percyd.work.worker import Worker
from tests.sim.network import SimBackend

_swap = MemoryRemote.swap
_lost = Observer.lost
_land = Complete._land
_cancel = CancelPlan.decide
_in_order = schedule._in_order


def no_lease() -> AbstractContextManager[object]:
    """A push moves its refs, wherever they stand."""

    def swap(remote: MemoryRemote, moves: Sequence[RefMove]) -> PushReport:
        return _swap(remote, [replace(move, forced=True) for move in moves])

    return patch.object(MemoryRemote, "swap", swap)


def no_op_id() -> AbstractContextManager[object]:
    """All operations have the same id."""

    def stamp(store: StateStore) -> Stamp:
        return Stamp("0" * 32, store._clock.now())

    return patch.object(StateStore, "stamp", stamp)


def blind_retry() -> AbstractContextManager[object]:
    """No answer is taken for a lost race: another version is decided and pushed."""

    def send(
        committer: Committer,
        moves: Sequence[RefMove],
        parent: Oid | None,
        give_up: float,
    ) -> PushReport | None:
        report = committer._backend.push(moves, 5.0)
        found = report.refs[moves[0].ref].outcome
        if found is PushOutcome.APPLIED:
            return None
        if found is PushOutcome.UNKNOWN:
            return PushReport({moves[0].ref: RefReport(PushOutcome.CONFLICT)})
        return report

    return patch.object(Committer, "_send", send)


@dataclass
class WallClock:
    """Takes the wall clock for one that never jumps."""

    clock: Clock

    def boot_s(self) -> float:
        return self.clock.now().timestamp()


def wall_clock_expiry() -> AbstractContextManager[object]:
    """Silence is measured on the wall clock."""

    def lost(
        observer: Observer,
        snapshot: Snapshot,
        beats: Mapping[str, Oid],
        read_began_s: float | None = None,
    ) -> list[str]:
        right = observer.clock
        observer.clock = WallClock(right)  # type: ignore[assignment]
        # A jump looks like a gap between two reads, which would hide it.
        observer._last_read_s = None
        try:
            return _lost(observer, snapshot, beats)
        finally:
            observer.clock = right

    return patch.object(Observer, "lost", lost)


def no_token_check() -> AbstractContextManager[object]:
    """Whoever once had the task may end it."""

    def check(fence: Fence, snapshot: Snapshot) -> Task:
        return need_task(snapshot, fence.task)

    return patch.object(Fence, "check", check)


def not_atomic() -> AbstractContextManager[object]:
    """Each ref of a push moves, or not, by itself."""

    def push(
        backend: SimBackend, moves: Sequence[RefMove], deadline_s: float
    ) -> PushReport:
        refs: dict[str, RefReport] = {}
        for move in moves:
            refs.update(push_one(backend, [move], deadline_s).refs)
        return PushReport(refs)

    push_one = SimBackend.push
    return patch.object(SimBackend, "push", push)


def no_self_fencing() -> AbstractContextManager[object]:
    """A worker whose lease has run out goes on."""

    def fence_off(worker: Worker) -> None:
        pass

    return patch.object(Worker, "fence_off", fence_off)


def unverified_landing() -> AbstractContextManager[object]:
    """Whatever tree results is merged, and not only the verified one."""

    def land(
        complete: Complete,
        task: Task,
        publish: RefMove,
        tip: Oid,
        snapshot: Snapshot,
        merged: Merged | MergeConflict,
    ) -> Decision:
        verdict = complete.report.verdict
        if isinstance(merged, Merged) and verdict is not None:
            verdict = verdict.model_copy(update={"tree": merged.tree})
        report = replace(complete.report, verdict=verdict)
        claims = replace(complete, report=report)
        return _land(claims, task, publish, tip, snapshot, merged)

    return patch.object(Complete, "_land", land)


def deaf_to_pauses() -> AbstractContextManager[object]:
    """A paused plan's tasks are claimed like any other's."""

    def in_order(snapshot: Snapshot, agent: Agent) -> Iterator[Task]:
        records = (state.record for state in snapshot.plans.values())
        awake = [record.model_copy(update={"paused": None}) for record in records]
        return _in_order(snapshot.put(*awake), agent)

    return patch.object(schedule, "_in_order", in_order)


def half_a_cancel() -> AbstractContextManager[object]:
    """A plan is cancelled, and what agents hold of it goes on."""

    def decide(cancel: CancelPlan, snapshot: Snapshot, tips: Tips) -> Answer:
        answer = _cancel(cancel, snapshot, tips)
        if not isinstance(answer, Decision):
            return answer
        kept = [
            entry
            for entry in answer.puts
            if not isinstance(entry, Task) or entry.id not in snapshot.held
        ]
        return replace(answer, puts=tuple(kept), trailers=answer.trailers[:1])

    return patch.object(CancelPlan, "decide", decide)


MUTANTS = (
    no_lease,
    no_op_id,
    blind_retry,
    wall_clock_expiry,
    no_token_check,
    not_atomic,
    no_self_fencing,
    unverified_landing,
    deaf_to_pauses,
    half_a_cancel,
)
