"""Pauses between attempts, on this worker's own clock."""

from __future__ import annotations

import pytest

from percyd.core.records import Limits, Task, Why
from percyd.core.snapshot import Snapshot
from percyd.work.resting import Resting
from tests.support.state import plan, task


def snapshot(*tasks: Task) -> Snapshot:
    return Snapshot().put(plan(limits=Limits(backoff_s=5)), *tasks)


def tired(attempt: int, retries: int) -> Task:
    why = Why(code="gate_failed")
    return task("p", "a", attempt=attempt, retries=retries, reason=why)


@pytest.mark.parametrize(
    ("retries", "pause_s"), [(1, 5), (2, 10), (3, 20), (7, 300), (50, 300)]
)
def test_the_pause_doubles_up_to_five_minutes(retries: int, pause_s: float) -> None:
    resting = Resting()
    resting.observe(snapshot(tired(retries, retries)), 100.0)
    assert resting.next_s(100.0) == pause_s
    assert resting.rested(99.9 + pause_s) == frozenset()
    assert resting.rested(100.0 + pause_s) == {("p.a", retries)}


def test_the_pause_counts_from_the_first_sight() -> None:
    resting = Resting()
    resting.observe(snapshot(tired(1, 1)), 100.0)
    resting.observe(snapshot(tired(1, 1)), 104.0)
    assert resting.next_s(104.0) == 1.0


def test_a_new_attempt_has_a_pause_of_its_own() -> None:
    resting = Resting()
    resting.observe(snapshot(tired(1, 1)), 100.0)
    resting.observe(snapshot(tired(2, 2)), 106.0)
    assert resting.rested(115.9) == frozenset()
    assert resting.rested(116.0) == {("p.a", 2)}


def test_what_no_longer_waits_is_forgotten() -> None:
    resting = Resting()
    resting.observe(snapshot(tired(1, 1)), 100.0)
    resting.observe(snapshot(task("p", "a", status="working")), 101.0)
    assert resting.next_s(101.0) is None
