"""A claim's life: taken, worked on, ended without a result."""

from __future__ import annotations

from dataclasses import dataclass, field

from percyd.core.budget import day_used_up
from percyd.core.edges import AgentStatus, Op, PlanStatus, TaskStatus
from percyd.core.ids import rescue_ref
from percyd.core.operations.base import (
    Answer,
    Decision,
    Fence,
    Stamp,
    Tips,
    move_plan,
    move_task,
    several,
    trailers_of,
)
from percyd.core.reasons import FINAL, Reason
from percyd.core.records import (
    Attempt,
    Budget,
    Outcome,
    Plan,
    Task,
    Usage,
    Verdict,
    Why,
)
from percyd.core.refs import Oid, RefMove
from percyd.core.schedule import Rested, pick, without
from percyd.core.snapshot import Snapshot
from percyd.core.words import counted
from percyd.errors import IllegalTransition

#: Outcomes that count towards ``max_attempts`` (S20).
COUNTED: frozenset[Outcome] = frozenset({"failed", "lost"})


@dataclass(frozen=True, slots=True)
class Claim:
    """The best ready tasks for an agent's free slots, as of the moment of deciding.

    One token is drawn per free slot. ``parked`` runners are not to be used for now;
    nothing is claimed once a ``daily`` budget is used up.
    """

    stamp: Stamp
    agent: str
    tokens: tuple[str, ...]
    rested: Rested = ()
    parked: tuple[str, ...] = ()
    daily: Budget | None = None
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None when nothing is ready for this agent."""
        agent = snapshot.agents.get(self.agent)
        if agent is None or agent.status is not AgentStatus.JOINED:
            raise IllegalTransition(f"agent {self.agent} has not joined")
        if self.daily and day_used_up(self.daily, snapshot, self.stamp.now):
            return None
        usable = without(agent, self.parked)
        picked = pick(snapshot, usable, len(self.tokens), self.rested)
        if not picked:
            return None
        tasks = [
            move_task(
                Op.CLAIM,
                task,
                TaskStatus.ASSIGNED,
                self.stamp,
                attempt=task.attempt + 1,
                assigned_to=self.agent,
                claim=token,
                base=None,
                reason=None,
            )
            for task, token in zip(picked, self.tokens, strict=False)
        ]
        plans = [
            move_plan(Op.CLAIM, record, PlanStatus.EXECUTING, self.stamp)
            for name in sorted({task.plan for task in tasks})
            if (record := snapshot.plans[name].record).status is PlanStatus.READY
        ]
        attempt = f", attempt {tasks[0].attempt}" if len(tasks) == 1 else ""
        return Decision(
            Op.CLAIM,
            f"{several(tasks)} by {self.agent}{attempt}",
            (*plans, *tasks),
            trailers=trailers_of(_only_plan(tasks), *tasks, agent=self.agent),
        )


def _only_plan(tasks: list[Task]) -> str | None:
    plans = {task.plan for task in tasks}
    return plans.pop() if len(plans) == 1 else None


@dataclass(frozen=True, slots=True)
class Work:
    """The claimed task's workspace is being made, from this commit."""

    stamp: Stamp
    fence: Fence
    base: Oid
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        task = self.fence.check(snapshot)
        if task.status is TaskStatus.WORKING:
            return None
        moved = move_task(
            Op.WORK,
            task,
            TaskStatus.WORKING,
            self.stamp,
            base=self.base,
        )
        return Decision(
            Op.WORK,
            f"{task.id} from {self.base[:10]}",
            (moved,),
            trailers=trailers_of(task.plan, moved, agent=task.assigned_to),
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended without a result, for its entry in ``attempts``."""

    outcome: Outcome
    reason: Why
    commit: Oid | None = None
    verdict: Verdict | None = None
    session: str | None = None
    summary: str | None = None
    usage: Usage | None = None

    @property
    def counts(self) -> bool:
        """Whether it counts as one of the task's attempts."""
        return self.outcome in COUNTED

    def exhausts(self, snapshot: Snapshot, task: Task) -> bool:
        """Whether no attempt is left after this one."""
        limits = snapshot.plans[task.plan].record.limits
        allowed = task.max_attempts or limits.max_attempts
        return self.counts and task.retries + 1 >= allowed


def end_attempt(
    op: Op,
    snapshot: Snapshot,
    task: Task,
    status: TaskStatus,
    ending: Ending,
    stamp: Stamp,
) -> list[Plan | Task]:
    """The records of a claim that ends: its entry is kept, its landing turn cleared."""
    reason = ending.reason
    if status is TaskStatus.FAILED and reason.code not in FINAL:
        failed = counted(task.retries + 1, "attempt")
        reason = Why(
            code=Reason.ATTEMPTS_EXHAUSTED,
            message=f"{failed} failed; the last: {reason.message}".strip(),
        )
    entry = Attempt(
        number=task.attempt,
        agent=task.assigned_to or "",
        claim=task.claim or "",
        outcome=ending.outcome,
        reason=ending.reason,
        commit=ending.commit,
        rescue=rescue_ref(task.id, task.attempt) if ending.commit else None,
        verdict=ending.verdict,
        session=ending.session,
        summary=ending.summary,
        usage=ending.usage,
    )
    ended = move_task(
        op,
        task,
        status,
        stamp,
        reason=reason,
        retries=task.retries + ending.counts,
        attempts=(*task.attempts, entry),
    )
    return [*clear_landing(snapshot, task, stamp), ended]


def clear_landing(snapshot: Snapshot, task: Task, stamp: Stamp) -> list[Plan]:
    """The plan without its landing turn, if the task's claim holds it."""
    plan = snapshot.plans[task.plan].record
    if plan.landing is None or plan.landing.claim != task.claim:
        return []
    return [plan.model_copy(update={"landing": None, "updated_at": stamp.time})]


@dataclass(frozen=True, slots=True)
class EndAttempt:
    """An attempt ends without a result: back to the queue, or failed for good.

    What the attempt made travels to its rescue ref in the same push.
    """

    stamp: Stamp
    fence: Fence
    ending: Ending
    needs: tuple[str, ...] = field(default=())

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        task = self.fence.check(snapshot)
        final = self.ending.reason.code in FINAL
        if final or self.ending.exhausts(snapshot, task):
            op, status = Op.FAIL, TaskStatus.FAILED
        else:
            op, status = Op.RELEASE, TaskStatus.SUBMITTED
        puts = end_attempt(op, snapshot, task, status, self.ending, self.stamp)
        return Decision(
            op,
            f"{task.id}, attempt {task.attempt}: {self.ending.reason.code}",
            tuple(puts),
            moves=self._rescue(task),
            trailers=trailers_of(task.plan, task, agent=task.assigned_to),
        )

    def _rescue(self, task: Task) -> tuple[RefMove, ...]:
        if self.ending.commit is None:
            return ()
        # Only this attempt writes there: work in progress may be on it already.
        ref = rescue_ref(task.id, task.attempt)
        return (RefMove(ref, None, self.ending.commit, forced=True),)
