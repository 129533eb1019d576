"""Real processes race for tasks: each task once, and the losers know who was faster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.bench.claims import Race, race
from percyd.bench.lab import Ground
from percyd.bench.past import MergedBackend, complete_many
from percyd.bench.records import agent_of, join
from percyd.clock import SystemClock
from percyd.core.ids import AGENT_BRANCHES
from percyd.dispatch.branches import KEPT
from percyd.state.store import StateStore
from tests.support.checker import check

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path / "ground", os.environ, SystemClock())
    yield made
    made.close()


def raced(ground: Ground, processes: int, slots: int, tasks: int) -> Race:
    first = ground.start()
    return race(ground, first, processes=processes, slots=slots, tasks=tasks)


def test_each_task_is_claimed_once_and_everybody_fills_its_slots(
    ground: Ground,
) -> None:
    found = raced(ground, processes=4, slots=3, tasks=12)

    assert found.wins == [3, 3, 3, 3]
    assert len(found.holders) == 12
    assert check(ground.remote) == []


def test_whoever_finds_nothing_left_is_told_who_holds_what(ground: Ground) -> None:
    found = raced(ground, processes=4, slots=2, tasks=5)

    assert sum(found.wins) == 5
    losers = [result for result in found.results if result["told"]]
    assert losers
    assert all(result["told"] == found.holders for result in losers)
    assert check(ground.remote) == []


def test_one_of_a_crowd_wins_and_the_others_are_told_its_name(ground: Ground) -> None:
    found = raced(ground, processes=10, slots=1, tasks=1)

    (winner,) = (r["agent"] for r in found.results if r["won"])
    losers = [r for r in found.results if r["agent"] != winner]
    assert [r["told"] for r in losers] == [{"p.t0": winner}] * 9
    assert check(ground.remote) == []


def test_a_past_is_a_legal_history_with_few_branches(ground: Ground) -> None:
    ground.start()
    store, backend = ground.open_with(MergedBackend, "bulk")
    complete(store, backend, ground, count=KEPT + 120, batch=60)

    snapshot = store.refresh().snapshot
    assert {task.status for task in snapshot.tasks()} == {"completed"}
    assert snapshot.plans["past"].record.status == "done"
    assert len(backend.list_refs(AGENT_BRANCHES)) <= KEPT + 60
    assert ground.check() > 2 * (KEPT + 120)


def complete(
    store: StateStore, backend: MergedBackend, ground: Ground, *, count: int, batch: int
) -> None:
    backend.fetch_refs(["refs/heads/main"])
    agent = agent_of(1)
    join(store, agent)
    complete_many(
        store, backend, agent=agent.id, base=ground.base, count=count, batch=batch
    )
