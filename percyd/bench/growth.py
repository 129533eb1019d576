"""Growth: what the way of one task costs when there are very many others."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from percyd.bench.lab import Ground, Lab
from percyd.bench.metered import MeteredBackend
from percyd.bench.past import MergedBackend, complete_many
from percyd.bench.raw import beside
from percyd.bench.records import agent_of, claim, join, paired_tasks, take_in
from percyd.bench.results import completion_of, result_of, work_of
from percyd.bench.scale import Sizes
from percyd.bench.values import Row, Sample, Target, mean_facts
from percyd.core.operations.base import Operation
from percyd.errors import PercydError
from percyd.state.store import StateStore

TITLE = "Growth: claim, work and complete one task, alone on a remote"
#: How much dearer than among few tasks it may be.
AT_MOST = 1.5
_STEPS = 3
#: Plans that one push brings while a state is built.
_PLANS_A_PUSH = 10

Fill = Callable[[Ground, StateStore, Sizes], None]


def _small(ground: Ground, store: StateStore, sizes: Sizes) -> None:
    take_in(store, ground.base, paired_tasks("p", sizes.small))


def _open(ground: Ground, store: StateStore, sizes: Sizes) -> None:
    count = sizes.open_tasks_each
    plans = [paired_tasks(f"p{n}", count) for n in range(sizes.open_plans)]
    for at in range(0, len(plans), _PLANS_A_PUSH):
        take_in(store, ground.base, *plans[at : at + _PLANS_A_PUSH])


def _wide(ground: Ground, store: StateStore, sizes: Sizes) -> None:
    take_in(store, ground.base, paired_tasks("p", sizes.wide))


def _done(ground: Ground, store: StateStore, sizes: Sizes) -> None:
    bulk, backend = ground.open_with(MergedBackend, "bulk")
    backend.fetch_refs(["refs/heads/main"])
    agent = agent_of(1)
    join(bulk, agent)
    complete_many(
        bulk,
        backend,
        agent=agent.id,
        base=ground.base,
        count=sizes.done,
        batch=sizes.batch,
    )
    store.refresh()
    _small(ground, store, sizes)


def _cases(sizes: Sizes) -> dict[str, Fill]:
    many = sizes.open_plans * sizes.open_tasks_each
    return {
        f"{sizes.small:,} tasks": _small,
        f"{many:,} open tasks in {sizes.open_plans} plans": _open,
        f"{sizes.wide:,} tasks in one plan": _wide,
        f"{sizes.small:,} tasks after {sizes.done:,} completed": _done,
    }


@dataclass
class _State:
    """One state in which tasks are taken to their end."""

    ground: Ground
    store: StateStore
    backend: MeteredBackend
    load_ms: float
    agent: str
    samples: list[Sample] = field(default_factory=list)
    steps: list[list[float]] = field(default_factory=list)
    counted: list[dict[str, float]] = field(default_factory=list)


def measure(lab: Lab) -> list[Row]:
    """One row for each state; all of them stand side by side and take turns."""
    sizes = lab.scale.sizes
    with ExitStack() as stack:
        states: dict[str, _State] = {}
        for case, fill in _cases(sizes).items():
            lab.say(f"growth: {case}")
            ground, first = stack.enter_context(lab.ground())
            fill(ground, first, sizes)
            ground.tidy()
            states[case] = _opened(lab, ground)
        for state in states.values():
            _cycle(lab, state)
        lab.say("growth: measuring")
        for _ in range(sizes.cycles):
            _turn(lab, list(states.values()))
        return _rows(states)


def _opened(lab: Lab, ground: Ground) -> _State:
    store, backend = ground.open("second")
    started_s = lab.clock.boot_s()
    store.refresh()
    load_ms = (lab.clock.boot_s() - started_s) * 1000
    agent = agent_of(0)
    join(store, agent)
    return _State(ground, store, backend, load_ms, agent.id)


def _turn(lab: Lab, states: list[_State]) -> None:
    raw = lab.raw.run(2)
    taken = [_cycle(lab, state) for state in states]
    raw += lab.raw.run(2)
    for state, steps in zip(states, taken, strict=True):
        state.samples.append(beside(sum(steps), raw, _STEPS))
        state.steps.append(steps)
        state.counted.append(state.backend.meter.facts())


def _cycle(lab: Lab, state: _State) -> list[float]:
    """Milliseconds of a claim, a work and a complete; the rest is not counted."""
    store, backend = state.store, state.backend
    backend.meter.restart()
    started_s = lab.clock.boot_s()
    (task,) = claim(store, state.agent)
    claim_ms = (lab.clock.boot_s() - started_s) * 1000
    work = work_of(store, task)
    work_ms = _timed(lab, store, work)
    counted = backend.meter
    backend.meter = type(counted)(lab.clock)
    commit = result_of(backend, work)
    backend.meter = counted
    return [
        claim_ms,
        work_ms,
        _timed(lab, store, completion_of(store, task, commit)),
    ]


def _timed(lab: Lab, store: StateStore, operation: Operation) -> float:
    started_s = lab.clock.boot_s()
    store.apply(operation)
    return (lab.clock.boot_s() - started_s) * 1000


def _rows(states: dict[str, _State]) -> list[Row]:
    rows: list[Row] = []
    few = next(iter(states))
    unit, raw_unit = "claim, work, complete", f"{_STEPS} raw pushes"
    for case, state in states.items():
        row = Row(case, unit, raw_unit, state.samples, None, _facts(state))
        target = None
        if rows:
            ratio = row.measured.median / rows[0].measured.median
            target = Target(f"times {few}", ratio, AT_MOST)
        rows.append(Row(case, unit, raw_unit, row.samples, target, row.facts))
    return rows


def _facts(state: _State) -> dict[str, float]:
    names = ("claim_step_ms", "work_step_ms", "complete_step_ms")
    steps = zip(*state.steps, strict=True)
    counted = mean_facts(state.counted)
    if counted.get("lost"):
        raise PercydError("somebody else pushed to the benchmark's remote")
    git_ms = sum(value for name, value in counted.items() if name.endswith("_ms"))
    whole_ms = statistics.mean(sample.ms for sample in state.samples)
    return {
        **{n: statistics.median(s) for n, s in zip(names, steps, strict=True)},
        **counted,
        "rest_ms": whole_ms - git_ms,
        "load_ms": state.load_ms,
        "refs": state.ground.count_refs(),
        "commits": state.ground.check(),
    }
