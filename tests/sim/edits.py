"""Edits of a plan's document that somebody may commit while the plan is at work."""

from __future__ import annotations

from random import Random

from percyd.core.edges import CLOSED
from percyd.core.ids import full_id, short_of
from percyd.core.operations.base import Stamp
from percyd.core.operations.reconcile import Reconcile, Version
from percyd.core.records import Task
from percyd.core.snapshot import PlanState, SourceFile


def an_edit(state: PlanState, stamp: Stamp, random: Random) -> Reconcile | None:
    """Another version of an open plan: a task more, one less, one changed; by chance."""
    record = state.record
    if record.status in CLOSED:
        return None
    was = sorted(
        (task for task in state.tasks.values() if task.type != "land"),
        key=lambda task: task.id,
    )
    tasks = list(was)
    if len(tasks) > 1 and random.random() < 0.5:
        gone = random.choice(tasks)
        tasks = [_without(task, gone.id) for task in tasks if task.id != gone.id]
    if random.random() < 0.5:
        tasks.append(_added(tasks, stamp, random))
    place = random.randrange(len(tasks))
    tasks[place] = tasks[place].model_copy(update={"priority": random.randint(-9, 9)})
    version = stamp.op_id[-12:]
    source = record.source.model_copy(update={"blob": version})
    return Reconcile(
        stamp,
        Version(record, tuple(was)),
        Version(record.model_copy(update={"source": source}), tuple(tasks)),
        SourceFile(record.id, "yaml", version.encode()),
    )


def _without(task: Task, gone: str) -> Task:
    needs = tuple(name for name in task.depends_on if name != gone)
    return task.model_copy(update={"depends_on": needs})


def _added(tasks: list[Task], stamp: Stamp, random: Random) -> Task:
    """A copy of a task under a new id, behind another or none."""
    after = random.sample(tasks, random.randint(0, 1))
    like = random.choice(tasks)
    number = sum(short_of(task.id).startswith("new") for task in tasks)
    return Task(
        id=full_id(like.plan, f"new{number}-{stamp.op_id[-8:]}"),
        plan=like.plan,
        title="Added",
        run=like.run,
        runner=like.runner,
        depends_on=tuple(task.id for task in after),
        verify=like.verify,
        timeout_s=like.timeout_s,
        max_attempts=like.max_attempts,
        review=like.review,
        allow_empty=like.allow_empty,
        status="submitted",
    )
