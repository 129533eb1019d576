"""What ``status --json`` and ``GET /api/cluster/status`` answer (CLI 2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from percyd.core.edges import AgentStatus, PlanStatus
from percyd.core.records import Agent, Plan
from percyd.core.refs import Oid
from percyd.core.snapshot import PlanState, Snapshot
from percyd.views.show import need_plan
from percyd.views.times import as_text
from percyd.views.waiting import Dump, Waiting, as_json, summary, task_json


def cluster_status(
    tip: Oid,
    read_at: datetime,
    snapshot: Snapshot,
    plan: str | None = None,
    closed: bool = True,
    dump: Dump = as_json,
    seen: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All of a snapshot that people ask for, ready for JSON.

    ``plan_summary`` counts tasks, not plans: ``total`` is the number of tasks of the
    plans shown, next to one count for each task status. Agents are always those of
    the whole cluster, with their tasks of all plans.

    Args:
        tip: The commit that the snapshot is the state of.
        read_at: When the remote had this tip.
        snapshot: All state at ``tip``.
        plan: Show this plan only.
        closed: Show also plans that need nobody's attention any more: those that
            were cancelled or have landed.
        dump: Makes JSON of the records.
        seen: Seconds since agents were last seen to beat, where that is known.

    Raises:
        UnknownIdError: there is no such plan.
    """
    plans = _chosen(snapshot, plan, closed)
    tasks = [state.tasks[name] for state in plans for name in sorted(state.tasks)]
    waiting = Waiting(snapshot)
    return {
        "tip": tip,
        "read_at": as_text(read_at),
        "plans": [dump(state.record) for state in plans],
        "tasks": [task_json(task, waiting, dump) for task in tasks],
        "agents": agents_json(snapshot, seen),
        "plan_summary": summary(tasks),
    }


def _chosen(snapshot: Snapshot, plan: str | None, closed: bool) -> list[PlanState]:
    if plan is not None:
        return [need_plan(snapshot, plan)]
    return [
        snapshot.plans[name]
        for name in sorted(snapshot.plans)
        if closed or not is_settled(snapshot.plans[name].record)
    ]


def is_settled(plan: Plan) -> bool:
    """Whether nobody has to look at the plan any more: it was cancelled or landed."""
    landed = plan.result is not None and plan.result.landed_commit is not None
    return landed or plan.status is PlanStatus.CANCELLED


def agents_json(
    snapshot: Snapshot, seen: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """The agents' cards with liveness and tasks, by id.

    ``last_seen_s`` is null where it is not known from ``seen``: a heartbeat carries no
    time, so that only somebody who has watched it move knows when that was.
    """
    held: dict[str, list[str]] = {}
    for task in snapshot.held_tasks():
        held.setdefault(task.assigned_to or "", []).append(task.id)
    return [
        _agent_json(
            snapshot.agents[name], sorted(held.get(name, ())), (seen or {}).get(name)
        )
        for name in sorted(snapshot.agents)
    ]


def _agent_json(
    agent: Agent, tasks: list[str], last_seen_s: float | None
) -> dict[str, Any]:
    if agent.status is not AgentStatus.JOINED:
        liveness = "offline"
    else:
        liveness = "working" if tasks else "idle"
    extra = {"liveness": liveness, "tasks": tasks, "last_seen_s": last_seen_s}
    return {**agent.model_dump(mode="json"), **extra}
