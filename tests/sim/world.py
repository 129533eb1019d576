"""A whole run: plans, machines, what befalls them, and the peace afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from immutables import Map

from percyd.core.edges import CLOSED
from percyd.core.ids import STATE_REF
from percyd.core.operations.agents import Init
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Limits, Task
from percyd.core.refs import Oid
from percyd.state import reader
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.store import StateStore
from tests.sim.journal import Journal
from tests.sim.judge import judge, unsettled
from tests.sim.network import PUSH_FAULTS, Network, SimBackend
from tests.sim.person import Person
from tests.sim.process import (
    LEASE_S,
    USUAL,
    Habits,
    Process,
    SeededRandomness,
    Surroundings,
)
from tests.sim.scheduler import Machine, Scheduler, Stuck
from tests.support.state import FakeClock, plan, task

#: How long there is trouble, and how long the quiet afterwards may take. Seconds.
TROUBLE_S = (3.0, 9.0)
PEACE_S = 120.0
STEPS = 60_000
#: How long one trouble lasts: unnoticed, long, and longer than a lease. Seconds.
DURATIONS_S = (0.3, 1.5, 1.5 * LEASE_S, 2 * LEASE_S)
#: How many runs have a person who steers, and the longest pause between two moves.
STEERED, STEER_S = 0.3, 2.0
#: The longest pause between two troubles: a storm, or one thing at a time. Seconds.
PACES_S = (0.5, 2.0, 5.0)
SKEWS_S = (-86400.0, 0.0, 3600.0, 86400.0)
TROUBLES = ("crash", "freeze", "cut", "skew", "rewind", "push")


@dataclass(frozen=True)
class Rewound:
    """The good tip of the state branch, and the old one that stands in its place."""

    good: Oid
    old: Oid


@dataclass
class World:
    """One seed's run.

    What a person does is drawn from a source of its own: without one, a seed gives the
    run that it gave before there were any.
    """

    seed: int
    habits: Habits = USUAL
    steered: bool = True
    random: Random = field(init=False)
    scheduler: Scheduler = field(init=False)
    network: Network = field(init=False)
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.scheduler = Scheduler(self.random)
        self.network = Network(self.scheduler, self.random, MemoryRemote())
        self.journal = Journal(self.network)
        self._moods = Random(f"{self.seed} person")
        self.person = Person(self.journal, self._moods)
        self._around = Surroundings(
            self.scheduler, self.random, self.journal, self.habits
        )
        self.clones: list[SimBackend] = []
        self._processes: list[Process] = []
        self._peace = False
        self._is_rewound = False
        self._nobody = Machine("nobody")
        self._operator = StateStore(
            MemoryBackend(self.network.remote),
            FakeClock(),
            SeededRandomness(self.random),
        )
        self._base = self.network.remote.commit([], Map({"README": b"hello"}), "base")
        self._operator.apply(Init(self._operator.stamp(), "shop"))

    def run(self) -> list[str]:
        """A run that the seed alone decides; every violation that it has shown."""
        for number in range(self.random.choice((1, 1, 2))):
            self.take_in(f"p{number}")
        self.set_up(self.random.choice((1, 2, 2, 3)))
        self.scheduler.spawn(self._nobody, self._nemesis, "nemesis")
        if self.steered and self._moods.random() < STEERED:
            self.scheduler.spawn(self._nobody, self._steer, "person")
        return self.finish()

    def set_up(self, machines: int, slots: int | None = None) -> None:
        """Machines with a clone and a process each."""
        for number in range(machines):
            clone = SimBackend(self.network, Machine(f"host{number}"))
            self.clones.append(clone)
            self.start(clone, slots=slots)

    def pass_time(self, seconds: float) -> None:
        """Let everybody run for so long."""
        end = self.scheduler.now + seconds
        self.scheduler.spawn(self._nobody, lambda: self._wait(seconds), "time")
        self.scheduler.run(lambda: self.scheduler.now >= end, seconds, 2 * STEPS)

    def finish(self) -> list[str]:
        """Run until everything is at its end; every violation there is then."""
        try:
            self.scheduler.run(self._is_quiet, PEACE_S, STEPS)
        except Stuck as stuck:
            self.journal.say(f"{stuck}: {self._open_plans()}")
        finally:
            self.scheduler.close()
        return [*self.violations(), *unsettled(self.network.remote)]

    def violations(self) -> list[str]:
        """Every violation so far, whatever is still under way."""
        return [*self.journal.problems, *judge(self.network.remote, self.journal)]

    # The plans

    def take_in(self, name: str, tasks: Sequence[Task] = ()) -> None:
        """A person hands in a plan; of a few tasks that the seed decides, if not told."""
        record = plan(name, self._base, limits=Limits(backoff_s=0.3, max_attempts=3))
        store = self._operator
        store.apply(TakeIn(store.stamp(), record, tuple(tasks) or self._tasks(name)))

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

    def start(
        self, clone: SimBackend, buries: str = "", slots: int | None = None
    ) -> None:
        """Start percyd on a clone."""
        slots = slots or self.random.choice((1, 2))
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
        pace_s = random.choice(PACES_S)
        self.network.faults = tuple(f for f in PUSH_FAULTS if random.random() < 0.5)
        while troubles and self.scheduler.now < end:
            self._wait(random.uniform(0.05, pace_s))
            self._trouble(random.choice(troubles))
        self.make_peace()

    def _steer(self) -> None:
        """A person, until there is peace. Nobody can act on a branch that was rewound."""
        pace_s = self._moods.choice((STEER_S / 5, STEER_S))
        while True:
            self._wait(self._moods.uniform(0.02, pace_s))
            if self._peace:
                return
            if not self._is_rewound:
                self.person.acts()

    def _wait(self, seconds: float, ready: Callable[[], bool] | None = None) -> None:
        self.scheduler.pause(ready, seconds)

    def _trouble(self, kind: str) -> None:
        random = self.random
        clone = random.choice(self.clones)
        machine = clone.machine
        self.network.log.append(f"{self.scheduler.now:8.3f} {kind} on {machine.name}")
        match kind:
            case "crash":
                dead = self.crash(clone)
                self._wait(random.uniform(0.0, 2.0))
                self.restart(clone, dead)
            case "freeze":
                self.freeze(clone, random.choice(DURATIONS_S))
            case "cut":
                self.cut(clone, random.choice(DURATIONS_S))
            case "skew":
                machine.skew_s = random.choice(SKEWS_S)
            case "rewind":
                good = self.rewind()
                self._wait(random.uniform(0.2, 3.0))
                self.mend(good)
            case "push" if self.network.faults:
                self.network.rate = random.choice((0.0, 0.1, 0.3))

    def crash(self, clone: SimBackend) -> str:
        """Power off; answers the agent that died."""
        process = self._process_on(clone)
        self.scheduler.switch_off(clone.machine)
        return process.member.agent.id if process.member else ""

    def restart(self, clone: SimBackend, dead: str) -> None:
        """Power on again: only what is on the clone's disk is left.

        Sometimes the disk shows that the old process is gone for certain.
        """
        old = clone.machine
        clone.machine = Machine(old.name, skew_s=old.skew_s)
        if old in self.network.cut_off:
            self.network.cut_off.add(clone.machine)
        self.start(clone, dead if self.random.random() < 0.5 else "")

    def cut(self, clone: SimBackend, seconds: float) -> None:
        """The machine does not reach the remote for a while."""
        machine = clone.machine
        self.network.cut_off.add(machine)

        def heal() -> None:
            self._wait(seconds)
            self.network.cut_off.discard(machine)
            self.network.cut_off.discard(clone.machine)

        self.scheduler.spawn(self._nobody, heal, "heal")

    def freeze(self, clone: SimBackend, seconds: float) -> None:
        """Nothing of percyd runs there for a while; the programs go on."""
        clone.machine.frozen_until = self.scheduler.now + seconds
        for program in self.journal.programs:
            if program.machine is clone.machine and program.ended_s is None:
                program.excused = True

    def rewind(self) -> Rewound | None:
        """Somebody puts an old backup of the state branch back.

        Only to where every clone can tell: one that never saw what came later
        cannot know of it. Nor can a push that is still under way.
        """
        remote = self.network.remote
        known = [clone.adopted() for clone in self.clones]
        quiet = self.network.late == 0 and all(
            machine.is_off for machine in self.network.under_way
        )
        if None in known or not quiet:
            return None
        good = remote.refs[STATE_REF]
        chain = [link.oid for link in self.clones[0].history(None, good)]
        if not set(known) <= set(chain):
            return None
        eldest = min(chain.index(oid) for oid in known if oid)
        if eldest == 0:
            return None
        old = chain[self.random.randrange(eldest)]
        remote.refs[STATE_REF] = old
        self._is_rewound = True
        return Rewound(good, old)

    def mend(self, rewound: Rewound | None) -> None:
        """Push the good tip back. Nobody may have built on the old one (S12)."""
        if rewound is None:
            return
        refs = self.network.remote.refs
        if refs[STATE_REF] != rewound.old:
            self.journal.say("a rewound branch was written to")
        refs[STATE_REF] = rewound.good
        self._is_rewound = False

    def make_peace(self) -> None:
        """No more trouble: from here on everything must come to its end."""
        self.network.rate = 0.0
        self._peace = True
        self.person.lets_go()

    def _is_quiet(self) -> bool:
        return self._peace and self.network.late == 0 and not self._open_plans()

    def _open_plans(self) -> list[str]:
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


def run(seed: int, *, steered: bool = True) -> list[str]:
    """One seed's violations."""
    return World(seed, steered=steered).run()
