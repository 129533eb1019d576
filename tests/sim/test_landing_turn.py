"""Many tasks of one plan end together under a slow gate: none starves (DESIGN 6.7)."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from tests.sim.process import Habits
from tests.sim.world import World
from tests.support.state import task

TASKS, GATE_S = 20, 2.0


@pytest.mark.parametrize("machines", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_each_of_twenty_tasks_runs_its_gate_at_most_three_times(
    seed: int, machines: int
) -> None:
    logging.disable(logging.CRITICAL)
    world = World(
        seed,
        Habits(breaks=0.0, takes_long=0.0, gate_s=(GATE_S, GATE_S), gate_says_no=0.0),
    )
    world.take_in("p", [task("p", f"t{n}", verify="check") for n in range(TASKS)])
    world.set_up(machines, slots=TASKS // machines)
    world.make_peace()

    assert world.finish() == []

    gates = Counter(world.journal.gates)
    assert len(gates) == TASKS
    assert max(gates.values()) <= 3
    logging.disable(logging.NOTSET)
