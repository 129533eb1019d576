"""A thousand runs on virtual time, and the bugs that they must be able to see."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

from tests.sim.mutants import MUTANTS
from tests.sim.world import run

#: Seeds that once failed: they run first, and stay.
CORPUS = [
    int(line.partition("#")[0])
    for line in Path(__file__).with_name("corpus.txt").read_text().splitlines()
    if line.partition("#")[0].strip()
]
CHUNK, CHUNKS = 125, 8
#: How many seeds a planted bug may stay unseen.
PATIENCE = 400


class Mutant(Protocol):
    __name__: str

    def __call__(self) -> AbstractContextManager[object]: ...


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of warnings that nobody reads cost more than the runs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", CORPUS)
def test_what_failed_once_holds_now(seed: int) -> None:
    assert run(seed, steered=False) == []


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_holds_whatever_befalls_the_network(chunk: int) -> None:
    seeds = range(chunk * CHUNK, (chunk + 1) * CHUNK)
    broken = {seed: found for seed in seeds if (found := run(seed))}
    assert not broken, f"replay with: python -m tests.sim {min(broken)}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_planted_bug_is_seen(mutant: Mutant) -> None:
    with mutant():
        seen = next((seed for seed in range(PATIENCE) if run(seed)), None)
    assert seen is not None


def test_a_seed_always_gives_the_same_run() -> None:
    from tests.sim.world import World

    first, second = World(7), World(7)
    assert first.run() == second.run() == []
    assert first.network.remote.refs == second.network.remote.refs
    assert first.scheduler.steps == second.scheduler.steps
