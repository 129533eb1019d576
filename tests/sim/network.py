"""The remote, and a network between it and its clones that does what networks do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from percyd.core.ids import AGENT_REFS, STATE_REF
from percyd.core.refs import Oid, RefMove
from percyd.errors import RemoteUnreachable
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.memory import MemoryBackend, MemoryRemote
from tests.sim.scheduler import Machine, Scheduler

#: One way through the network; now and then it takes much longer. Seconds.
LATENCY_S = (0.002, 0.03)
SLOW_S = (0.5, 4.0)
#: How long somebody waits for an answer that does not come.
PATIENCE_S = 1.0
#: What a push may meet, beside its own way.
PUSH_FAULTS = (
    "lost",
    "late",
    "unanswered",
    "refused",
    "remote_fault",
    "stuck",
    "slow",
)


@dataclass
class Network:
    """Faults are switched on and off while a run goes on."""

    scheduler: Scheduler
    random: Random
    remote: MemoryRemote
    machine: Machine = field(default_factory=lambda: Machine("remote"))
    #: How likely one push meets one of the ``faults``.
    rate: float = 0.0
    faults: tuple[str, ...] = ()
    cut_off: set[Machine] = field(default_factory=set)
    #: When each heartbeat was last moved, and how many pushes are still under way.
    beaten_s: dict[str, float] = field(default_factory=dict)
    late: int = 0
    under_way: list[Machine] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def travel(self, machine: Machine) -> None:
        """One way through the network."""
        if machine in self.cut_off:
            self.scheduler.pause(None, PATIENCE_S)
            raise RemoteUnreachable("cut off")
        self.scheduler.pause(None, self.random.uniform(*LATENCY_S))

    def push(
        self, machine: Machine, moves: Sequence[RefMove], deadline_s: float
    ) -> PushReport:
        """What a push comes to, with whatever happens on its way."""
        self.under_way.append(machine)
        try:
            return self._push(machine, moves, deadline_s)
        finally:
            self.under_way.remove(machine)

    def _push(
        self, machine: Machine, moves: Sequence[RefMove], deadline_s: float
    ) -> PushReport:
        fault = ""
        if machine in self.cut_off:
            fault = "lost"
        elif self.rate and self.random.random() < self.rate:
            fault = self.random.choice(self.faults)
        if fault:
            self._say(f"{machine.name}: push meets {fault}")
        match fault:
            case "lost":
                return self._no_answer(moves, deadline_s)
            case "late":
                self.late += 1
                self.scheduler.spawn(self.machine, lambda: self._land(moves), "late")
                return self._no_answer(moves, deadline_s)
            case "unanswered":
                self.travel(machine)
                self.swap(moves)
                return self._no_answer(moves, deadline_s)
            case "refused":
                return _all(moves, PushOutcome.REFUSED, "pre-receive hook declined")
            case "remote_fault":
                return _all(moves, PushOutcome.REMOTE_FAULT, "unpacker error")
            case "stuck":
                return _all(moves, PushOutcome.CONFLICT, "cannot lock ref")
            case "slow":
                self.scheduler.pause(None, self.random.uniform(*SLOW_S))
            case _:
                self.scheduler.pause(None, self.random.uniform(*LATENCY_S))
        report = self.swap(moves)
        self.scheduler.pause(None, self.random.uniform(*LATENCY_S))
        return report

    def _land(self, moves: Sequence[RefMove]) -> None:
        self.scheduler.pause(None, self.random.uniform(0.1, 5.0))
        self.late -= 1
        self.swap(moves)

    def _no_answer(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        self.scheduler.pause(None, min(deadline_s, PATIENCE_S))
        return _all(moves, PushOutcome.UNKNOWN, "no answer")

    def swap(self, moves: Sequence[RefMove]) -> PushReport:
        """The remote's own compare-and-swap."""
        report = self.remote.swap(moves)
        for ref, found in report.refs.items():
            if ref.startswith(AGENT_REFS) and found.outcome is PushOutcome.APPLIED:
                self.beaten_s[ref] = self.scheduler.now
        return report

    def _say(self, line: str) -> None:
        self.log.append(f"{self.scheduler.now:8.3f} {line}")


def _all(moves: Iterable[RefMove], outcome: PushOutcome, text: str) -> PushReport:
    return PushReport({move.ref: RefReport(outcome, text) for move in moves})


class SimBackend(MemoryBackend):
    """One clone, at the other end of the network."""

    def __init__(self, network: Network, machine: Machine) -> None:
        super().__init__(network.remote)
        self._network = network
        self.machine = machine
        #: How long each heartbeat had been silent when this clone last looked.
        self.silent_s: dict[str, float] = {}

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid | None]:
        self._network.travel(self.machine)
        found = super().fetch_refs(refs)
        self._network.travel(self.machine)
        return found

    def list_refs(self, prefix: str) -> Mapping[str, Oid]:
        self._network.travel(self.machine)
        found = super().list_refs(prefix)
        now = self._network.scheduler.now
        self.silent_s = {r: now - s for r, s in self._network.beaten_s.items()}
        self._network.travel(self.machine)
        return found

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        return self._network.push(self.machine, moves, deadline_s)

    @property
    def state_tip(self) -> Oid:
        """Where the remote stands, as only the test may know it."""
        return self.remote.refs[STATE_REF]
