"""A task's result: published, verified and merged in one atomic push (DESIGN 6.7)."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.core.edges import Op, TaskStatus
from percyd.core.ids import agent_branch, plan_branch, rescue_ref, short_ref
from percyd.core.operations.base import (
    Answer,
    Decision,
    Fence,
    MergeRequest,
    Stamp,
    Tips,
    move_task,
    trailers_of,
)
from percyd.core.operations.claims import clear_landing
from percyd.core.records import Attempt, Task, TaskResult, Usage, Verdict
from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.core.snapshot import Snapshot
from percyd.errors import (
    IllegalTransition,
    IntegrationMoved,
    MergeConflictError,
)


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt has to say of its result."""

    summary: str | None = None
    verdict: Verdict | None = None
    usage: Usage | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A gated task that has lost a landing takes the plan's landing turn.

    Other completions of the plan wait for it, so that a slow gate cannot starve. It is
    given up with the claim.
    """

    stamp: Stamp
    fence: Fence
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`. Raises `IntegrationMoved` while it is another's turn."""
        task = self.fence.check(snapshot)
        plan = snapshot.plans[task.plan].record
        if plan.landing == self.fence.landing:
            return None
        if plan.landing is not None:
            raise IntegrationMoved(f"it is {plan.landing.task}'s turn to land")
        turn = {"landing": self.fence.landing, "updated_at": self.stamp.time}
        return Decision(
            Op.TURN,
            f"{task.id} lands next",
            (plan.model_copy(update=turn),),
            trailers=trailers_of(task.plan, task, agent=task.assigned_to),
        )


@dataclass(frozen=True, slots=True)
class Complete:
    """The task's commit is merged into the integration branch, and the task is done.

    ``completed`` means published, verified, merged: three refs move in one push. A
    verdict names the tree that it is about; if the merge on the tip of the moment
    gives another tree, nobody has verified that one, and nothing moves.
    """

    stamp: Stamp
    fence: Fence
    commit: Oid
    report: Report
    in_progress: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """See `Operation`."""
        return (plan_branch(self.fence.task.partition(".")[0]),)

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`.

        Raises:
            StaleClaim: the claim is gone; the work belongs on a rescue ref.
            IntegrationMoved: the tree that would result is not the verified one.
            MergeConflictError: the work does not merge with the tip of the moment.
        """
        task = self.fence.check(snapshot)
        plan = snapshot.plans[task.plan].record
        if plan.landing is not None and plan.landing != self.fence.landing:
            raise IntegrationMoved(f"it is {plan.landing.task}'s turn to land")
        tip = tips[plan_branch(task.plan)]
        if tip is None:
            raise IllegalTransition(
                f"the integration branch percy/plan/{task.plan} is gone",
                hint="push it back from a clone that has it",
            )
        branch = agent_branch(task.assigned_to or "", task.id)
        published = tips.get(branch)
        if published not in (None, self.commit):
            raise IllegalTransition(
                f"{short_ref(branch)} is on the remote already, at {published}",
                hint="nothing but percyd may push there; delete it and retry the task",
            )
        publish = RefMove(branch, published, self.commit)
        return MergeRequest(
            tip,
            self.commit,
            merge_message(task),
            lambda merged: self._land(task, publish, tip, snapshot, merged),
        )

    def _land(
        self,
        task: Task,
        publish: RefMove,
        tip: Oid,
        snapshot: Snapshot,
        merged: Merged | MergeConflict,
    ) -> Decision:
        if isinstance(merged, MergeConflict):
            raise MergeConflictError(merged.paths)
        verdict = self.report.verdict
        if verdict and verdict.status == "passed" and verdict.tree != merged.tree:
            raise IntegrationMoved(f"the integration branch has moved to {tip[:10]}")
        if verdict and verdict.status == "none":
            verdict = verdict.model_copy(update={"tree": merged.tree})
        branch = short_ref(publish.ref)
        entry = completed_attempt(task, self.report, branch, self.commit)
        done = move_task(
            Op.COMPLETE,
            task,
            TaskStatus.COMPLETED,
            self.stamp,
            reason=None,
            result=TaskResult(
                branch=branch,
                commit=self.commit,
                integration_commit=merged.commit,
                summary=self.report.summary,
                verdict=verdict,
                usage=self.report.usage,
                session=self.report.session,
            ),
            attempts=(*task.attempts, entry),
        )
        return Decision(
            Op.COMPLETE,
            f"{task.id} by {task.assigned_to}, attempt {task.attempt}",
            (*clear_landing(snapshot, task, self.stamp), done),
            (
                publish,
                RefMove(plan_branch(task.plan), tip, merged.commit),
                *self._unfinished(task),
            ),
            trailers_of(task.plan, task, agent=task.assigned_to),
        )

    def _unfinished(self, task: Task) -> tuple[RefMove, ...]:
        if not self.in_progress:
            return ()
        return (RefMove(rescue_ref(task.id, task.attempt), None, None, forced=True),)


def completed_attempt(
    task: Task, report: Report, branch: str | None = None, commit: Oid | None = None
) -> Attempt:
    """The entry of the attempt that completed the task."""
    return Attempt(
        number=task.attempt,
        agent=task.assigned_to or "",
        claim=task.claim or "",
        outcome="completed",
        branch=branch,
        commit=commit,
        verdict=report.verdict,
        session=report.session,
        summary=report.summary,
        usage=report.usage,
    )


def merge_message(task: Task) -> str:
    """The message of a task's merge commit on the integration branch (FORMAT 4)."""
    return (
        f"Merge {task.id}: {task.title}\n\n"
        f"Percy-Task: {task.id}\nPercy-Attempt: {task.attempt}\n"
    )
