"""What a task has changed: which two commits to compare, and what they are."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.core.edges import HELD, TaskStatus
from percyd.core.ids import plan_branch, short_ref
from percyd.core.records import Plan, Task, TaskResult
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import RefusedError, RemoteUnreachable
from percyd.repo.hub import Hub
from percyd.views import rescues
from percyd.views.show import need_task


@dataclass(frozen=True, slots=True)
class Change:
    """Two commits, and what the newer one is."""

    task: str
    attempt: int
    #: ``merge``: landed; ``rescue``: of an attempt that did not complete.
    kind: str
    ref: str
    base: Oid
    commit: Oid
    words: str


def find_change(hub: Hub, snapshot: Snapshot, task_id: str) -> Change:
    """What a task has changed, its commits here.

    Raises:
        UnknownIdError: there is no such task.
        RefusedError: it has changed nothing, or nothing that is still there.
        RemoteUnreachable: the commits are not here, and nobody answered.
    """
    task = need_task(snapshot, task_id)
    if task.status is TaskStatus.COMPLETED:
        return _landed(hub, snapshot.plans[task.plan].record, task)
    found = _kept(hub, snapshot, task.id)
    if not found:
        raise RefusedError(
            f"{task.id} is {task.status}, and nothing of it is on the remote",
            hint=f"see percyd task show {task.id}",
        )
    kept = found[-1]
    base = rescues.require_base(rescues.base_of(hub, snapshot, kept), kept)
    entry = rescues.entry_of(snapshot, kept)
    goes_on = task.status in HELD and task.attempt == kept.attempt
    how = "so far" if goes_on else entry.outcome if entry else "unknown"
    words = f"attempt {kept.attempt} at {task.id} ({how}), kept in {kept.ref}"
    return Change(task.id, kept.attempt, "rescue", kept.ref, base, kept.commit, words)


def _kept(hub: Hub, snapshot: Snapshot, task: str) -> list[rescues.Kept]:
    """What is kept of a task; while the remote is down, what this clone has seen."""
    try:
        return rescues.bring(hub, snapshot, rescues.on_remote(hub, task))
    except RemoteUnreachable:
        seen = [kept for kept in rescues.seen_before(hub) if kept.task == task]
        if not seen:
            raise
        return seen


def _landed(hub: Hub, plan: Plan, task: Task) -> Change:
    result = task.result or TaskResult()
    merge = result.integration_commit
    if merge is None:
        raise RefusedError(f"{task.id} is completed, and was to change nothing")
    landed_into = plan.result.landed_into if plan.result else None
    branches = [plan_branch(plan.id)]
    if landed_into:
        branches.append(f"refs/heads/{short_ref(landed_into)}")
    for branch in (None, *branches):
        if branch is not None:
            hub.fetch_refs([branch])
        base = hub.git.ref(f"{merge}^1^{{commit}}")
        if base is not None:
            words = f"{task.id}, as it was merged into {short_ref(branches[0])}"
            ref = branches[0]
            return Change(task.id, task.attempt, "merge", ref, base, merge, words)
    raise RefusedError(
        f"the merge {merge[:10]} of {task.id} is on none of "
        f"{' and '.join(map(short_ref, branches))}",
        hint="push back the branch from a clone that has it",
    )
