"""A task tried again as its plan's document has it by now: ``percyd task retry``."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from percyd.config import COMMITTED, shaping
from percyd.core.edges import CLOSED
from percyd.core.operations.base import need_plan, need_task
from percyd.core.operations.reconcile import differ
from percyd.core.operations.retry import Retry
from percyd.core.records import Plan, Task
from percyd.intake.build import Base, build
from percyd.intake.documents import read
from percyd.intake.edits import REPORTS
from percyd.intake.files import PlanFile
from percyd.intake.scan import Intake
from percyd.intake.standing import Standing
from percyd.repo import discover


@dataclass(frozen=True, slots=True)
class Retried:
    """What is back in the queue, and which of it was edited since it was tried."""

    back: tuple[str, ...]
    edited: tuple[str, ...]
    commit: str | None


def retry(intake: Intake, task_id: str) -> Retried:
    """Try a failed or cancelled task again, and what was cancelled because of it.

    An open plan follows its file first. A closed one does so as soon as it is open
    again, which would be too late for a task that a worker is quick to claim: what
    comes back is brought in line with the file in the same commit.

    Raises:
        UnknownIdError: there is no such task.
        IllegalTransition: see `Retry`.
        InvalidPlan, InvalidConfig: the plan's newest file is not good.
    """
    store = intake.store
    before = store.state.snapshot
    task = need_task(before, task_id)
    plan = need_plan(before, task.plan)
    file = intake.file_of(plan) if task.type != "land" else None
    if file is not None and plan.status not in CLOSED:
        with contextlib.suppress(*REPORTS):
            intake.take_file(file)
        before = store.state.snapshot
        plan = need_plan(before, task.plan)
    document = _document(intake, plan, file) if task.type != "land" else ()
    newer = {task.id: task for task in document}
    applied = store.apply(Retry(store.stamp(), task_id, newer))
    back = applied.decision.tasks if applied.decision else ()
    edited = (new.id for new in back if differ(need_task(before, new.id), new))
    return Retried(tuple(new.id for new in back), tuple(edited), applied.commit)


def _document(intake: Intake, plan: Plan, file: PlanFile | None) -> tuple[Task, ...]:
    """The tasks of the newest version of a plan's document that it may follow."""
    edits, state = intake.edits, intake.store.state
    follows = (Standing.SAME, Standing.NEWER, Standing.AMENDED)
    if (
        file is not None
        and edits.standings.of(file, plan, intake.branch, state) in follows
    ):
        checked = read(file.path, file.content, file.config)
        base = Base(checked.base(intake.branch), plan.base_commit)
        source = intake.source_of(file)
        return build(plan.id, checked.document, checked.shaped, base, source)[1]
    config = discover.read_file(intake.hub.path, intake.remote_tip(), COMMITTED)
    return edits.followed(plan, state, shaping(config), intake.branch).tasks
