"""Liveness: who beats, who watches, and on whose clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from percyd.core.ids import heartbeat_ref
from percyd.core.operations.agents import Depart
from percyd.core.refs import RefMove
from percyd.dispatch.monitor import Monitor
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.backend import RING
from percyd.state.heartbeat import MARGIN, Heart, Observer, Rider
from percyd.state.memory import MemoryBackend, MemoryRemote
from tests.support.state import Bench, Numbers, plan, task

BEAT, LEASE, IDLE = 20.0, 90.0, 300.0


def pair() -> tuple[Bench, Bench, Heart]:
    """A worker with a claim and a heart, and an observer in another clone."""
    one = Bench()
    one.start()
    one.take_in(plan(base=one.base(readme="x")), task("p", "a"), task("p", "b"))
    heart = Heart(one.backend, one.clock, one.agent, busy=lambda: True)
    one.store.live_by(heart)
    one.claim()
    two = Bench(one.remote, 2)
    two.store.refresh()
    return one, two, heart


def lost(two: Bench, observer: Observer) -> list[str]:
    return observer.lost(two.store.refresh().snapshot, two.store.beats())


def watch(
    two: Bench, observer: Observer, seconds: float, step: float = 10.0
) -> list[str]:
    """Look every ``step`` seconds; what the last look calls lost."""
    found: list[str] = []
    for _ in range(int(seconds / step)):
        two.clock.boot += step
        found = lost(two, observer)
    return found


def test_a_beat_rides_along_with_every_push_and_goes_round_a_ring() -> None:
    one, _, heart = pair()
    ref = heartbeat_ref(one.agent.id)
    seen = [one.remote.refs[ref]]
    for _ in range(RING):
        heart.beat(10)
        seen.append(one.remote.refs[ref])
    assert all(a != b for a, b in itertools.pairwise(seen))
    assert seen[0] == seen[RING]
    assert len(set(seen)) == RING


def test_a_silent_agent_is_lost_after_a_full_lease_and_not_before() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock)
    lost(two, observer)
    assert watch(two, observer, LEASE - 10) == []
    assert watch(two, observer, 10) == [one.agent.id]


def test_an_agent_that_beats_is_never_lost() -> None:
    _, two, heart = pair()
    observer = Observer(two.clock)
    for _ in range(50):
        heart.beat(10)
        assert watch(two, observer, 10) == []


def test_the_wall_clock_has_no_say() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock)
    lost(two, observer)
    for days in (1, -2):
        two.clock.wall += timedelta(days=days)
        assert watch(two, observer, 10) == []
    assert one.task("p.a").attempt + one.task("p.b").attempt == 1


def test_a_gap_between_looks_starts_the_window_anew() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock)
    lost(two, observer)
    two.clock.boot += LEASE * 10
    assert lost(two, observer) == []
    assert watch(two, observer, LEASE) == [one.agent.id]


def test_a_window_starts_no_earlier_than_the_claim_was_seen() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock)
    lost(two, observer)
    assert watch(two, observer, LEASE - 10) == []
    one.store.live_by(None)
    one.claim()
    assert watch(two, observer, 20) == []
    assert watch(two, observer, LEASE - 10) == [one.agent.id]


def test_the_lease_is_the_one_that_the_agent_recorded() -> None:
    one, two, _ = pair()
    short = one.agent.model_copy(update={"beat_s": 2.0, "lease_s": 6.0})
    view = two.store.state.snapshot.put(short)
    observer = Observer(two.clock)
    observer.lost(view, two.store.beats())
    found: list[str] = []
    for _ in range(6):
        two.clock.boot += 1
        found = observer.lost(view, two.store.beats())
    assert found == [one.agent.id]


def test_an_idle_agent_is_lost_after_three_silent_idle_beats() -> None:
    one, two, _ = pair()
    for record in one.store.state.snapshot.held_tasks():
        view = two.store.state.snapshot.remove_task(record.id)
    observer = Observer(two.clock)
    observer.lost(view, {})
    found: list[str] = []
    for _ in range(6):
        two.clock.boot += IDLE / 2
        found = observer.lost(view, {})
    assert found == [one.agent.id]


def test_nobody_is_watched_where_nobody_else_has_joined() -> None:
    bench = Bench()
    bench.start()
    observer = Observer(bench.clock, own=lambda: [bench.agent.id])
    assert observer.interval_s(bench.store.state.snapshot) is None


def test_the_monitor_takes_back_the_tasks_of_a_lost_agent() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock, own=lambda: [two.agent.id])
    monitor = Monitor(two.store, two.clock, Numbers(5), observer)
    for _ in range(11):
        monitor.step()
        two.clock.boot += 10
    view = one.store.refresh().snapshot
    assert view.agents[one.agent.id].status == "lost"
    (back,) = [t for t in view.tasks() if t.attempts]
    assert (back.status, back.attempts[0].outcome, back.retries) == (
        "submitted",
        "lost",
        1,
    )


@pytest.mark.parametrize("silent_s", [0.0, 30.0, 67.0])
def test_a_holder_ends_before_anybody_may_call_it_lost(silent_s: float) -> None:
    one, _, heart = pair()
    one.clock.boot += silent_s
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN) - silent_s)
    assert heart.left_s() > 0
    one.clock.boot += LEASE * (1 - MARGIN)
    assert heart.left_s() <= 0


class Deaf(MemoryBackend):
    """A clone whose pushes are never answered."""

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        report = RefReport(PushOutcome.UNKNOWN)
        return PushReport({move.ref: report for move in moves})


def test_a_beat_that_is_not_confirmed_does_not_renew() -> None:
    one, _, _ = pair()
    assert isinstance(one.remote, MemoryRemote)
    heart = Heart(Deaf(one.remote), one.clock, one.agent, busy=lambda: True)
    one.clock.boot += 50
    assert not heart.beat(10)
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN) - 50)


def test_a_lost_agent_is_lost_once() -> None:
    one, two, _ = pair()
    stamp = two.store.stamp()
    two.store.apply(Depart(stamp, one.agent.id, lost=True))
    assert (
        two.store.apply(Depart(two.store.stamp(), one.agent.id, lost=True)).commit
        is None
    )


def test_a_late_rider_moves_nothing_and_costs_no_beat() -> None:
    one, _, _ = pair()
    ref = "refs/percy/rescue/p.a/1"
    old, new = one.base(a="half"), one.base(a="whole")
    landed: list[str] = []
    rider = Rider(RefMove(ref, None, old), lambda: landed.append(old))
    heart = Heart(
        one.backend, one.clock, one.agent, busy=lambda: True, riders=lambda: [rider]
    )
    one.remote.refs[ref] = new  # the attempt has ended meanwhile
    one.clock.boot += 50
    assert heart.beat(10)
    assert one.remote.refs[ref] == new
    assert landed == []
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN))


def test_no_beat_is_due_while_one_rides_along_unless_the_lease_is_at_stake() -> None:
    one, _, heart = pair()
    with heart.ride() as beat:
        assert [move.ref for move in beat] == [heartbeat_ref(one.agent.id)]
        one.clock.boot += BEAT
        assert heart.due_s() > 0
        one.clock.boot += heart.due_s()
        assert heart.left_s() == pytest.approx(BEAT)
    assert heart.due_s() < 0


class Busy(MemoryBackend):
    """A clone in which something else happens during each push."""

    def __init__(self, remote: MemoryRemote, meanwhile: Callable[[], object]) -> None:
        super().__init__(remote)
        self._meanwhile = meanwhile

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        self._meanwhile()
        return super().push(moves, deadline_s)


def test_a_push_beside_a_beat_carries_none_and_renews_nothing() -> None:
    one, _, _ = pair()
    assert isinstance(one.remote, MemoryRemote)
    ref = heartbeat_ref(one.agent.id)
    seen: list[str] = []

    def commit() -> None:
        one.clock.boot += 5
        one.claim()
        seen.append(one.remote.refs[ref])

    heart = Heart(Busy(one.remote, commit), one.clock, one.agent, busy=lambda: True)
    one.store.live_by(heart)
    before = one.remote.refs[ref]
    assert heart.beat(10)
    assert len(list(one.store.state.snapshot.held_tasks())) == 2
    assert seen == [before]
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN) - 5)
