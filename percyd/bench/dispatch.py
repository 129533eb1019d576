"""From the end of a task to the claim of the task that waited for it."""

from __future__ import annotations

from itertools import pairwise

from percyd.bench.children import children
from percyd.bench.follower import POLL_S
from percyd.bench.lab import DEADLINE_S, Lab
from percyd.bench.metered import MeteredBackend
from percyd.bench.raw import beside
from percyd.bench.records import agent_of, claim, claim_of, join, take_in, task_of
from percyd.bench.results import completion_of, result_of, work_of
from percyd.bench.values import Row, Sample, Spread, mean_facts
from percyd.core.operations.completion import Complete
from percyd.core.records import Agent, Task
from percyd.errors import PercydError
from percyd.state.store import StateStore

TITLE = "Dispatch: from the completion of a task to the claim of its dependent"
#: Raw pushes on either side of each hop.
_RAW = 2
_UNIT = "completion to claim"


def measure(lab: Lab) -> list[Row]:
    """In the process that completes, and in another one that follows."""
    lab.say("dispatch: one process")
    one = _within(lab)
    lab.say("dispatch: two processes")
    return [one, _between(lab)]


def _finished(store: StateStore, backend: MeteredBackend, task: Task) -> Complete:
    """Work on a claimed task; what will complete it."""
    work = work_of(store, task)
    store.apply(work)
    return completion_of(store, task, result_of(backend, work))


def _within(lab: Lab) -> Row:
    """A chain of tasks; the next claim travels behind each completion."""
    samples: list[Sample] = []
    counted: list[dict[str, float]] = []
    with lab.ground() as (ground, first):
        agent = agent_of(0)
        join(first, agent)
        names = [f"t{n}" for n in range(lab.scale.hops + 1)]
        chain = [task_of("p", names[0])]
        chain += [task_of("p", name, before) for before, name in pairwise(names)]
        take_in(first, ground.base, tuple(chain))
        store, backend = ground.open("second")
        (task,) = claim(store, agent.id)
        for _ in range(lab.scale.hops):
            complete = _finished(store, backend, task)
            raw = lab.raw.run(_RAW)
            backend.meter.restart()
            started_s = lab.clock.boot_s()
            tickets = store.submit([complete, claim_of(store, agent.id)])
            took_s = lab.clock.boot_s() - started_s
            counted.append(backend.meter.facts())
            tickets[0].result()
            decision = tickets[1].result().decision
            if decision is None:
                raise PercydError("the dependent task was not claimed")
            (task,) = decision.tasks
            samples.append(beside(took_s * 1000, raw + lab.raw.run(_RAW)))
        ground.check()
    facts = mean_facts(counted)
    return Row("one process", _UNIT, "one raw push", samples, None, facts)


def _between(lab: Lab) -> Row:
    """Pairs of tasks; the first of each is done here, the second claimed elsewhere."""
    hops = lab.scale.hops
    took: list[float] = []
    seen: list[float] = []
    # Not between the hops: the other process, which looks all the time, would slow it.
    raw = lab.raw_ms()
    with lab.ground() as (ground, first):
        here, there = agent_of(0, "first"), agent_of(1, "second")
        join(first, here, there)
        firsts = [task_of("p", f"a{n}", wants=("first",)) for n in range(hops)]
        seconds = [
            task_of("p", f"b{n}", f"a{n}", wants=("second",)) for n in range(hops)
        ]
        take_in(first, ground.base, (*firsts, *seconds))
        store, backend = ground.open("second")
        job = {"folder": str(ground.folder), "hub": "third", "agent": there.id}
        with children(
            "percyd.bench.follower",
            [{**job, "claims": hops}],
            folder=ground.folder,
            environ=ground.environ,
            clock=ground.clock,
            deadline_s=DEADLINE_S,
        ) as group:
            group.release()
            for _ in range(hops):
                complete = _ready(store, backend, here)
                started_s = lab.clock.boot_s()
                store.apply(complete)
                (answer,) = group.hear_each()
                took.append((answer["at_s"] - started_s) * 1000)
                seen.append((answer["seen_s"] - started_s) * 1000)
            group.hear_each()
        ground.check()
    raw += lab.raw_ms()
    samples = [beside(ms, raw) for ms in took]
    facts = {"poll_ms": POLL_S * 1000, "seen_ms": Spread.of(seen).median}
    return Row("two processes", _UNIT, "one raw push", samples, None, facts)


def _ready(store: StateStore, backend: MeteredBackend, agent: Agent) -> Complete:
    (task,) = claim(store, agent.id)
    return _finished(store, backend, task)
