"""What the newest state says of the remote's refs (S8, S9).

The refs are looked at after the state was, and a fleet does not wait: what they hold
that this state does not know is a violation only if a state that was read after them
does not know it either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.ids import (
    AGENT_BRANCHES,
    PLAN_REFS,
    RESCUE_REFS,
    STATE_REF,
    plan_branch,
    plan_of,
    short_ref,
)
from percyd.core.records import Attempt, Plan, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import PlanState, Snapshot
from percyd.repo.reader import ObjectReader
from percyd.state.codec import path_of
from percyd.state.verify.branches import Line, follow
from percyd.state.verify.commits import WHO
from percyd.state.verify.report import RemoteRefs, Violation

#: The commits that did something to attempts, by task and number, oldest first.
Commits = Mapping[tuple[str, int], Oid]

#: Of more foreign commits on one branch only the first are told one by one.
_SHOWN = 20
#: The base of any other task may be from before its dependencies were edited.
_BOUND = frozenset(
    {TaskStatus.WORKING, TaskStatus.INPUT_REQUIRED}
    | {TaskStatus.COMPLETED, TaskStatus.FAILED}
)


@dataclass(frozen=True)
class NewestState:
    """The state that is held against the refs.

    Attributes:
        tip: Its commit.
        snapshot: Its records.
        begins: The commits that gave attempts their base, of those walked over.
        ends: The commits that ended attempts, of those walked over.
        whole: Judge everything, not only what these commits have ended.
        records_at: The records at another commit, if they can be read.
    """

    tip: Oid
    snapshot: Snapshot
    begins: Commits
    ends: Commits
    whole: bool
    records_at: Callable[[Oid], Snapshot | None]

    def is_judged(self, task: Task, attempt: int) -> bool:
        """Whether an attempt that has ended is to be looked at."""
        return self.whole or (task.id, attempt) in self.ends

    def results_of(self, state: PlanState) -> list[Task]:
        """The completed tasks that are to be judged and have a result in git."""
        return [
            task
            for task in _completed(state)
            if task.result is not None
            and task.result.commit is not None
            and self.is_judged(task, task.attempt)
        ]

    def violation(self, task: Task, number: int, path: str, what: str) -> Violation:
        """A violation in what an attempt's end says."""
        return Violation(self.ends.get((task.id, number), self.tip), path, what)


def judge_results(
    reader: ObjectReader, refs: RemoteRefs, newest: NewestState
) -> Iterator[Violation]:
    """What is wrong with the refs of the plans that are live.

    Args:
        reader: Reads the objects where ``refs`` brings them.
        refs: The remote's.
        newest: The state.
    """
    yield from _Judge(reader, refs, newest).judge()


class _Judge:
    """One look at the refs."""

    def __init__(
        self, reader: ObjectReader, refs: RemoteRefs, newest: NewestState
    ) -> None:
        self._reader = reader
        self._refs = refs
        self._newest = newest
        self._listed: Mapping[str, Oid] = {}

    @cached_property
    def _later(self) -> Snapshot:
        """The records of a state that is no older than the refs."""
        newest = self._newest
        tip = self._refs.fetch_refs([STATE_REF])[STATE_REF]
        found = newest.records_at(tip) if tip not in (None, newest.tip) else None
        return found or newest.snapshot

    def judge(self) -> Iterator[Violation]:
        """Every violation."""
        newest = self._newest
        moved = {plan_of(name) for name, _ in (*newest.begins, *newest.ends)}
        states = [
            state
            for name, state in sorted(newest.snapshot.plans.items())
            if newest.whole or name in moved
        ]
        if not states and not newest.whole:
            return
        patterns = (PLAN_REFS, AGENT_BRANCHES, RESCUE_REFS)
        self._listed = self._refs.ls_remote(*(f"{prefix}*" for prefix in patterns))
        lines = self._lines(states)
        follow(self._reader, [line for line in lines if line is not None])
        for state, line in zip(states, lines, strict=True):
            for task in newest.results_of(state):
                yield from self._judge_branch(task)
            for _, task in sorted(state.tasks.items()):
                yield from self._judge_rescues(task)
            yield from self._judge_plan(state, line)
        if newest.whole:
            yield from self._judge_strays()

    def _lines(self, states: list[PlanState]) -> list[Line | None]:
        """Where the work of each plan is; None where it is nowhere."""
        wanted = [_where(state.record, self._listed) for state in states]
        fetched = self._refs.fetch_refs(sorted({ref for ref in wanted if ref}))
        lines: list[Line | None] = []
        for state, ref in zip(states, wanted, strict=True):
            plan = state.record
            tip = fetched.get(ref) if ref else None
            if tip is not None and ref != plan_branch(plan.id) and plan.result:
                # The base branch may have got there by a merge of somebody's.
                tip = plan.result.commit or plan.result.landed_commit
            merges = len(_completed(state))
            lines.append(Line(tip, plan.base_commit, merges) if tip else None)
        return lines

    def _judge_branch(self, task: Task) -> Iterator[Violation]:
        """An agent's branch never moves; it may be gone once its work is merged."""
        if task.result is None or task.result.branch is None:
            return
        ref = f"refs/heads/{task.result.branch}"
        oid = self._listed.get(ref, task.result.commit)
        if oid != task.result.commit:
            what = f"is at {oid}, but {task.id} was completed with {task.result.commit}"
            yield self._newest.violation(task, task.attempt, ref, what)

    def _judge_rescues(self, task: Task) -> Iterator[Violation]:
        """What an attempt left is the only copy, and nothing removes it."""
        for entry in task.attempts:
            what = self._rescue_problem(entry)
            if what and self._newest.is_judged(task, entry.number):
                path = entry.rescue or path_of(task)
                yield self._newest.violation(task, entry.number, path, what)

    def _rescue_problem(self, entry: Attempt) -> str | None:
        if entry.rescue is None:
            return None
        oid = self._listed.get(entry.rescue)
        if oid is None:
            return f"is not on the remote; attempt {entry.number} left {entry.commit}"
        if oid != entry.commit:
            return f"is at {oid}, but attempt {entry.number} left {entry.commit}"
        return None

    def _judge_plan(self, state: PlanState, line: Line | None) -> Iterator[Violation]:
        newest, plan = self._newest, state.record
        ref = plan_branch(plan.id)
        if line is None:
            if plan.result is None or plan.result.landed_commit is None:
                yield Violation(newest.tip, ref, "is not on the remote")
            return
        if line.problem is not None:
            yield Violation(newest.tip, ref, line.problem)
            return
        for what in (*self._foreign(state, line), *_misplaced_result(state, line)):
            yield Violation(newest.tip, ref, what)
        judged = newest.results_of(state)
        owners: dict[Oid, str] = {}
        for task in judged:
            for what in _judge_merge(task, line, owners, short_ref(ref)):
                yield newest.violation(task, task.attempt, path_of(task), what)
        yield from self._judge_bases(state, line, short_ref(ref))
        yield from self._disordered(judged, line, ref)

    def _judge_bases(
        self, state: PlanState, line: Line, branch: str
    ) -> Iterator[Violation]:
        """Work starts from what its dependencies have left."""
        newest, places = self._newest, line.places
        for _, task in sorted(state.tasks.items()):
            begun = newest.begins.get((task.id, task.attempt))
            is_judged = newest.whole or begun is not None
            if is_judged and task.base is not None and task.status in _BOUND:
                for what in _base_problems(task, task.base, state, places, branch):
                    yield Violation(begun or newest.tip, path_of(task), what)

    def _foreign(self, state: PlanState, line: Line) -> Iterator[str]:
        """The commits that nobody knows of."""
        known = _merges(state)
        foreign = [oid for oid in line.commits if oid not in known]
        later = self._later.plan(state.record.id) if foreign else None
        if later is not None:
            known = _merges(later)
            foreign = [oid for oid in foreign if oid not in known]
        for oid in foreign[:_SHOWN]:
            yield f"has {oid}, which is no completed task's merge"
        if len(foreign) > _SHOWN:
            yield f"has {len(foreign) - _SHOWN} more commits that are no task's merge"

    def _disordered(
        self, judged: list[Task], line: Line, ref: str
    ) -> Iterator[Violation]:
        """One push lands and completes, so that both have the same order."""
        places, tasks = line.places, {task.id: task for task in judged}
        landed = [
            task
            for name, number in self._newest.ends
            if (task := tasks.get(name)) is not None
            and task.attempt == number
            and _merge_of(task) in places
        ]
        for one, next_one in pairwise(landed):
            if places[_merge_of(one)] > places[_merge_of(next_one)]:
                what = f"has {next_one.id} before {one.id}, which was completed first"
                yield self._newest.violation(next_one, next_one.attempt, ref, what)

    def _judge_strays(self) -> Iterator[Violation]:
        for ref in sorted(self._listed):
            if ref.startswith(PLAN_REFS):
                name = ref.removeprefix(PLAN_REFS)
                if not any(
                    name in known.plans or name in known.archived
                    for known in self._newest_and_later()
                ):
                    yield Violation(self._newest.tip, ref, "belongs to no plan")
            elif ref.startswith(AGENT_BRANCHES):
                yield from self._judge_stray_branch(ref)

    def _judge_stray_branch(self, ref: str) -> Iterator[Violation]:
        """A branch in the shape of percyd's, of a plan that is known, is percyd's."""
        agent, _, name = ref.removeprefix(AGENT_BRANCHES).partition("/")
        snapshot = self._newest.snapshot
        if plan_of(name) not in snapshot.plans or agent not in snapshot.agents:
            return
        for known in self._newest_and_later():
            task = known.task(name)
            gone = plan_of(name) not in known.plans
            if gone or (task and task.result and task.result.branch == short_ref(ref)):
                return
        yield Violation(self._newest.tip, ref, f"is no result of {name}")

    def _newest_and_later(self) -> Iterator[Snapshot]:
        """The later one is not even read if nobody asks for it."""
        yield self._newest.snapshot
        yield self._later


def _completed(state: PlanState) -> list[Task]:
    return [
        task
        for _, task in sorted(state.tasks.items())
        if task.status is TaskStatus.COMPLETED
    ]


def _merge_of(task: Task) -> Oid:
    result = task.result
    return (result.integration_commit if result else None) or ""


def _merges(state: PlanState) -> set[Oid]:
    return {_merge_of(task) for task in _completed(state)}


def _where(plan: Plan, listed: Mapping[str, Oid]) -> str | None:
    """The ref that has a plan's work: a landed plan's branch may be gone."""
    ref = plan_branch(plan.id)
    if ref in listed:
        return ref
    result = plan.result
    if result is None or result.landed_commit is None or not result.landed_into:
        return None
    return f"refs/heads/{short_ref(result.landed_into)}"


def _misplaced_result(state: PlanState, line: Line) -> Iterator[str]:
    """A plan that has ended ends with the newest of its merges, whatever is on top."""
    plan = state.record
    commit = plan.result.commit if plan.result else None
    if commit is None:
        if plan.status in (PlanStatus.DONE, PlanStatus.FAILED):
            yield f"is the branch of a plan that is {plan.status} and names no result"
        return
    merges = _merges(state)
    last = next((oid for oid in line.commits if oid in merges), line.base)
    places = line.places
    if places.get(commit, -1) < places[last]:
        yield f"does not end with {commit}, the result of the plan"


def _judge_merge(
    task: Task, line: Line, owners: dict[Oid, str], branch: str
) -> Iterator[str]:
    oid = _merge_of(task)
    if not oid or task.result is None:
        return
    merge = line.commits.get(oid)
    if merge is None:
        yield f"its merge {oid} is not on {branch}"
        return
    if merge.parents[1:] != (task.result.commit,):
        yield f"its merge {oid} does not merge {task.result.commit}, and only that"
    if merge.people != (WHO, WHO):
        yield f"its merge {oid} is by {' and '.join(merge.people)}, not {WHO}"
    if merge.tasks != (task.id,):
        yield f"its merge {oid} names {', '.join(merge.tasks) or 'no task'}"
    verdict = task.result.verdict
    if verdict is not None and verdict.tree not in (None, merge.tree):
        yield f"its merge {oid} has not the tree {verdict.tree} of its verdict"
    other = owners.setdefault(oid, task.id)
    if other != task.id:
        yield f"shares the merge {oid} with {other}"


def _base_problems(
    task: Task, base: Oid, state: PlanState, places: Mapping[Oid, int], branch: str
) -> Iterator[str]:
    if base not in places:
        yield f"its base {base} is not on {branch}"
        return
    for name in task.depends_on:
        needed = state.tasks.get(name)
        merge = _merge_of(needed) if needed is not None else ""
        if places.get(merge, 0) > places[base]:
            yield f"its base {base} does not have the work of {name}"
