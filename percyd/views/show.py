"""One plan or one task, with everything about it."""

from __future__ import annotations

from typing import Any

from percyd.core.document.problems import escaped
from percyd.core.graph import nearest, topological
from percyd.core.ids import plan_of, short_of
from percyd.core.records import Task
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import UnknownIdError, UnknownPlan
from percyd.views.waiting import Waiting, summary, task_json


def plan_show(snapshot: Snapshot, plan: str) -> dict[str, Any]:
    """The plan's record, its ``tasks`` and a ``task_summary``.

    A task comes after those that it depends on, and has ``blocked_by`` and
    ``dependents``.

    Raises:
        UnknownIdError: there is no such plan.
    """
    state = need_plan(snapshot, plan)
    waiting = Waiting(snapshot)
    tasks = [_task_json(state, task, waiting) for task in _in_order(state)]
    return {**_plan_json(state), "tasks": tasks}


def task_show(snapshot: Snapshot, task: str) -> dict[str, Any]:
    """The task's record with ``blocked_by`` and ``dependents``.

    Raises:
        UnknownIdError: there is no such task.
    """
    record = need_task(snapshot, task)
    return _task_json(snapshot.plans[record.plan], record, Waiting(snapshot))


def need_plan(snapshot: Snapshot, plan: str) -> PlanState:
    """The live plan with this id.

    Raises:
        UnknownIdError: there is none; names the nearest id.
    """
    state = snapshot.plan(plan)
    if state is not None:
        return state
    if plan in snapshot.archived:
        raise UnknownIdError(
            f"plan {plan} is archived",
            hint=f"percyd plan show {plan} shows it, percyd plan rerun {plan} does it again",
        )
    error = _unknown("plan", plan, nearest(plan, snapshot.plans))
    raise UnknownPlan(error.message, plan, error.hint)


def need_task(snapshot: Snapshot, task: str) -> Task:
    """The task with this full id.

    Raises:
        UnknownIdError: there is none; names the nearest id.
    """
    record = snapshot.task(task)
    if record is not None:
        return record
    if plan_of(task) in snapshot.archived:
        need_plan(snapshot, plan_of(task))
    raise _unknown("task", task, _nearest_task(snapshot, task))


def _nearest_task(snapshot: Snapshot, task: str) -> str | None:
    names = sorted(each.id for each in snapshot.tasks())
    whole = next((name for name in names if short_of(name) == task), None)
    return whole or nearest(task, names)


def _unknown(kind: str, name: str, near: str | None) -> UnknownIdError:
    hint = f"did you mean {near}?" if near else f"percyd {kind} list shows them all"
    return UnknownIdError(f"there is no {kind} {escaped(name)}", hint=hint)


def _plan_json(state: PlanState) -> dict[str, Any]:
    counts = summary(state.tasks.values())
    return {**state.record.model_dump(mode="json"), "task_summary": counts}


def _task_json(state: PlanState, task: Task, waiting: Waiting) -> dict[str, Any]:
    dependents = sorted(state.shape.dependents.get(task.id, ()))
    return {**task_json(task, waiting), "dependents": dependents}


def _in_order(state: PlanState) -> list[Task]:
    """Dependencies first, else by id."""
    needs = {name: state.tasks[name].depends_on for name in sorted(state.tasks)}
    try:
        names = topological(needs)
    except ValueError:
        # Only a hand-made commit can close a circle; it must be possible to look at it.
        names = list(needs)
    return [state.tasks[name] for name in names]
