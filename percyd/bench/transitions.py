"""Transitions per second: threads of one process on one store."""

from __future__ import annotations

import threading

from percyd.bench.lab import DEADLINE_S, Lab
from percyd.bench.raw import beside
from percyd.bench.records import agent_of, claim, fence, free_tasks, join, take_in
from percyd.bench.values import Row, Sample, Target
from percyd.core.operations.claims import EndAttempt, Ending, Work
from percyd.core.reasons import Reason
from percyd.core.records import Agent, Why
from percyd.core.refs import Oid
from percyd.errors import PercydError
from percyd.state.store import StateStore

TITLE = "Transitions: threads of one process apply small independent operations"
#: How much faster than the loop of raw pushes this many threads should be.
FASTER, CROWD = 12, 64
#: A claim, its work, its end. Each task is used once: a record that grows with every
#: attempt would be measured instead.
_STEPS = 3
_MOST_CYCLES = 16


def measure(lab: Lab) -> list[Row]:
    """One row for each number of threads."""
    return [_case(lab, threads) for threads in lab.scale.threads]


def _case(lab: Lab, threads: int) -> Row:
    lab.say(f"transitions: {threads} at once")
    # A few threads are about as slow as raw git: fewer transitions tell enough.
    cycles = min(_MOST_CYCLES, max(1, lab.scale.transitions // (threads * _STEPS)))
    done = threads * cycles * _STEPS
    samples: list[Sample] = []
    with lab.ground() as (ground, first):
        agents = [agent_of(n) for n in range(threads)]
        join(first, *agents)
        tasks = threads * (cycles * lab.scale.rounds + 1)
        take_in(first, ground.base, free_tasks("p", tasks))
        store, backend = ground.open("second")
        store.refresh()
        _round(lab, store, agents, 1, ground.base)
        backend.meter.restart()
        for _ in range(lab.scale.rounds):
            before = lab.raw_ms()
            took_s = _round(lab, store, agents, cycles, ground.base)
            raw = before + lab.raw_ms()
            samples.append(beside(took_s * 1000 / done, raw))
        counted = backend.meter.facts()
        ground.check()
    case = f"{threads} thread{'s' * (threads > 1)}"
    row = Row(case, "ms per transition", "one raw push", samples)
    facts = _facts(row, counted, done * lab.scale.rounds)
    if threads != CROWD:
        return Row(row.case, row.unit, row.raw_unit, samples, None, facts)
    target = Target("times raw push", row.times_raw.median, 1 / FASTER)
    return Row(row.case, row.unit, row.raw_unit, samples, target, facts)


def _facts(row: Row, counted: dict[str, float], done: int) -> dict[str, float]:
    pushes = counted["push"]
    phases = {
        f"{name}_per_push_ms": counted.get(f"{name}_ms", 0.0) / pushes
        for name in ("push", "build", "remember")
    }
    whole_ms = sum(sample.ms for sample in row.samples) / len(row.samples) * done
    rest_ms = whole_ms / pushes - sum(phases.values())
    return {
        "per_s": 1000 / row.measured.median,
        "raw_per_s": 1000 / row.raw.median,
        "pushes": pushes,
        "transitions_per_push": done / pushes,
        **phases,
        "rest_per_push_ms": rest_ms,
    }


def _round(
    lab: Lab, store: StateStore, agents: list[Agent], cycles: int, base: Oid
) -> float:
    """Let every agent claim, work and fail in a thread; seconds until all are done."""
    start = threading.Barrier(len(agents) + 1)
    errors: list[PercydError] = []

    def run(agent: Agent) -> None:
        start.wait(DEADLINE_S)
        try:
            for _ in range(cycles):
                _cycle(store, agent.id, base)
        except PercydError as error:
            errors.append(error)

    # Daemons: an interrupted benchmark does not wait for them.
    runs = [threading.Thread(target=run, args=(a,), daemon=True) for a in agents]
    for thread in runs:
        thread.start()
    start.wait(DEADLINE_S)
    started = lab.clock.boot_s()
    for thread in runs:
        thread.join()
    took_s = lab.clock.boot_s() - started
    if errors:
        raise errors[0]
    return took_s


def _cycle(store: StateStore, agent: str, base: Oid) -> None:
    (task,) = claim(store, agent)
    store.apply(Work(store.stamp(), fence(task), base))
    failed = Ending("failed", Why(code=Reason.UNSUPPORTED_REPOSITORY))
    store.apply(EndAttempt(store.stamp(), fence(task), failed))
