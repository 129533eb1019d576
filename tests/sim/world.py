"""A whole run: plans, machines, what befalls them, and the peace afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from immutables import Map

from percyd.core.edges import CLOSED
from percyd.core.ids import STATE_REF
from percyd.core.operations.agents import Init
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Limits, Task
from percyd.state import reader
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.store import StateStore
from tests.sim.journal import Journal
from tests.sim.judge import judge
from tests.sim.network import PUSH_FAULTS, Network, SimBackend
from tests.sim.process import LEASE_S, Process, SeededRandomness, Surroundings
from tests.sim.scheduler import Machine, Scheduler, Stuck
from tests.support.state import FakeClock, plan, task

#: How long there is trouble, and how long the quiet afterwards may take. Seconds.
TROUBLE_S = (3.0, 9.0)
PEACE_S = 120.0
STEPS = 60_000
TROUBLES = ("crash", "freeze", "cut", "skew", "rewind", "push")


@dataclass
class World:
    """One seed's run."""

    seed: int
    random: Random = field(init=False)
    scheduler: Scheduler = field(init=False)
    network: Network = field(init=False)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.scheduler = Scheduler(self.random)
        self.network = Network(self.scheduler, self.random, MemoryRemote())
        self.journal = Journal(self.network)
        self._around = Surroundings(self.scheduler, self.random, self.journal)
        self._clones: list[SimBackend] = []
        self._processes: list[Process] = []
        self._peace = False
        self._down: list[int] = []

    def run(self) -> list[str]:
        """Every violation that the run has shown; [] if there is none."""
        self._take_in()
        for number in range(self.random.choice((1, 2, 2, 3))):
            machine = Machine(f"host{number}")
            clone = SimBackend(self.network, machine)
            self._clones.append(clone)
            self._start(clone)
        nobody = Machine("nemesis")
        self.scheduler.spawn(nobody, self._nemesis, "nemesis")
        try:
            self.scheduler.run(self._is_quiet, PEACE_S, STEPS)
        except Stuck as stuck:
            self.journal.say(f"{stuck}: {self._open_tasks()}")
        finally:
            self.scheduler.close()
        return [*self.journal.problems, *judge(self.network.remote, self.journal)]

    # The plans

    def _take_in(self) -> None:
        """The state before the first process starts."""
        remote = self.network.remote
        clock = FakeClock()
        randomness = SeededRandomness(self.random)
        store = StateStore(MemoryBackend(remote), clock, randomness)
        base = remote.commit([], Map({"README": b"hello"}), "base")
        store.apply(Init(store.stamp(), "shop"))
        for number in range(self.random.choice((1, 1, 2))):
            name = f"p{number}"
            record = plan(name, base, limits=Limits(backoff_s=0.3, max_attempts=3))
            store.apply(TakeIn(store.stamp(), record, self._tasks(name)))

    def _tasks(self, name: str) -> tuple[Task, ...]:
        random = self.random
        gated = random.random() < 0.5
        names = "abcd"[: random.randint(1, 4)]
        tasks = []
        for position, short in enumerate(names):
            after = [n for n in names[:position] if random.random() < 0.4]
            title = f"{short} meddles" if random.random() < 0.1 else short
            gate = {"verify": "check"} if gated else {}
            tasks.append(task(name, short, *after, title=title, **gate))
        return tuple(tasks)

    # The machines

    def _start(self, clone: SimBackend, buries: str = "") -> None:
        slots = self.random.choice((1, 2))
        process = Process(self._around, clone, slots, buries)
        self._processes.append(process)
        self.scheduler.spawn(process.machine, process.main, "main")

    def _process_on(self, clone: SimBackend) -> Process:
        return next(p for p in reversed(self._processes) if p.clone is clone)

    # What befalls them

    def _nemesis(self) -> None:
        random = self.random
        troubles = [kind for kind in TROUBLES if random.random() < 0.5]
        end = self.scheduler.now + random.uniform(*TROUBLE_S)
        self.network.faults = tuple(f for f in PUSH_FAULTS if random.random() < 0.5)
        while troubles and self.scheduler.now < end:
            self._wait(random.uniform(0.05, 0.8))
            self._trouble(random.choice(troubles))
        self._make_peace()

    def _wait(self, seconds: float, ready: Callable[[], bool] | None = None) -> None:
        self.scheduler.pause(ready, seconds)

    def _trouble(self, kind: str) -> None:
        random = self.random
        clone = random.choice(self._clones)
        machine = clone.machine
        self.network.log.append(
            f"{self.scheduler.now:8.3f} {kind} on {machine.name}"
        )
        match kind:
            case "crash":
                self._crash(clone)
            case "freeze":
                seconds = random.choice((0.3, 1.5, LEASE_S * 1.5))
                machine.frozen_until = self.scheduler.now + seconds
                for program in self.journal.programs:
                    if program.machine is machine and program.ended_s is None:
                        program.excused = True
            case "cut":
                self.network.cut_off.symmetric_difference_update({machine})
            case "skew":
                machine.skew_s = random.choice((-86400.0, 0.0, 3600.0, 86400.0))
            case "rewind":
                self._rewind()
            case "push" if self.network.faults:
                self.network.rate = random.choice((0.0, 0.1, 0.3))

    def _crash(self, clone: SimBackend) -> None:
        """Power off, and on again: only what is on the clone's disk is left."""
        dead = self._process_on(clone)
        self.scheduler.switch_off(clone.machine)
        self._wait(self.random.uniform(0.0, 2.0))
        machine = Machine(clone.machine.name, skew_s=clone.machine.skew_s)
        if clone.machine in self.network.cut_off:
            self.network.cut_off.add(machine)
        clone.machine = machine
        agent = dead.member.agent.id if dead.member else ""
        buries = agent if self.random.random() < 0.5 else ""
        self._start(clone, buries)

    def _rewind(self) -> None:
        """Somebody puts an old backup back, and later mends it."""
        remote = self.network.remote
        known = [clone.adopted() for clone in self._clones]
        quiet = self.network.late == 0 and all(
            machine.is_off for machine in self.network.under_way
        )
        if None in known or not quiet:
            return
        good = remote.refs[STATE_REF]
        chain = [link.oid for link in self._clones[0].history(None, good)]
        eldest = min(chain.index(oid) for oid in known if oid in chain)
        if eldest == 0:
            return
        old = chain[self.random.randrange(eldest)]
        remote.refs[STATE_REF] = old
        self._wait(self.random.uniform(0.2, 3.0))
        if remote.refs[STATE_REF] != old:
            self.journal.say("a rewound branch was written to")
        remote.refs[STATE_REF] = good

    def _make_peace(self) -> None:
        self.network.rate = 0.0
        self.network.cut_off.clear()
        for clone in self._clones:
            clone.machine.frozen_until = 0.0
        self._peace = True

    def _is_quiet(self) -> bool:
        return self._peace and self.network.late == 0 and not self._open_tasks()

    def _open_tasks(self) -> list[str]:
        """What is not at its end yet; an open plan of ended tasks counts as well."""
        remote = self.network.remote
        tip = remote.refs[STATE_REF]
        if tip != self._looked_at:
            self._looked_at = tip
            snapshot = reader.read(MemoryBackend(remote), tip)
            self._left = [
                f"{name} is {state.record.status}: "
                + ", ".join(f"{t.id} {t.status}" for t in state.tasks.values())
                for name, state in snapshot.plans.items()
                if state.record.status not in CLOSED
            ]
        return self._left

    _looked_at: str = ""
    _left: list[str] = field(default_factory=list)


def run(seed: int) -> list[str]:
    """One seed's violations."""
    return World(seed).run()
