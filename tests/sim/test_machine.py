"""The same world, driven by Hypothesis: it looks for the shortest way to break it."""

from __future__ import annotations

import logging

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.sim.network import PUSH_FAULTS, SimBackend
from tests.sim.person import MOVES
from tests.sim.process import LEASE_S
from tests.sim.world import DURATIONS_S, SKEWS_S, Rewound, World

MACHINES = st.integers(0, 2)
PLANS = 3


class Fleet(RuleBasedStateMachine):
    """Whatever befalls the machines, every promise holds at every moment."""

    world: World

    @initialize(seed=st.integers(0, 2**32), machines=st.integers(1, 3))
    def begin(self, seed: int, machines: int) -> None:
        self.world = World(seed)
        self.world.take_in("p0")
        self.world.set_up(machines)
        self.plans = 1
        self.rewound: Rewound | None = None

    @rule(seconds=st.floats(0.01, 2 * LEASE_S))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @precondition(lambda self: self.plans < PLANS and not self.rewound)
    @rule()
    def a_plan_comes_in(self) -> None:
        self.world.take_in(f"p{self.plans}")
        self.plans += 1

    @precondition(lambda self: not self.rewound)
    @rule(kind=st.sampled_from(sorted(MOVES)))
    def a_person_steers(self, kind: str) -> None:
        self.world.person.act(kind)

    @rule(number=MACHINES)
    def power_fails(self, number: int) -> None:
        clone = self._clone(number)
        self.world.restart(clone, self.world.crash(clone))

    @rule(number=MACHINES, seconds=st.sampled_from(DURATIONS_S))
    def a_machine_freezes(self, number: int, seconds: float) -> None:
        self.world.freeze(self._clone(number), seconds)

    @rule(number=MACHINES, seconds=st.sampled_from(DURATIONS_S))
    def a_machine_is_cut_off(self, number: int, seconds: float) -> None:
        self.world.cut(self._clone(number), seconds)

    @rule(number=MACHINES, seconds=st.sampled_from(SKEWS_S))
    def a_clock_is_set(self, number: int, seconds: float) -> None:
        self._clone(number).machine.skew_s = seconds

    @rule(
        rate=st.sampled_from((0.0, 0.2, 0.6)),
        faults=st.sets(st.sampled_from(PUSH_FAULTS), min_size=1),
    )
    def the_remote_misbehaves(self, rate: float, faults: set[str]) -> None:
        network = self.world.network
        network.rate, network.faults = rate, tuple(sorted(faults))

    @precondition(lambda self: not self.rewound)
    @rule()
    def a_backup_is_put_back(self) -> None:
        self.rewound = self.world.rewind()

    @precondition(lambda self: self.rewound)
    @rule()
    def it_is_mended(self) -> None:
        self.world.mend(self.rewound)
        self.rewound = None

    def _clone(self, number: int) -> SimBackend:
        return self.world.clones[number % len(self.world.clones)]

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "world") and not self.rewound:
            assert self.world.violations() == []

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.mend(self.rewound)
        self.world.make_peace()
        assert self.world.finish() == []


def test_no_sequence_of_events_breaks_a_promise() -> None:
    """One example is one life of a fleet."""
    logging.disable(logging.CRITICAL)
    try:
        run_state_machine_as_test(
            Fleet,
            settings=settings(
                derandomize=True,
                deadline=None,
                max_examples=60,
                stateful_step_count=20,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        logging.disable(logging.NOTSET)
