"""How much is measured: in full, or a quick look that only shows that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The states between which the cost of a task is compared."""

    small: int
    #: Open tasks in many plans.
    open_plans: int
    open_tasks_each: int
    #: Tasks of one plan.
    wide: int
    #: Completed tasks.
    done: int
    #: Completed tasks that one push brings while the state is built.
    batch: int
    #: Tasks that are taken to their end in each state.
    cycles: int


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of all benchmarks."""

    rounds: int
    #: Raw pushes before each round, and as many after it.
    raw_pushes: int
    threads: tuple[int, ...]
    #: Transitions of all threads together in a round, about.
    transitions: int
    processes: int
    slots: int
    #: Processes that want one and the same task.
    crowd: int
    crowd_rounds: int
    hops: int
    #: Plans that are committed one after the other.
    plans: int
    #: Plans before them, of which nothing is measured.
    warm_ups: int
    #: How long nothing may have moved before the next plan, in seconds.
    quiet_s: float
    #: Tasks of a plan whose throughput is measured, and how often.
    many: int
    rounds_of_many: int
    sizes: Sizes


FULL = Scale(
    rounds=5,
    raw_pushes=20,
    threads=(1, 4, 16, 64),
    transitions=1152,
    processes=16,
    slots=4,
    crowd=100,
    crowd_rounds=2,
    hops=20,
    plans=15,
    warm_ups=1,
    quiet_s=1.2,
    many=300,
    rounds_of_many=3,
    sizes=Sizes(
        small=100,
        open_plans=50,
        open_tasks_each=1000,
        wide=10_000,
        done=10_000,
        batch=500,
        cycles=40,
    ),
)
QUICK = Scale(
    rounds=2,
    raw_pushes=2,
    threads=(1, 8),
    transitions=24,
    processes=3,
    slots=2,
    crowd=4,
    crowd_rounds=1,
    hops=2,
    plans=1,
    warm_ups=0,
    quiet_s=0.2,
    many=6,
    rounds_of_many=1,
    sizes=Sizes(
        small=20,
        open_plans=3,
        open_tasks_each=50,
        wide=100,
        done=60,
        batch=30,
        cycles=2,
    ),
)
