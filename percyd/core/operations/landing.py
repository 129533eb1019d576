"""A finished plan goes into its base branch, which only ever moves forward (DESIGN 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from percyd.core.edges import ENDED, Op, PlanStatus, TaskStatus
from percyd.core.ids import LAND_PATTERN, full_id, plan_branch, short_of, short_ref
from percyd.core.operations.base import (
    Answer,
    Decision,
    LineRequest,
    Stamp,
    Tips,
    move_plan,
    need_plan,
    several,
    trailers_of,
)
from percyd.core.operations.plans import is_closable, not_completed
from percyd.core.reasons import Reason
from percyd.core.records import Plan, PlanResult, Task
from percyd.core.refs import Oid, RefMove
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import BranchCheckedOut, IllegalTransition

_LAND = re.compile(LAND_PATTERN)


@dataclass(frozen=True, slots=True)
class Land:
    """A plan's result goes into its base branch, or a task is added that merges that.

    The base branch is fast-forwarded in the push that says so. If it has gone another
    way meanwhile, a task ``land-N`` merges it into the integration branch first and
    passes the gate like any other. A base branch that contains the result already, by
    whoever's doing, is only noted.

    Attributes:
        stamp: What was drawn beforehand.
        plan: The plan.
        base: The plan's base branch, its short name.
        may_move: False where the base branch is checked out in the repository that is
            its own remote: nobody's checkout is moved.
        by_itself: For a plan with ``land: auto``: what is not due is "already so".
    """

    stamp: Stamp
    plan: str
    base: str
    may_move: bool = True
    by_itself: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Operation`."""
        return (plan_branch(self.plan), self._ref)

    @property
    def _ref(self) -> str:
        return f"refs/heads/{self.base}"

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. None for a plan that has landed.

        Raises:
            IllegalTransition: the plan is not done, or one of the branches is gone.
            BranchCheckedOut: the base branch would have to move, and may not.
        """
        plan = need_plan(snapshot, self.plan)
        state = snapshot.plans[self.plan]
        if is_landed(plan):
            return None
        if self.by_itself and not (lands_when_closed(state) or is_due(plan)):
            return None
        if plan.status is not PlanStatus.DONE and not self.by_itself:
            raise not_done(state)
        branch = tips[plan_branch(self.plan)]
        commit = plan.result.commit if plan.result else branch
        if branch is None or commit is None:
            raise IllegalTransition(
                f"the integration branch percy/plan/{self.plan} is gone",
                hint="push it back from a clone that has it",
            )
        base = tips[self._ref]
        if base is None:
            raise IllegalTransition(
                f"the base branch {self.base} is not on the remote",
                hint="push it back; a plan lands on the branch that it started from",
            )
        return LineRequest(
            commit, base, lambda inside: self._place(state, commit, base, inside)
        )

    def _place(self, state: PlanState, commit: Oid, base: Oid, inside: bool) -> Answer:
        is_open = state.record.status is not PlanStatus.DONE
        if inside:
            return None if is_open else self._landed(state.record, base, base)
        if not _is_merge(state, commit):
            return self._merge_first(state, base, f"{commit[:10]} is no task's merge")
        return LineRequest(
            base, commit, lambda ahead: self._move(state, commit, base, ahead)
        )

    def _move(self, state: PlanState, commit: Oid, base: Oid, ahead: bool) -> Answer:
        if not ahead:
            return self._merge_first(state, base, f"{self.base} has moved")
        if state.record.status is not PlanStatus.DONE:
            return None
        if not self.may_move:
            branch = short_ref(plan_branch(self.plan))
            raise BranchCheckedOut(
                f"{self.base} is checked out here, and percyd moves nobody's checkout",
                hint=f"run: git merge --ff-only {branch}",
            )
        return self._landed(state.record, base, commit)

    def _landed(self, plan: Plan, base: Oid, commit: Oid) -> Decision:
        before = plan.result or PlanResult()
        result = before.model_copy(
            update={"landed_commit": commit, "landed_into": self.base}
        )
        landed = plan.model_copy(
            update={"result": result, "updated_at": self.stamp.time}
        )
        return Decision(
            Op.LAND,
            f"{plan.id} into {self.base} at {commit[:10]}",
            (landed,),
            (RefMove(self._ref, base, commit),),
            trailers_of(plan.id),
        )

    def _merge_first(self, state: PlanState, base: Oid, why: str) -> Decision:
        """A task for percyd itself; it counts on the base branch being where it is."""
        plan = state.record
        task = _land_task(state, self.stamp)
        plans = []
        if plan.status is PlanStatus.DONE:
            plans.append(
                move_plan(
                    Op.LAND,
                    plan,
                    PlanStatus.EXECUTING,
                    self.stamp,
                    reason=None,
                    result=None,
                )
            )
        return Decision(
            Op.LAND,
            f"{plan.id}: {why}, {task.id} merges",
            (*plans, task),
            (RefMove(self._ref, base, base),),
            trailers_of(plan.id, task),
        )


def is_landed(plan: Plan) -> bool:
    """Whether a plan has landed, and so is closed for good."""
    return plan.result is not None and plan.result.landed_commit is not None


def is_being_landed(state: PlanState) -> bool:
    """Whether a plan that was done is open only for the merge of its landing."""
    return any(
        task.type == "land"
        and task.status not in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        for task in state.tasks.values()
    )


def is_due(plan: Plan) -> bool:
    """Whether a plan that is done has to land by itself."""
    is_waiting = plan.status is PlanStatus.DONE and not is_landed(plan)
    return is_waiting and plan.land == "auto" and plan.paused is None


def lands_when_closed(state: PlanState) -> bool:
    """Whether a plan is about to be done, and then lands by itself."""
    plan = state.record
    lands = plan.land == "auto" and plan.paused is None
    return lands and is_closable(state) and not not_completed(state)


def not_done(state: PlanState) -> IllegalTransition:
    """Why a plan cannot land yet: what it is, and what is missing."""
    plan = state.record
    what = f"plan {plan.id} is {plan.status}, and only one that is done can land"
    open_ = [t for t in state.tasks.values() if t.status not in ENDED]
    if plan.status is PlanStatus.FAILED:
        why = plan.reason.message if plan.reason else ""
        return IllegalTransition(
            f"{what}: {why}".rstrip(": "), hint=_way_out(plan, not_completed(state))
        )
    if not open_:
        again = f"percyd plan rerun {plan.id} does it all again as a new plan"
        return IllegalTransition(what, hint=again)
    open_.sort(key=lambda task: task.id)
    return IllegalTransition(f"{what}; open: {several(open_)}")


def _way_out(plan: Plan, bad: list[Task]) -> str:
    """What a person can do about a plan that has failed."""
    if not bad:
        return ""
    again = f"percyd task retry {bad[0].id}"
    last = bad[0].attempts[-1].reason if bad[0].attempts else None
    if bad[0].type != "land" or last is None or last.code is not Reason.CONFLICT:
        return again
    return (
        f"merge percy/plan/{plan.id} into {plan.base_branch} by hand and push "
        f"{plan.base_branch}, then {again}"
    )


def _is_merge(state: PlanState, commit: Oid) -> bool:
    """Whether a commit is what a task has left, and not something pushed on top."""
    if commit == state.record.base_commit:
        return True
    return any(
        task.result is not None and task.result.integration_commit == commit
        for task in state.tasks.values()
        if task.status is TaskStatus.COMPLETED
    )


def next_landing(state: PlanState) -> str:
    """The id of the plan's next task ``land-N``."""
    shorts = (short_of(name) for name in state.tasks)
    numbers = [int(s.removeprefix("land-")) for s in shorts if _LAND.match(s)]
    return full_id(state.record.id, f"land-{1 + max(numbers, default=0)}")


def _land_task(state: PlanState, stamp: Stamp) -> Task:
    plan = state.record
    defaults, limits = plan.defaults, plan.limits
    return Task(
        id=next_landing(state),
        plan=plan.id,
        title=f"Merge {plan.base_branch} into percy/plan/{plan.id}"[:200],
        type="land",
        verify=plan.verify,
        timeout_s=(defaults.timeout_s if defaults else None) or limits.timeout_s,
        max_attempts=(defaults.max_attempts if defaults else None)
        or limits.max_attempts,
        review=False,
        allow_empty=True,
        status=TaskStatus.SUBMITTED,
        created_by=plan.created_by,
        created_at=stamp.time,
        updated_at=stamp.time,
    )
