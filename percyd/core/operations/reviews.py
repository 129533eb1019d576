"""The end of a review: approved, or a task that mends what it found, reviewed again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from percyd.core.edges import Op, TaskStatus
from percyd.core.ids import full_id, short_of
from percyd.core.operations.base import (
    Answer,
    Decision,
    Fence,
    Stamp,
    Tips,
    move_task,
    trailers_of,
)
from percyd.core.operations.claims import clear_landing
from percyd.core.operations.completion import Report, completed_attempt
from percyd.core.records import Task, TaskResult
from percyd.core.snapshot import PlanState, Snapshot
from percyd.errors import IllegalTransition

APPROVED = "approve"
#: What a reviewer's last words are: exactly one of two forms.
_APPROVE = re.compile(r"^\W*approved?\W*$", re.IGNORECASE)
_CHANGES = re.compile(r"^\W*changes\W*:\s*", re.IGNORECASE | re.MULTILINE)
#: The longest part of a short id that leaves room for what is added to it.
_STEM_CHARS = 36
_TITLE_CHARS = 80


def verdict_of(text: str) -> str | None:
    """What has to be changed, "" for nothing; None if the text does not say.

    The last line approves, or changes are named from the first such line on to the end.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and _APPROVE.match(lines[-1]):
        return ""
    found = _CHANGES.search(text)
    return text[found.end() :].strip() or None if found else None


def _all_paths(tasks: Sequence[Task]) -> tuple[str, ...]:
    """What some tasks may touch together: everything, if one of them may."""
    if not all(task.paths for task in tasks):
        return ()
    return tuple(dict.fromkeys(path for task in tasks for path in task.paths))


@dataclass(frozen=True, slots=True)
class CompleteReview:
    """A review is done: it moves no refs and leaves only its summary.

    ``changes`` is what has to be changed. In the same commit a task is added that does
    it, for the runner whose work was reviewed, and a second review of that; what the
    second one finds is mended too, and not reviewed any more.
    """

    stamp: Stamp
    fence: Fence
    report: Report
    changes: str = ""
    needs: tuple[str, ...] = ()

    def decide(self, snapshot: Snapshot, tips: Tips) -> Answer:
        """See `Operation`."""
        task = self.fence.check(snapshot)
        if task.type != "review":
            raise IllegalTransition(f"{task.id} is no review: it needs a commit")
        done = move_task(
            Op.COMPLETE,
            task,
            TaskStatus.COMPLETED,
            self.stamp,
            reason=None,
            result=TaskResult(summary=self.report.summary),
            attempts=(*task.attempts, completed_attempt(task, self.report)),
        )
        added = self._added(snapshot.plans[task.plan], task) if self.changes else ()
        return Decision(
            Op.COMPLETE,
            f"{task.id} by {task.assigned_to}, attempt {task.attempt}",
            (*clear_landing(snapshot, task, self.stamp), done, *added),
            trailers=trailers_of(task.plan, task, *added, agent=task.assigned_to),
        )

    def _added(self, plan: PlanState, review: Task) -> tuple[Task, ...]:
        reviewed = [plan.tasks[name] for name in review.depends_on]
        author = next((t for t in reviewed if t.run is None), review)
        fix = self._new(
            plan,
            review,
            "fix",
            type="fix",
            title=f"Mend what {short_of(review.id)} found"[:_TITLE_CHARS],
            description=self.changes,
            depends_on=(review.id,),
            runner=author.runner or review.runner,
            specialization=author.specialization,
            paths=_all_paths(reviewed),
            verify=author.verify,
            status=TaskStatus.SUBMITTED,
        )
        if any(task.type == "fix" for task in reviewed):
            return (fix,)
        again = self._new(
            plan,
            review,
            "again",
            type="review",
            title=f"{review.title}, again"[:_TITLE_CHARS],
            description=review.description,
            depends_on=(fix.id,),
            runner=review.runner,
            specialization=review.specialization,
            paths=(),
            verify=None,
            status=TaskStatus.BLOCKED,
        )
        return fix, again

    def _new(self, plan: PlanState, review: Task, what: str, **fields: object) -> Task:
        stem = f"{short_of(review.id)[:_STEM_CHARS]}-{what}"
        names = (stem, *(f"{stem}-{n}" for n in range(2, 1000)))
        free = next(n for n in names if full_id(review.plan, n) not in plan.tasks)
        return Task.model_validate(
            {
                "id": full_id(review.plan, free),
                "plan": review.plan,
                "timeout_s": review.timeout_s,
                "review": False,
                "max_attempts": review.max_attempts,
                "allow_empty": False,
                "created_by": review.assigned_to,
                "priority": review.priority,
                "created_at": self.stamp.time,
                "updated_at": self.stamp.time,
                **fields,
            }
        )
