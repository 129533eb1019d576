"""The branch's first commit, and agents that come and go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from percyd.core.edges import AgentStatus, Op, TaskStatus
from percyd.core.operations.base import (
    Answer,
    Decision,
    Stamp,
    Tips,
    move_agent,
    trailers_of,
)
from percyd.core.operations.claims import Ending, end_attempt
from percyd.core.reasons import Reason
from percyd.core.records import FORMAT, Agent, FormatMarker, Plan, Task, Why
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.core.words import counted
from percyd.errors import IllegalTransition, UnknownIdError


@dataclass(frozen=True, slots=True)
class Init:
    """The root of the state branch. Losing the race for it is success."""

    stamp: Stamp
    project: str
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        if snapshot.marker is not None:
            return None
        marker = FormatMarker(
            format=FORMAT, project=self.project, created_at=self.stamp.time
        )
        return Decision(Op.INIT, f"{self.project}, format {FORMAT}", (marker,))


@dataclass(frozen=True, slots=True)
class Join:
    """An agent says that it is there. Its id is new at every start."""

    stamp: Stamp
    agent: Agent
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        if self.agent.id in snapshot.agents:
            raise IllegalTransition(f"agent {self.agent.id} is there already")
        agent = self.agent.model_copy(update={"started_at": self.stamp.time})
        return Decision(
            Op.JOIN,
            f"{agent.id} with {counted(agent.slots, 'slot')}",
            (agent,),
            trailers=trailers_of(None, agent=agent.id),
        )


@dataclass(frozen=True, slots=True)
class Depart:
    """An agent leaves, or is known to be dead: it and all its claims in one commit.

    ``rescued`` names the work, by task and attempt, that is on rescue refs already.
    ``judged`` are the claims that an observer has seen in silence; with others, or with
    fewer, the agent has done something since, and is not lost (S14).
    """

    stamp: Stamp
    agent: str
    lost: bool = False
    message: str = ""
    rescued: Mapping[tuple[str, int], Oid] = field(default_factory=dict)
    judged: frozenset[str | None] | None = None
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. Lost attempts count as retries, released ones do not."""
        agent = snapshot.agents.get(self.agent)
        if agent is None:
            raise UnknownIdError(f"there is no agent {self.agent}")
        op, status = (
            (Op.LOST, AgentStatus.LOST) if self.lost else (Op.LEAVE, AgentStatus.LEFT)
        )
        if agent.status is not AgentStatus.JOINED:
            return None
        held = [t for t in snapshot.held_tasks() if t.assigned_to == self.agent]
        if self.judged is not None and {task.claim for task in held} != self.judged:
            return None
        code = Reason.AGENT_LOST if self.lost else Reason.RELEASED
        ending = Ending(
            outcome="lost" if self.lost else "released",
            reason=Why(code=code, message=self.message),
        )
        puts: list[Plan | Task] = []
        for task in sorted(held, key=lambda t: t.id):
            own = replace(ending, commit=self.rescued.get((task.id, task.attempt)))
            puts += self._let_go(snapshot.put(*puts), task, own, op)
        tasks = [entry for entry in puts if isinstance(entry, Task)]
        return Decision(
            op,
            f"{agent.id}" + (f", {counted(len(tasks), 'task')} back" if tasks else ""),
            (move_agent(op, agent, status), *puts),
            trailers=trailers_of(None, *tasks, agent=agent.id),
        )

    def _let_go(
        self, snapshot: Snapshot, task: Task, ending: Ending, op: Op
    ) -> list[Plan | Task]:
        target = TaskStatus.SUBMITTED
        if self.lost and ending.exhausts(snapshot, task):
            target = TaskStatus.FAILED
        return end_attempt(op, snapshot, task, target, ending, self.stamp)
