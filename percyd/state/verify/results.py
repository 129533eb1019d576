"""What the newest state says of the remote's refs (S8, S9)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from percyd.core.edges import TaskStatus
from percyd.core.ids import AGENT_BRANCHES, PLAN_REFS, plan_branch, short_ref
from percyd.core.records import Plan, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import PlanState, Snapshot
from percyd.repo.runner import Git
from percyd.state.codec import path_of
from percyd.state.verify.report import RemoteRefs, Violation

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_DEADLINE_S = 600

#: The commits of an integration branch, each with its parents.
Chain = Mapping[Oid, Sequence[Oid]]


@dataclass(frozen=True, slots=True)
class _Results:
    """The newest state, and the commits that completed its tasks."""

    git: Git
    tip: Oid
    completed: Mapping[str, Oid]
    whole: bool

    def tasks_of(self, state: PlanState) -> list[Task]:
        """The completed tasks that are to be judged and have a result in git."""
        return [
            task
            for _, task in sorted(state.tasks.items())
            if task.status is TaskStatus.COMPLETED
            and task.result is not None
            and task.result.commit is not None
            and (self.whole or task.id in self.completed)
        ]

    def violation(self, task: Task, path: str, what: str) -> Violation:
        """A violation in what a task's completion says."""
        return Violation(self.completed.get(task.id, self.tip), path, what)


def judge_results(
    git: Git,
    refs: RemoteRefs,
    snapshot: Snapshot,
    tip: Oid,
    completed: Mapping[str, Oid],
    *,
    whole: bool,
) -> Iterator[Violation]:
    """What is wrong with the refs of the plans that are live.

    Args:
        git: Where ``refs`` brings the objects.
        refs: The remote's.
        snapshot: The newest state.
        tip: Its commit.
        completed: The commits that completed tasks.
        whole: Judge all tasks that are completed, not only these.
    """
    results = _Results(git, tip, completed, whole)
    states = [
        state
        for _, state in sorted(snapshot.plans.items())
        if whole or results.tasks_of(state)
    ]
    if not states:
        return
    listed = refs.ls_remote(f"{PLAN_REFS}*", f"{AGENT_BRANCHES}*")
    branches = [plan_branch(state.record.id) for state in states]
    fetched = refs.fetch_refs([ref for ref in branches if ref in listed])
    for state in states:
        for task in results.tasks_of(state):
            yield from _judge_branch(results, task, listed)
        yield from _judge_plan(results, state, refs, fetched)


def _judge_branch(
    results: _Results, task: Task, listed: Mapping[str, Oid]
) -> Iterator[Violation]:
    """An agent's branch never moves; it may be gone once its work is merged."""
    if task.result is None or task.result.branch is None:
        return
    ref = f"refs/heads/{task.result.branch}"
    oid = listed.get(ref, task.result.commit)
    if oid != task.result.commit:
        what = f"is at {oid}, but {task.id} was completed with {task.result.commit}"
        yield results.violation(task, ref, what)


def _judge_plan(
    results: _Results,
    state: PlanState,
    refs: RemoteRefs,
    fetched: Mapping[str, Oid | None],
) -> Iterator[Violation]:
    plan = state.record
    ref = plan_branch(plan.id)
    tip = fetched.get(ref) or _landed(plan, refs)
    if tip is None:
        if plan.result is None or plan.result.landed_commit is None:
            yield Violation(results.tip, ref, "is not on the remote")
        return
    chain, problem = _chain(results.git, tip, plan.base_commit)
    if problem is not None:
        yield Violation(results.tip, ref, problem)
        return
    merges: dict[Oid, str] = {}
    for task in results.tasks_of(state):
        for what in _judge_merge(task, chain, merges, short_ref(ref)):
            yield results.violation(task, path_of(task), what)


def _landed(plan: Plan, refs: RemoteRefs) -> Oid | None:
    """Where a landed plan's work ends, if the branch is there that it landed in."""
    result = plan.result
    if result is None or result.landed_commit is None or not result.landed_into:
        return None
    into = f"refs/heads/{short_ref(result.landed_into)}"
    return result.landed_commit if refs.fetch_refs([into])[into] else None


def _chain(git: Git, tip: Oid, base: Oid) -> tuple[Chain, str | None]:
    """The first parents from the base up to ``tip``, or what is wrong with them."""
    if not _OID.fullmatch(base) or not _OID.fullmatch(tip):
        return {}, f"base_commit is {base}, which is no commit id"
    listing = git.run(
        *("rev-list", "--first-parent", "--parents", "--end-of-options", tip),
        f"^{base}",
        deadline_s=_DEADLINE_S,
        check=False,
    )
    if not listing.ok:
        return {}, f"its commits since {base} cannot be read"
    rows = [line.split() for line in listing.text.splitlines()]
    chain = {row[0]: row[1:] for row in rows}
    start = rows[-1][1] if rows and len(rows[-1]) > 1 else tip
    if start != base:
        return {}, f"does not start at base_commit {base}"
    return chain, None


def _judge_merge(
    task: Task, chain: Chain, merges: dict[Oid, str], branch: str
) -> Iterator[str]:
    result = task.result
    if result is None or result.integration_commit is None:
        return
    merge = result.integration_commit
    if merge not in chain:
        yield f"its merge {merge} is not on {branch}"
        return
    if result.commit not in chain[merge][1:]:
        yield f"its merge {merge} does not merge {result.commit}"
    other = merges.setdefault(merge, task.id)
    if other != task.id:
        yield f"shares the merge {merge} with {other}"
