"""Claims: processes with a clone each want tasks at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from percyd.bench.children import children
from percyd.bench.lab import DEADLINE_S, Ground, Lab
from percyd.bench.raw import beside
from percyd.bench.records import agent_of, free_tasks, join, take_in
from percyd.bench.values import Json, Row, Sample, Target
from percyd.core.edges import TaskStatus
from percyd.core.records import Agent
from percyd.errors import PercydError
from percyd.state.store import StateStore

TITLE = "Claims: processes in clones of their own want all tasks at once"
TITLE_ONE = "One task: a crowd of processes wants the same task"
#: What all claims together may cost, in as many raw pushes as there are tasks.
AT_MOST = 3.0


@dataclass(frozen=True)
class Race:
    """What each process says, and when they were let go."""

    results: Sequence[Json]
    started_s: float

    @property
    def holders(self) -> dict[str, str]:
        """Who won each task, as the winners say."""
        return {won["task"]: r["agent"] for r in self.results for won in r["won"]}

    @property
    def wins(self) -> list[int]:
        """How many tasks each process won."""
        return [len(result["won"]) for result in self.results]

    @property
    def last_claim_ms(self) -> float:
        """From the start to the last answer to a claim that won."""
        return self._ms(max(w["at_s"] for r in self.results for w in r["won"]))

    @property
    def first_claim_ms(self) -> float:
        """From the start to the first answer to a claim that won."""
        return self._ms(min(w["at_s"] for r in self.results for w in r["won"]))

    @property
    def last_answer_ms(self) -> float:
        """From the start to the last answer, won or not."""
        return self._ms(max(result["at_s"] for result in self.results))

    def _ms(self, at_s: float) -> float:
        return (at_s - self.started_s) * 1000

    def total(self, name: str) -> float:
        """A fact, summed over all processes."""
        return sum(float(result["facts"].get(name, 0)) for result in self.results)


def race(
    ground: Ground, first: StateStore, *, processes: int, slots: int, tasks: int
) -> Race:
    """Let processes race for tasks; every task must have got exactly one of them.

    Raises:
        PercydError: a process failed, a task was claimed twice or by nobody, or the
            remote says something else than the winners.
    """
    agents = [agent_of(n) for n in range(processes)]
    join(first, *agents)
    take_in(first, ground.base, free_tasks("p", tasks))
    jobs = [_job(ground, agent, slots) for agent in agents]
    with children(
        "percyd.bench.claimer",
        jobs,
        folder=ground.folder,
        environ=ground.environ,
        clock=ground.clock,
        deadline_s=DEADLINE_S,
    ) as group:
        started_s = group.release()
        found = Race(group.hear_each(), started_s)
    _check(first, found, min(tasks, processes * slots))
    ground.check()
    return found


def _job(ground: Ground, agent: Agent, slots: int) -> Json:
    return {
        "folder": str(ground.folder),
        "hub": agent.id,
        "agent": agent.id,
        "slots": slots,
    }


def _check(store: StateStore, found: Race, tasks: int) -> None:
    held = {
        task.id: task.assigned_to or ""
        for task in store.refresh().snapshot.tasks()
        if task.status is TaskStatus.ASSIGNED
    }
    if sum(found.wins) != tasks or found.holders != held or len(held) != tasks:
        raise PercydError(
            f"{tasks} tasks, {sum(found.wins)} claims that won, {len(held)} held"
        )
    for result in found.results:
        if any(found.holders[task] != agent for task, agent in result["told"].items()):
            raise PercydError(f"{result['agent']} was told a wrong holder")


def measure(lab: Lab) -> list[Row]:
    """All tasks for all processes, each with some free slots."""
    processes, slots = lab.scale.processes, lab.scale.slots
    tasks = processes * slots
    samples: list[Sample] = []
    races: list[Race] = []
    for number in range(lab.scale.rounds):
        lab.say(f"claims: race {number + 1} of {lab.scale.rounds}")
        with lab.ground() as (ground, first):
            raw = lab.raw.run(tasks // 2)
            races.append(
                race(ground, first, processes=processes, slots=slots, tasks=tasks)
            )
            raw += lab.raw.run(tasks - tasks // 2)
            samples.append(Sample(races[-1].last_claim_ms, sum(raw)))
    case = f"{processes} processes, {slots} slots each"
    row = Row(case, f"{tasks} claims", f"{tasks} raw pushes", samples)
    target = Target("times raw pushes", row.times_raw.median, AT_MOST)
    return [Row(case, row.unit, row.raw_unit, samples, target, _facts(races))]


def measure_one(lab: Lab) -> list[Row]:
    """One task for everybody."""
    processes = lab.scale.crowd
    samples: list[Sample] = []
    races: list[Race] = []
    for number in range(lab.scale.crowd_rounds):
        lab.say(f"one-task: race {number + 1} of {lab.scale.crowd_rounds}")
        with lab.ground() as (ground, first):
            raw = lab.raw_ms()
            races.append(race(ground, first, processes=processes, slots=1, tasks=1))
            raw += lab.raw_ms()
            samples.append(beside(races[-1].last_answer_ms, raw))
    told = sum(len(result["told"]) == 1 for r in races for result in r.results)
    facts = {**_facts(races), "told_the_winner": told / len(races)}
    case = f"{processes} processes, one task"
    return [Row(case, "until all are answered", "one raw push", samples, None, facts)]


def _facts(races: Sequence[Race]) -> dict[str, float]:
    """Counts as means of a race; times as means of a process."""
    processes = len(races[0].results)
    names = sorted({name for r in races for res in r.results for name in res["facts"]})
    facts = {
        name: sum(race.total(name) for race in races)
        / len(races)
        / (processes if name.endswith("_ms") else 1)
        for name in names
    }
    return {
        "won_least": min(min(race.wins) for race in races),
        "won_most": max(max(race.wins) for race in races),
        "first_claim_ms": sum(race.first_claim_ms for race in races) / len(races),
        "lost": 0.0,
        **facts,
    }
