"""Which ready task an agent should take, and why the others wait (DESIGN 3)."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Container, Iterator
from dataclasses import dataclass

from percyd.core.edges import RUNNABLE, AgentStatus, PlanStatus, TaskStatus
from percyd.core.reasons import RETRIED
from percyd.core.records import Agent, Plan, Task
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


def suits(task: Task, agent: Agent) -> bool:
    """Whether the agent can run the task at all: its capabilities and its runners.

    An empty ``specialization`` suits everyone; otherwise one capability in common is
    enough. A task of type ``plan`` needs a planning runner, which no agent of this
    version has, so that a prose plan waits.
    """
    if task.type == "plan":
        return False
    if task.run is None and task.runner not in agent.runners:
        return False
    wanted = set(task.specialization)
    return not wanted or bool(wanted & set(agent.capabilities))


def plan_wait(plan: Plan) -> Wait | None:
    """Why nothing of this plan may be claimed."""
    if plan.status is PlanStatus.DRAFT:
        return Wait("draft", plan.id)
    if plan.paused is not None:
        return Wait("paused", plan.id)
    return None


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
    held_back = plan_wait(state.record)
    if held_back:
        found.append(held_back)
    found += [Wait("paths", name) for name in reservations_in_the_way(snapshot, task)]
    joined = [a for a in snapshot.agents.values() if a.status is AgentStatus.JOINED]
    if not any(suits(task, agent) for agent in joined):
        found.append(Wait("no_agent", _what_it_needs(task)))
    return found


def _what_it_needs(task: Task) -> str:
    if task.type == "plan":
        return "an agent with a planning runner"
    needs = []
    if task.specialization:
        needs.append(" or ".join(task.specialization))
    if task.run is None and task.runner:
        needs.append(f"runner {task.runner}")
    return ", ".join(needs) or "any agent"


def needs_rest(task: Task) -> bool:
    """Whether the task's last attempt failed, so that the next one has to wait.

    How long is `reasons.backoff_s`; each worker counts from when it saw the requeue,
    so that no clock is shared.
    """
    return (
        task.status is TaskStatus.SUBMITTED
        and task.retries > 0
        and task.reason is not None
        and task.reason.code in RETRIED
    )


#: The requeued attempts that have rested long enough: (task, attempt).
Rested = Container[tuple[str, int]]


def pick(snapshot: Snapshot, agent: Agent, count: int, rested: Rested) -> list[Task]:
    """The best ready tasks for an agent's free slots, at most ``count``, best first.

    Priority, then the longest path that hangs on the task, then a hash of agent and
    task, so that two agents rarely want the same one. No two of them, and none and a
    held task, have overlapping reservations. A requeued task is left alone until its
    attempt is in ``rested``: one that this worker has not even seen is not.
    """
    heap = [
        (_rank(state, task, agent), task)
        for state, task in _submitted(snapshot)
        if suits(task, agent)
        and not (needs_rest(task) and (task.id, task.attempt) not in rested)
        and not unmet(snapshot, task)
    ]
    heapq.heapify(heap)
    reserved = [held.paths for held in snapshot.held_tasks() if held.paths]
    picked: list[Task] = []
    while heap and len(picked) < count:
        _, task = heapq.heappop(heap)
        if any(overlap(task.paths, paths) for paths in reserved):
            continue
        picked.append(task)
        if task.paths:
            reserved.append(task.paths)
    return picked


def _submitted(snapshot: Snapshot) -> Iterator[tuple[PlanState, Task]]:
    for state in snapshot.plans.values():
        if state.record.status in RUNNABLE and state.record.paused is None:
            for task_id in state.submitted:
                yield state, state.tasks[task_id]


def _rank(state: PlanState, task: Task, agent: Agent) -> tuple[int, int, bytes, str]:
    spread = hashlib.sha256(f"{agent.id} {task.id}".encode()).digest()
    return -task.priority, -state.shape.heights[task.id], spread, task.id
