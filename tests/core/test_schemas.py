"""What docs/state-format publishes, against the code and against records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from percyd.core.edges import AgentStatus, Op, PlanStatus, TaskStatus
from percyd.core.reasons import Reason
from percyd.core.records import (
    Agent,
    Attempt,
    Budget,
    Defaults,
    FormatMarker,
    Landing,
    Message,
    Plan,
    Planning,
    PlanResult,
    Record,
    Source,
    Task,
    TaskResult,
    Usage,
    Verdict,
    Why,
)
from percyd.core.schemas import edge_table_markdown, reason_table_markdown, schemas
from tests.support.regenerate import FOLDER, between_markers, generated

TIME = "2026-03-01T09:30:00Z"
AGENT = "laptop-3fa9c1"
OID = "1" * 40
VERDICT = Verdict(
    status="passed", command="make test", exit_code=0, tree=OID, duration_s=1.5
)
USAGE = Usage(input_tokens=10, output_tokens=5, cost_usd=0.1, duration_s=2.0, turns=3)
WHY = Why(code=Reason.GATE_FAILED, message="3 tests fail")

MARKER = FormatMarker(format=1, project="shop", created_at=TIME)
SMALL_PLAN = Plan(
    id="auth",
    title="Log in",
    status=PlanStatus.READY,
    base_branch="main",
    base_commit=OID,
    source=Source(kind="cli"),
)
FULL_PLAN = Plan(
    id="auth",
    title="Anmelden für alle",
    description="Prosa",
    status=PlanStatus.EXECUTING,
    paused=Why(code=Reason.BUDGET),
    landing=Landing(task="auth.api", attempt=2, claim="f" * 32),
    base_branch="main",
    base_commit=OID,
    source=Source(
        kind="file",
        path=".percy/plans/auth.md",
        commit=OID,
        blob=OID,
        submitted_by="Ada",
    ),
    planning=Planning(task="auth.plan-1", agent=AGENT, since=TIME),
    verify="make test",
    land="auto",
    defaults=Defaults(runner="claude", specialization=("python",), review=True),
    budget=Budget(cost_usd=2.5, tokens=1000, wall_s=60),
    review_plan=True,
    reason=WHY,
    result=PlanResult(commit=OID, landed_commit=OID, landed_into="main"),
    created_by="Ada",
    created_at=TIME,
    updated_at=TIME,
)
SMALL_TASK = Task(id="auth.api", plan="auth", title="API", status=TaskStatus.BLOCKED)
FULL_TASK = Task(
    id="auth.api",
    plan="auth",
    title="API",
    description="Do it",
    type="land",
    runner="claude",
    run="make",
    specialization=("python",),
    depends_on=("auth.model", "auth.land-1"),
    paths=("src/**",),
    priority=-1000,
    verify="make test",
    timeout_s=60,
    max_attempts=3,
    review=False,
    allow_empty=True,
    status=TaskStatus.WORKING,
    attempt=2,
    retries=1,
    assigned_to=AGENT,
    claim="f" * 32,
    base=OID,
    reason=WHY,
    approved=OID,
    result=TaskResult(
        branch="agent/laptop-3fa9c1/auth.api",
        commit=OID,
        integration_commit=OID,
        summary="done",
        verdict=VERDICT,
        usage=USAGE,
        session="s1",
    ),
    messages=(Message(kind="question", text="which?", by=AGENT, attempt=1),),
    attempts=(
        Attempt(
            number=1,
            agent=AGENT,
            claim="e" * 32,
            outcome="failed",
            reason=WHY,
            rescue="refs/percy/rescue/auth.api/1",
            verdict=VERDICT,
            usage=USAGE,
        ),
    ),
    created_by="Ada",
    created_at=TIME,
    updated_at=TIME,
)
AGENT_RECORD = Agent(
    id=AGENT,
    name="laptop",
    host="laptop.example",
    pid=12,
    version="0.1.0",
    capabilities=("python",),
    runners=("claude",),
    started_at=TIME,
    status=AgentStatus.LOST,
)

RECORDS = [
    pytest.param("percy", MARKER, id="percy"),
    pytest.param("plan", SMALL_PLAN, id="small plan"),
    pytest.param("plan", FULL_PLAN, id="full plan"),
    pytest.param("task", SMALL_TASK, id="small task"),
    pytest.param("task", FULL_TASK, id="full task"),
    pytest.param("agent", AGENT_RECORD, id="agent"),
]


def validator(name: str) -> Draft202012Validator:
    path = FOLDER / f"{name}.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def written(record: Record) -> dict[str, Any]:
    document = json.loads(record.model_dump_json())
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_the_published_files_say_what_the_code_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == generated()[path], (
        "run python -m tests.support.regenerate"
    )


def test_no_schema_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(schemas())


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_a_written_record_validates(name: str, record: Record) -> None:
    assert list(validator(name).iter_errors(written(record))) == []


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_an_unknown_key_validates_and_survives_reading(
    name: str, record: Record
) -> None:
    document = written(record) | {"of_a_later_version": {"deep": [1]}}

    read = type(record).model_validate(document)

    assert validator(name).is_valid(document)
    assert written(read) == document


@pytest.mark.parametrize(("name", "record"), RECORDS)
def test_keys_that_may_be_missing_are_missing_to_schema_and_reader_alike(
    name: str, record: Record
) -> None:
    fields = type(record).model_fields
    needed = {key for key, field in fields.items() if field.is_required()}
    document = {key: written(record)[key] for key in needed}

    assert validator(name).is_valid(document)
    assert set(schemas()[f"{name}.schema.json"]["required"]) == needed
    type(record).model_validate(document)


@pytest.mark.parametrize(
    ("name", "record", "wrong"),
    [
        pytest.param("task", FULL_TASK, {"status": "done"}, id="task status"),
        pytest.param("plan", FULL_PLAN, {"status": "working"}, id="plan status"),
        pytest.param("agent", AGENT_RECORD, {"status": "idle"}, id="agent status"),
        pytest.param("task", FULL_TASK, {"status": None}, id="no status"),
        pytest.param("task", FULL_TASK, {"id": "auth"}, id="short id"),
        pytest.param("task", FULL_TASK, {"id": "auth.lock"}, id="reserved task"),
        pytest.param("task", FULL_TASK, {"id": "state.api"}, id="reserved plan"),
        pytest.param("task", FULL_TASK, {"depends_on": ["--x.y"]}, id="dependency"),
        pytest.param("task", FULL_TASK, {"priority": 1001}, id="priority"),
        pytest.param("task", FULL_TASK, {"type": "bug"}, id="type"),
        pytest.param("task", FULL_TASK, {"reason": {"code": "bad"}}, id="reason"),
        pytest.param("plan", FULL_PLAN, {"id": "Auth"}, id="plan id"),
        pytest.param("plan", FULL_PLAN, {"land": "later"}, id="land"),
        pytest.param("plan", FULL_PLAN, {"source": {"kind": "mail"}}, id="kind"),
        pytest.param("agent", AGENT_RECORD, {"id": "laptop"}, id="agent id"),
    ],
)
def test_a_wrong_value_is_refused_by_schema_and_reader_alike(
    name: str, record: Record, wrong: dict[str, Any]
) -> None:
    document = written(record) | wrong

    assert not validator(name).is_valid(document)
    with pytest.raises(ValueError):
        type(record).model_validate(document)


@pytest.mark.parametrize("word", ["planner", "auth-lock", "lockable", "land-1"])
def test_a_word_that_only_looks_reserved_validates(word: str) -> None:
    document = written(SMALL_TASK) | {"id": f"{word}.{word}", "plan": word}

    assert validator("task").is_valid(document)
    Task.model_validate(document)


def test_another_format_does_not_validate() -> None:
    assert not validator("percy").is_valid(written(MARKER) | {"format": 2})


def test_the_readme_names_every_key_and_operation() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    words = [str(op) for op in Op]
    for schema in schemas().values():
        for part in (schema, *schema.get("$defs", {}).values()):
            words.extend(part.get("properties", {}))

    assert [word for word in words if f"`{word}`" not in text] == []


def test_the_tables_name_every_status_operation_and_code() -> None:
    cells = set(edge_table_markdown().replace(",", " ").split())
    # These change a record without changing a status.
    silent = {Op.INIT, Op.PAUSE, Op.RESUME, Op.TURN}

    assert {*TaskStatus, *PlanStatus, *AgentStatus} <= cells
    assert {op for op in Op if op not in cells} == silent
    for code in Reason:
        assert f"| `{code}` |" in reason_table_markdown()


def test_markers_that_are_not_there_once_are_an_error() -> None:
    marked = "<!-- generated: x -->\nold\n<!-- end: x -->\n"

    assert "old" not in between_markers(marked, "x", r"new \1")
    with pytest.raises(ValueError, match="0 times"):
        between_markers("text", "x", "new")
    with pytest.raises(ValueError, match="2 times"):
        between_markers(marked + marked, "x", "new")
