"""The published form of format 1: JSON Schemas, and tables for people.

Made from the records, the edges and the reason codes, so that what is published in
``docs/state-format`` cannot say anything else than the code does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from percyd.core.edges import (
    ABSENT,
    AGENT_EDGES,
    PLAN_EDGES,
    TASK_EDGES,
    AgentStatus,
    Edges,
    Op,
    PlanStatus,
    TaskStatus,
)
from percyd.core.ids import AGENT_PATTERN, ID_PATTERN, RESERVED, AgentId, PlanId, TaskId
from percyd.core.reasons import FINAL, RETRIED, UNCOUNTED, Reason
from percyd.core.records import FORMAT, Agent, FormatMarker, Plan, Record, Task

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_NOT_RESERVED = f"(?!(?:{'|'.join(sorted(RESERVED))})(?:\\.|$))"
_ID = _NOT_RESERVED + ID_PATTERN.removeprefix("^").removesuffix("$")


def _checker(annotated: Any) -> Any:
    """The function that checks the ids of an annotated type."""
    return annotated.__metadata__[0].func


#: What the checking functions of `percyd.core.ids` demand, as regular expressions.
_PATTERNS: Final = {
    _checker(PlanId): f"^{_ID}$",
    _checker(TaskId): f"^{_ID}\\.{_ID}$",
    _checker(AgentId): AGENT_PATTERN,
}

#: One line for each code: what happened.
_REASONS: Final = {
    Reason.RUNNER_FAILED: "the runner, or the task's command, ended with an error",
    Reason.TIMED_OUT: "the runner was still at work after `timeout_s`",
    Reason.IDLE: "the runner printed nothing for `idle_s`",
    Reason.EMPTY_RESULT: "nothing was changed, and `allow_empty` is not set",
    Reason.GATE_FAILED: "the gate refused the merged tree, or could not run on it",
    Reason.GATE_TIMED_OUT: "the gate was still at work after `timeout_s`",
    Reason.CONFLICT: "the work does not merge with the integration branch",
    Reason.LEFT_BRANCH: "the work does not descend from the attempt's `base`",
    Reason.AGENT_LOST: "the agent stopped renewing its lease",
    Reason.RELEASED: "the agent shut down and gave the task back",
    Reason.PARKED: "the agent set the task aside through no fault of the work",
    Reason.RUNNER_MISSING: "the runner's program is not there",
    Reason.GATE_BROKEN: "the gate cannot run on the base tree either",
    Reason.WORKSPACE_FAILED: "no workspace could be made",
    Reason.SANDBOX_UNAVAILABLE: "the sandbox that is asked for cannot be had",
    Reason.UNSUPPORTED_REPOSITORY: "the repository uses what percyd cannot handle",
    Reason.ATTEMPTS_EXHAUSTED: "`max_attempts` is reached; "
    "the last of `attempts` has the cause",
    Reason.DEPENDENCY_FAILED: "a task that this one depends on failed or was cancelled",
    Reason.REJECTED: "a person rejected the work",
    Reason.CANCELLED: "somebody cancelled it",
    Reason.REMOVED: "an edit took the task out of the plan's document",
    Reason.PLANNER_INVALID: "the planner's answer is no valid plan",
    Reason.PAUSED_BY_USER: "somebody paused the plan",
    Reason.BUDGET: "the plan's budget is used up",
    Reason.QUESTION: "the runner asked something",
    Reason.REVIEW: "the work waits for approval",
}


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with the patterns of ids and without made-up titles."""

    def function_after_schema(
        self, schema: core_schema.AfterValidatorFunctionSchema
    ) -> JsonSchemaValue:
        """The pattern that stands for a checking function."""
        made = super().function_after_schema(schema)
        pattern = _PATTERNS.get(schema["function"]["function"])
        return {**made, "pattern": pattern} if pattern else made

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never: the key says it already."""
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each kind of file, by the name it is published under.

    They describe what a reader must accept: unknown keys and missing ones included.
    """
    marker = _schema("percy", FormatMarker)
    marker["properties"]["format"] = {"const": FORMAT, "type": "integer"}
    return {
        "agent.schema.json": _schema("agent", Agent),
        "percy.schema.json": marker,
        "plan.schema.json": _schema("plan", Plan),
        "task.schema.json": _schema("task", Task),
    }


def _schema(name: str, record: type[Record]) -> dict[str, Any]:
    made = _described(_model_schema(record))
    made["title"] = name
    return {
        "$schema": DIALECT,
        "$id": f"urn:percyd:state-format:{FORMAT}:{name}",
    } | made


def _model_schema(record: type[BaseModel]) -> dict[str, Any]:
    return record.model_json_schema(schema_generator=_Generator, mode="validation")


def _described(made: dict[str, Any]) -> dict[str, Any]:
    """``made`` with the docstrings' double backticks as the single ones of Markdown."""
    for part in (made, *made.get("$defs", {}).values()):
        if "description" in part:
            part["description"] = part["description"].replace("``", "`")
    return made


def edge_table_markdown() -> str:
    """Every legal change of status and the operations that may make it."""
    parts = (
        ("Task", TASK_EDGES, TaskStatus),
        ("Plan", PLAN_EDGES, PlanStatus),
        ("Agent", AGENT_EDGES, AgentStatus),
    )
    return "\n\n".join(
        f"### {name}\n\n" + _table(("from", "to", "operations"), _rows(edges, statuses))
        for name, edges, statuses in parts
    )


def _rows(edges: Edges, statuses: type[StrEnum]) -> Iterator[tuple[str, ...]]:
    """One row for each edge, in the order in which the statuses are declared."""
    order = (ABSENT, *statuses)
    for old in order:
        for new in order:
            ops = edges.get((old, new))
            if ops:
                yield (old, new, ", ".join(op for op in Op if op in ops))


def reason_table_markdown() -> str:
    """Every reason code: what happened, and what follows."""
    rows = ((f"`{code}`", _REASONS[code], _follows(code)) for code in Reason)
    return _table(("code", "what happened", "what follows"), rows)


def _follows(code: Reason) -> str:
    if code in RETRIED:
        return "back to the queue after a pause, while attempts are left"
    if code in UNCOUNTED:
        return "back to the queue, not counted"
    if code in FINAL:
        return "the end of the task"
    if code in {Reason.QUESTION, Reason.REVIEW}:
        return "waits for a person"
    return "no more of the plan's tasks are claimed"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
