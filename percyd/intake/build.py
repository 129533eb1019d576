"""From a plan document to the records of a plan and its tasks. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.core.document.parse import Document, DocumentTask
from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.ids import full_id
from percyd.core.records import Defaults, Plan, Source, Task
from percyd.core.refs import Oid
from percyd.settings import Config

#: The one task of a document that has none: an agent breaks it into tasks.
PLANNER = "plan-tasks"


@dataclass(frozen=True, slots=True)
class Base:
    """Where a plan's work starts and lands."""

    branch: str
    commit: Oid


def build(
    plan_id: str, document: Document, config: Config, base: Base, source: Source
) -> tuple[Plan, tuple[Task, ...]]:
    """The records as they are taken in, with every effective value filled in.

    A task's value replaces the defaults', theirs the plan's, that the config's.
    ``config`` is the one in the plan's own commit.
    """
    limits = config.limits.record()
    gate = _first(document.verify, config.gate)
    given = document.defaults
    defaults = Defaults(
        runner=(given.runner if given else None) or config.runner,
        specialization=(given.specialization if given else None) or (),
        timeout_s=(given.timeout_s if given else None) or limits.timeout_s,
        max_attempts=(given.max_attempts if given else None) or limits.max_attempts,
        review=False,
        verify=_gate(_first(given.verify if given else None, gate)),
    )
    plan = Plan(
        id=plan_id,
        title=document.title,
        description=document.description,
        status=PlanStatus(document.status),
        base_branch=base.branch,
        base_commit=base.commit,
        source=source,
        verify=_gate(gate),
        land=document.land or config.land,
        defaults=defaults,
        budget=document.budget,
        limits=limits,
        review_plan=False,
        created_by=source.submitted_by,
    )
    if document.tasks is None:
        return plan, (_planner(plan, defaults),)
    return plan, tuple(_task(plan, task, defaults) for task in document.tasks)


def _task(plan: Plan, given: DocumentTask, defaults: Defaults) -> Task:
    depends_on = tuple(full_id(plan.id, name) for name in given.depends_on)
    runner = None if given.run else given.runner or defaults.runner
    return Task(
        id=full_id(plan.id, given.id),
        plan=plan.id,
        title=given.title,
        description=given.description,
        type=given.type,
        runner=runner,
        run=given.run,
        specialization=_listed(given.specialization, defaults.specialization),
        depends_on=depends_on,
        paths=given.paths,
        priority=given.priority,
        verify=_gate(_first(given.verify, defaults.verify)),
        timeout_s=given.timeout_s or defaults.timeout_s,
        max_attempts=given.max_attempts or defaults.max_attempts,
        review=False,
        allow_empty=given.allow_empty,
        status=TaskStatus.BLOCKED if depends_on else TaskStatus.SUBMITTED,
        created_by=plan.created_by,
    )


def _planner(plan: Plan, defaults: Defaults) -> Task:
    return Task(
        id=full_id(plan.id, PLANNER),
        plan=plan.id,
        title=f"Break into tasks: {plan.title}"[:200],
        type="plan",
        runner=defaults.runner,
        timeout_s=defaults.timeout_s,
        max_attempts=defaults.max_attempts,
        review=False,
        allow_empty=True,
        status=TaskStatus.SUBMITTED,
        created_by=plan.created_by,
    )


def _listed(own: tuple[str, ...] | None, default: tuple[str, ...]) -> tuple[str, ...]:
    """A task's own list, an empty one too, else the default."""
    return default if own is None else own


def _first(*values: str | bool | None) -> str | bool | None:
    """The first value that says something; False says "no gate"."""
    return next((value for value in values if value is not None), None)


def _gate(value: str | bool | None) -> str | None:
    return value if isinstance(value, str) else None
