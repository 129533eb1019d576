"""Claimed tasks taken to their end without any program: work, a result, complete."""

from __future__ import annotations

from percyd.bench.metered import MeteredBackend
from percyd.bench.records import fence
from percyd.core.ids import plan_branch, short_of, task_folder
from percyd.core.operations.claims import Work
from percyd.core.operations.completion import Complete, Report
from percyd.core.records import Task, Verdict
from percyd.core.refs import Oid
from percyd.errors import PercydError
from percyd.repo.values import NewCommit
from percyd.state.store import StateStore


def work_of(store: StateStore, task: Task) -> Work:
    """The task is begun, from the tip of its plan."""
    tip = store.tip_of(plan_branch(task.plan))
    if tip is None:
        raise PercydError(f"plan {task.plan} has no branch")
    return Work(store.stamp(), fence(task), tip)


def result_of(backend: MeteredBackend, work: Work) -> Oid:
    """A commit with one new file, as a program would leave it."""
    stamp = work.stamp
    new = NewCommit("done", stamp.now, {file_of(work.fence.task): b"done\n"})
    return backend.write(work.base, [new])[0]


def file_of(task_id: str) -> str:
    """Where a task leaves its result."""
    short = short_of(task_id)
    return f"done/{task_folder(short)}/{task_id}.txt"


def completion_of(store: StateStore, task: Task, commit: Oid) -> Complete:
    """The operation that completes a task, without a gate."""
    report = Report("did it", Verdict(status="none"))
    return Complete(store.stamp(), fence(task), commit, report)
