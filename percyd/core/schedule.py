"""Which ready task an agent should take, and why the others wait (DESIGN 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator
from dataclasses import dataclass

from percyd.core.budget import plan_used_up
from percyd.core.edges import RUNNABLE, AgentStatus, PlanStatus, TaskStatus
from percyd.core.ready import Kind, in_turn, kind_of, needs_rest
from percyd.core.records import Agent, Task
from percyd.core.snapshot import PlanState, Snapshot

_GLOB = "*?["


@dataclass(frozen=True, slots=True)
class Wait:
    """One reason why a task does not run: a code of CLI 2, and what it is about."""

    code: str
    what: str


def prefix(pattern: str) -> str:
    """The literal folder that a pattern is about, ``""`` for the whole tree.

    Up to the last ``/`` before the first glob character; a pattern without ``/``
    stands for the whole tree (FORMAT 3).
    """
    cut = min((pattern.find(c) for c in _GLOB if c in pattern), default=len(pattern))
    folder, slash, _ = pattern[:cut].rpartition("/")
    return folder.strip("/") + "/" if slash and folder.strip("/") else ""


def overlap(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    """Whether two reservations of paths could touch the same file."""
    return any(
        a.startswith(b) or b.startswith(a)
        for a in map(prefix, ours)
        for b in map(prefix, theirs)
    )


def suits(kind: Kind, agent: Agent) -> bool:
    """Whether an agent can run tasks of a kind: its capabilities and its runners.

    An empty ``specialization`` suits everyone; otherwise one capability in common is
    enough. A task of type ``plan`` needs a planning runner, which no agent of this
    version has, so that a prose plan waits.
    """
    if kind.plans:
        return False
    if kind.runner is not None and kind.runner not in agent.runners:
        return False
    wanted = set(kind.specialization)
    return not wanted or bool(wanted & set(agent.capabilities))


def plan_wait(state: PlanState) -> Wait | None:
    """Why nothing of this plan may be claimed."""
    plan = state.record
    if plan.status is PlanStatus.DRAFT:
        return Wait("draft", plan.id)
    if plan.paused is not None:
        return Wait("paused", plan.id)
    used_up = plan_used_up(state)
    return Wait("budget", used_up) if used_up else None


def unmet(snapshot: Snapshot, task: Task) -> list[str]:
    """The dependencies that are not completed."""
    return [
        name
        for name in task.depends_on
        if (other := snapshot.task(name)) is None
        or other.status is not TaskStatus.COMPLETED
    ]


def reservations_in_the_way(snapshot: Snapshot, task: Task) -> list[str]:
    """The held tasks, of any plan, whose paths overlap with the task's."""
    if not task.paths:
        return []
    return [
        held.id
        for held in snapshot.held_tasks()
        if held.id != task.id and overlap(task.paths, held.paths)
    ]


def waits(snapshot: Snapshot, task: Task) -> list[Wait]:
    """Every reason why a blocked or submitted task cannot be claimed now."""
    state = snapshot.plans[task.plan]
    found = [Wait("dependency", name) for name in unmet(snapshot, task)]
    held_back = plan_wait(state)
    if held_back:
        found.append(held_back)
    found += [Wait("paths", name) for name in reservations_in_the_way(snapshot, task)]
    nobody = no_agent(snapshot, kind_of(task))
    if nobody:
        found.append(nobody)
    return found


def no_agent(snapshot: Snapshot, kind: Kind) -> Wait | None:
    """The wait for an agent that suits tasks of a kind, if none has joined."""
    for agent in snapshot.agents.values():
        if agent.status is AgentStatus.JOINED and suits(kind, agent):
            return None
    if kind.plans:
        return Wait("no_agent", "an agent with a planning runner")
    needs = [" or ".join(kind.specialization)] if kind.specialization else []
    if kind.runner:
        needs.append(f"runner {kind.runner}")
    return Wait("no_agent", ", ".join(needs) or "any agent")


def without(agent: Agent, parked: Container[str]) -> Agent:
    """An agent that does not use some of its runners for now."""
    if not any(name in parked for name in agent.runners):
        return agent
    left = tuple(name for name in agent.runners if name not in parked)
    return agent.model_copy(update={"runners": left})


#: The requeued attempts that have rested long enough: (task, attempt).
Rested = Container[tuple[str, int]]


def pick(snapshot: Snapshot, agent: Agent, count: int, rested: Rested) -> list[Task]:
    """The best ready tasks for an agent's free slots, at most ``count``, best first.

    Priority, then the longest path that hangs on the task, then a hash of agent and
    task, so that two agents rarely want the same one. No two of them, and none and a
    held task, have overlapping reservations. A requeued task is left alone until its
    attempt is in ``rested``: one that this worker has not even seen is not.
    """
    reserved = [held.paths for held in snapshot.held_tasks() if held.paths]
    picked: list[Task] = []
    for task in _in_order(snapshot, agent):
        if len(picked) == count:
            break
        if needs_rest(task) and (task.id, task.attempt) not in rested:
            continue
        if any(overlap(task.paths, paths) for paths in reserved):
            continue
        if unmet(snapshot, task):
            continue
        picked.append(task)
        if task.paths:
            reserved.append(task.paths)
    return picked


def _in_order(snapshot: Snapshot, agent: Agent) -> Iterator[Task]:
    """The submitted tasks that suit an agent, best first, read only as far as needed."""
    queue = []
    for name, state in snapshot.plans.items():
        if state.record.status not in RUNNABLE or plan_wait(state) is not None:
            continue
        spread = hashlib.sha256(f"{agent.id} {name}".encode()).digest()
        for kind, rank, shards in state.ready.index.ranks():
            if suits(kind, agent):
                queue.append((rank, spread, kind, state, shards))
    for _, _, _, state, shards in sorted(queue, key=lambda row: row[:2]):
        for task_id in in_turn(shards, agent.id):
            yield state.tasks[task_id]
