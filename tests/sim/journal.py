"""What an outside observer of a run would know: calls, answers, programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from percyd.core.ids import heartbeat_ref
from percyd.core.operations.agents import Depart
from percyd.core.operations.base import Operation
from percyd.core.refs import Oid
from percyd.errors import OutcomeUnknown, PercydError
from percyd.state.store import StateStore
from percyd.state.tickets import Ticket
from tests.sim.network import Network, SimBackend
from tests.sim.scheduler import Machine

#: How soon a machine that was frozen finds out what it has missed. Seconds.
THAW_S = 1.0


@dataclass(slots=True)
class Call:
    """One operation that somebody asked for, and what they were told.

    ``after`` is how many answers anybody had got when the call was made.
    """

    operation: Operation
    machine: Machine
    after: int
    answer: str = "none"
    commit: Oid | None = None
    why: str = ""

    @property
    def op_id(self) -> str:
        """What identifies the operation, however often it is tried."""
        return self.operation.stamp.op_id


@dataclass(slots=True)
class Program:
    """One run of a task's program. ``ended_s`` None: it runs, or died with its host.

    ``excused``: percyd was frozen, and could not end it, or know better.
    """

    task: str
    attempt: int
    claim: str
    machine: Machine
    began_s: float
    ended_s: float | None = None
    excused: bool = False


@dataclass
class Journal:
    """Everything that was seen from outside."""

    network: Network
    calls: list[Call] = field(default_factory=list)
    answered: list[Call] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)
    #: The tasks whose gate ran, once for each run, and the trees that one has passed.
    gates: list[str] = field(default_factory=list)
    passed: set[Oid] = field(default_factory=set)
    #: The claims that a person has ended: their programs end once a worker has noticed.
    cancelled: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def say(self, problem: str) -> None:
        self.problems.append(f"{self.network.scheduler.now:.3f} s: {problem}")

    def began(self, program: Program) -> None:
        """A program starts: no other one may run for the same task (S15)."""
        now = self.network.scheduler.now
        # It was claimed before, and the freeze hid that the claim is gone.
        program.excused = 0 <= now - program.machine.frozen_until < THAW_S
        for other in self.programs:
            running = other.ended_s is None and not other.machine.is_off
            excused = self._is_excused(other) or self._is_excused(program)
            if running and other.task == program.task and not excused:
                self.say(f"{program.task} runs twice: {other} and {program}")
        self.programs.append(program)

    def _is_excused(self, program: Program) -> bool:
        return program.excused or program.claim in self.cancelled


class RecordingStore(StateStore):
    """The real store; whatever it is asked and answers is written down."""

    journal: Journal
    machine: Machine
    #: An agent may be called lost at once where its process is known to be gone.
    buries: str = ""

    def submit(self, operations: Sequence[Operation]) -> list[Ticket]:
        calls = [
            Call(operation, self.machine, len(self.journal.answered))
            for operation in operations
        ]
        self.journal.calls += calls
        for operation in operations:
            if isinstance(operation, Depart) and operation.lost:
                self._must_be_silent(operation.agent)
        tickets = super().submit(operations)
        for call, ticket in zip(calls, tickets, strict=True):
            self._note(call, ticket)
        return tickets

    def _note(self, call: Call, ticket: Ticket) -> None:
        try:
            call.commit = ticket.result().commit
        except OutcomeUnknown as error:
            call.answer, call.why = "unknown", str(error)
        except PercydError as error:
            call.answer, call.why = "refused", str(error)
        else:
            call.answer = "ok"
            self.journal.answered.append(call)

    def _must_be_silent(self, agent_id: str) -> None:
        """Nobody is called lost before a full lease of silence (S14)."""
        snapshot = self.state.snapshot
        agent = snapshot.agents.get(agent_id)
        if agent is None or agent_id == self.buries:
            return
        assert isinstance(self.backend, SimBackend)
        silent_s = self.backend.silent_s.get(heartbeat_ref(agent_id), 0.0)
        if silent_s < agent.lease_s - 1e-6:  # seconds are floats
            self.journal.say(f"{agent_id} is called lost after {silent_s:.2f} s")
