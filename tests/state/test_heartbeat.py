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
from percyd.state.backend import RING, Backend
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


def test_a_slow_read_proves_silence_only_until_it_began() -> None:
    one, two, _ = pair()
    observer = Observer(two.clock)
    lost(two, observer)
    assert watch(two, observer, LEASE - 10) == []
    view, beats = two.store.refresh().snapshot, two.store.beats()
    began_s = two.clock.boot
    two.clock.boot += 10
    assert observer.lost(view, beats, began_s) == []
    assert observer.lost(view, beats, two.clock.boot) == [one.agent.id]


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


class Slow(MemoryBackend):
    """A clone behind an uplink that takes too long for everything but a beat."""

    def __init__(self, one: Bench) -> None:
        assert isinstance(one.remote, MemoryRemote)
        super().__init__(one.remote)
        self._one = one
        self.tried: list[str] = []
        self.slow = True

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        ref = moves[-1].ref
        if not ref.startswith("refs/percy/rescue/"):
            return super().push(moves, deadline_s)
        self.tried.append(ref)
        if self.slow and ref.endswith("/p.a/1"):
            self._one.clock.boot += deadline_s
            return PushReport({ref: RefReport(PushOutcome.UNKNOWN)})
        return super().push(moves, deadline_s)


def laden(one: Bench, backend: Backend) -> tuple[Heart, list[str]]:
    """A heart with the work of two attempts to carry; what has landed of it."""
    landed: list[str] = []

    def rider(name: str) -> Rider:
        ref = f"refs/percy/rescue/{name}/1"
        move = RefMove(ref, None, one.base(**{name[-1]: "half"}))
        return Rider(move, lambda: landed.append(name))

    def riders() -> list[Rider]:
        return [rider(name) for name in ("p.a", "p.b") if name not in landed]

    heart = Heart(backend, one.clock, one.agent, busy=lambda: True, riders=riders)
    return heart, landed


def test_a_beat_goes_alone_and_waits_for_no_upload() -> None:
    one, _, _ = pair()
    heart, landed = laden(one, Slow(one))
    one.clock.boot += BEAT
    assert heart.beat(heart.left_s())
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN))
    assert landed == []


def test_work_that_cannot_be_uploaded_holds_up_no_other_and_is_left_in_peace() -> None:
    one, _, _ = pair()
    slow = Slow(one)
    heart, landed = laden(one, slow)
    for _ in range(40):
        heart.carry()
        one.clock.boot += BEAT
    assert landed == ["p.b"]
    assert 2 < slow.tried.count("refs/percy/rescue/p.a/1") < 10
    slow.slow = False
    one.clock.boot += IDLE
    heart.carry()
    assert landed == ["p.b", "p.a"]


def test_work_that_comes_too_late_moves_nothing() -> None:
    one, _, _ = pair()
    ref = "refs/percy/rescue/p.a/1"
    whole = one.base(a="whole")
    heart, landed = laden(one, one.backend)
    one.remote.refs[ref] = whole  # the attempt has ended meanwhile
    heart.carry()
    assert one.remote.refs[ref] == whole
    assert landed == ["p.b"]


class Silent(MemoryBackend):
    """A clone whose pushes arrive, or not, without an answer as long as it is cut."""

    cut = False
    arrives = True

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        report = super().push(moves, deadline_s) if self.arrives else None
        if report is None or self.cut:
            return PushReport({m.ref: RefReport(PushOutcome.UNKNOWN) for m in moves})
        return report


@pytest.mark.parametrize("failures", [1, RING - 2, RING - 1, RING, 3 * RING - 1])
@pytest.mark.parametrize("arrived", [0, 1, 2])
def test_a_beat_that_changed_nothing_does_not_renew(
    failures: int, arrived: int
) -> None:
    one, _, _ = pair()
    assert isinstance(one.remote, MemoryRemote)
    ref = heartbeat_ref(one.agent.id)
    backend = Silent(one.remote)
    heart = Heart(backend, one.clock, one.agent, busy=lambda: True)
    assert heart.beat(10)
    backend.cut = True
    for number in range(failures):
        backend.arrives = number < arrived
        assert not heart.beat(10)
    backend.cut, backend.arrives = False, True
    one.clock.boot += 50
    for _ in range(2):
        before = one.remote.refs[ref]
        with heart.ride() as moves:
            assert all(move.new != before for move in moves)
        if heart.beat(10):
            break
    assert heart.left_s() == pytest.approx(LEASE * (1 - MARGIN))
    assert one.remote.refs[ref] != before


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
