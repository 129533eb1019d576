"""Plans, tasks and agents for benchmarks, of a usual size."""

from __future__ import annotations

import os
from collections.abc import Sequence

from percyd import __version__
from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.ids import agent_id, full_id
from percyd.core.operations.agents import Join
from percyd.core.operations.base import Fence
from percyd.core.operations.claims import Claim
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Agent, Plan, Source, Task
from percyd.core.refs import Oid
from percyd.state.store import StateStore
from percyd.state.tickets import Ticket

_WORDS = "Read what is there, change what has to change, and say what was done. "


def agent_of(number: int, *capabilities: str) -> Agent:
    """The card of an agent."""
    return Agent(
        id=agent_id("bench", f"{number:06x}"),
        name="bench",
        host="bench",
        pid=os.getpid(),
        version=__version__,
        capabilities=capabilities,
        slots=4,
    )


def answered(tickets: Sequence[Ticket]) -> None:
    """Raise what was refused, if anything was."""
    for ticket in tickets:
        ticket.result()


def join(store: StateStore, *agents: Agent) -> None:
    """Let agents join, in one push."""
    answered(store.submit([Join(store.stamp(), agent) for agent in agents]))


def plan_of(name: str, base: Oid) -> Plan:
    """A plan without a gate."""
    return Plan(
        id=name,
        title=f"Plan {name}",
        description=_WORDS,
        status=PlanStatus.READY,
        base_branch="main",
        base_commit=base,
        source=Source(kind="cli", path=f"{name}.yaml", blob=name),
    )


def task_of(plan: str, short: str, *after: str, wants: tuple[str, ...] = ()) -> Task:
    """A task of a plan, behind others of the same plan."""
    return Task(
        id=full_id(plan, short),
        plan=plan,
        title=f"Do {short}",
        description=_WORDS * 3,
        run="true",
        specialization=wants,
        depends_on=tuple(full_id(plan, name) for name in after),
        status=TaskStatus.BLOCKED if after else TaskStatus.SUBMITTED,
    )


def free_tasks(plan: str, count: int) -> tuple[Task, ...]:
    """Tasks that wait for nothing."""
    return tuple(task_of(plan, f"t{n}") for n in range(count))


def paired_tasks(plan: str, count: int) -> tuple[Task, ...]:
    """Tasks of which every second waits for the one before it."""
    return tuple(
        task_of(plan, f"t{n}", *([f"t{n - 1}"] if n % 2 else [])) for n in range(count)
    )


def take_in(store: StateStore, base: Oid, *plans: tuple[Task, ...]) -> None:
    """Take in plans with these tasks, in one push."""
    answered(
        store.submit(
            [
                TakeIn(store.stamp(), plan_of(tasks[0].plan, base), tasks)
                for tasks in plans
            ]
        )
    )


def claim_of(store: StateStore, agent: str, count: int = 1) -> Claim:
    """A claim for free slots."""
    tokens = tuple(store.token() for _ in range(count))
    return Claim(store.stamp(), agent, tokens)


def claim(store: StateStore, agent: str, count: int = 1) -> list[Task]:
    """Claim tasks; what it brought."""
    decision = store.apply(claim_of(store, agent, count)).decision
    return list(decision.tasks) if decision else []


def fence(task: Task) -> Fence:
    """The fencing token of a claimed task."""
    return Fence(task.id, task.attempt, task.claim or "")
