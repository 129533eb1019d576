"""A cancelled task's program ends as soon as its worker looks, and its slot is free."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.sim.process import POLL_S, Habits
from tests.sim.world import World
from tests.support.state import task

#: A look at the remote, and a push that was under way when it was due. Seconds.
NOTICE_S = 3 * POLL_S[1]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("move", ["cancel a task", "cancel a plan"])
@pytest.mark.parametrize("seed", range(5))
def test_programs_end_soon_after_their_claims_are_cancelled(
    seed: int, move: str
) -> None:
    world = World(seed, Habits(breaks=0.0, takes_long=1.0))
    world.take_in("p", [task("p", f"t{n}") for n in range(4)])
    world.set_up(2, slots=2)
    world.pass_time(1.5)
    running = [p for p in world.journal.programs if p.ended_s is None]
    assert len(running) == 4

    cancelled_s = world.scheduler.now
    world.person.act(move)
    world.pass_time(NOTICE_S)

    gone = [p for p in running if p.claim in world.journal.cancelled]
    assert len(gone) == (1 if move == "cancel a task" else 4)
    for program in gone:
        assert program.ended_s is not None
        assert program.ended_s - cancelled_s < NOTICE_S
    world.take_in("q", [task("q", f"t{n}") for n in range(4)])
    world.make_peace()
    assert world.finish() == []
