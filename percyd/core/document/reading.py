"""The keys of a plan document, and how a tree of values is read with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from percyd.core.document import fields, rules
from percyd.core.document.fields import Field, read_mapping
from percyd.core.document.nodes import BAD, Node, join
from percyd.core.document.problems import Report
from percyd.core.document.relations import check_relations
from percyd.core.ids import ID_PATTERN
from percyd.core.records import PRIORITY_LIMIT, TaskType

MAX_TASKS = 20_000
MAX_TIMEOUT_S = 604_800
MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class NotYet:
    """The one value of a key that is accepted so far, and what to say to others."""

    accepted: bool | str | None
    text: str


#: Keys whose work comes with a later version. Ignoring a review or a budget that
#: somebody asked for would be worse than refusing it. A key works without its row.
NOT_YET: Final[Mapping[str, NotYet]] = {
    "review": NotYet(False, "reviews are not supported by this version; remove it"),
    "review_plan": NotYet(
        False, "reviews of plans are not supported by this version; remove it"
    ),
}

#: What percyd itself makes is no type of a task in a document.
TYPES: Final[Mapping[str, str]] = {
    **{name: name for name in get_args(TaskType) if name not in ("plan", "land")},
    "feature": "implement",
    "bug": "fix",
    "bugfix": "fix",
    "documentation": "docs",
}


def _table(**table: Field) -> dict[str, Field]:
    return {key: _now(key, field) for key, field in table.items()}


def _now(key: str, field: Field) -> Field:
    """The field as this version has it."""
    later = NOT_YET.get(key)
    if later is None:
        return field

    def read(node: Node, path: str, report: Report) -> Any:
        before = len(report.problems)
        value = field.read(node, path, report)
        if len(report.problems) == before and value != later.accepted:
            report.add(node.line, path, later.text)
        return value

    accepted = [later.accepted] if later.accepted is not None else []
    return replace(field, read=read, schema={"enum": accepted})


BUDGET = _table(
    cost_usd=fields.positive(1_000_000, "dollars"),
    tokens=fields.integer(1, 10**15),
    wall_s=fields.positive(MAX_TIMEOUT_S, "seconds"),
)
DEFAULTS = _table(
    runner=fields.text(rules.runner_problem, {"pattern": rules.RUNNER_PATTERN}),
    specialization=fields.capabilities(),
    timeout_s=fields.positive(MAX_TIMEOUT_S, "seconds"),
    max_attempts=fields.integer(1, MAX_ATTEMPTS),
    review=fields.boolean(),
    verify=fields.gate(),
)
TASK = _table(
    id=fields.task_id(),
    title=fields.title(),
    description=fields.text(rules.text_problem),
    type=fields.choice(TYPES),
    run=fields.command(),
    depends_on=fields.listing(
        fields.text(lambda _: None, {"pattern": ID_PATTERN}), "[other-task]"
    ),
    paths=fields.listing(fields.text(rules.pattern_problem), "[src/]"),
    priority=fields.integer(-PRIORITY_LIMIT, PRIORITY_LIMIT),
    allow_empty=fields.boolean(),
    **DEFAULTS,
)


def _read_tasks(node: Node, path: str, report: Report) -> list[dict[str, Any]]:
    if node.value is None:
        report.add(node.key_line, path, _NO_TASKS)
        return []
    if not isinstance(node.value, list):
        fields.refuse(node, path, report, "give a list of tasks")
        return []
    if len(node.value) > MAX_TASKS:
        found = f"has {len(node.value):,} tasks; {MAX_TASKS:,} are allowed"
        report.add(node.line, path, found)
        return []
    if not node.value:
        report.add(node.line, path, _NO_TASKS)
    tasks = []
    for index, child in enumerate(node.value):
        if child.value is not BAD:
            tasks.append(_read_task(child, join(path, index), report))
    check_relations(node.value, path, report)
    return tasks


_NO_TASKS = "is empty; list tasks, or remove it for a plan in prose"


def _read_task(node: Node, path: str, report: Report) -> dict[str, Any]:
    values = read_mapping(node, TASK, path, report)
    if "run" in values and "runner" in values and isinstance(node.value, dict):
        line = node.value["run"].key_line
        report.add(line, join(path, "run"), "excludes runner; one of them is allowed")
    return values


DOCUMENT = _table(
    title=fields.title(),
    description=fields.text(rules.text_problem),
    status=fields.choice({"ready": "ready", "draft": "draft"}),
    base=fields.text(rules.branch_problem),
    verify=fields.gate(),
    land=fields.choice({"manual": "manual", "auto": "auto"}),
    review_plan=fields.boolean(),
    defaults=fields.mapping(DEFAULTS),
    budget=fields.mapping(BUDGET),
    tasks=Field(
        _read_tasks,
        {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_TASKS,
            "items": fields.mapping_schema(TASK),
        },
        nullable=False,
    ),
)


def read_document(root: Node, report: Report) -> dict[str, Any]:
    """The values of a document, checked each by itself and against the others."""
    return read_mapping(root, DOCUMENT, "", report)
