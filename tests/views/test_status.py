"""What `status --json` answers, and which rows people see of it."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from percyd.core import schedule
from percyd.core.edges import TaskStatus
from percyd.core.reasons import Reason
from percyd.core.records import Landing, PlanResult, Task, Why
from percyd.core.snapshot import Entry, Snapshot, build
from percyd.errors import UnknownIdError
from percyd.state.codec import encode
from percyd.views.digest import Kind, digest
from percyd.views.status import cluster_status
from percyd.views.waiting import Waiting
from tests.support.state import Bench, agent, plan, task

TIP = "a" * 40
NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
BOX = "box-000001"


def held(plan_id: str, short: str, by: str = BOX, **fields: object) -> Task:
    values = {"status": "working", "assigned_to": by, "claim": "c" * 32, "attempt": 1}
    return task(plan_id, short, **values | fields)


def ended(plan_id: str, short: str, status: str = "completed") -> Task:
    return task(plan_id, short, status=status, attempt=1)


def rested(short: str, retries: int) -> Task:
    reason = Why(code=Reason.GATE_FAILED, message="exit 1")
    return task("p", short, reason=reason, retries=retries, attempt=retries)


def shown(*entries: Entry, **options: Any) -> dict[str, Any]:
    return cluster_status(TIP, NOW, build(entries), **options)


def blocked_by(status: dict[str, Any], name: str) -> list[tuple[str, str]]:
    (found,) = (each for each in status["tasks"] if each["id"] == name)
    return [(wait["code"], wait["what"]) for wait in found["blocked_by"]]


def test_an_empty_state_has_every_key_and_zeros() -> None:
    status = shown()

    assert status == {
        "tip": TIP,
        "read_at": "2026-03-01T12:00:05Z",
        "plans": [],
        "tasks": [],
        "agents": [],
        "plan_summary": {"total": 0, **{each.value: 0 for each in TaskStatus}},
    }


def test_records_are_those_of_the_state_branch() -> None:
    records: list[Entry] = [
        *(plan(verify="make"), task("p", "a", paths=("x/**",)), agent())
    ]

    status = shown(*records)

    for record, key in zip(records, ("plans", "tasks", "agents"), strict=True):
        assert json.loads(encode(record)).items() <= status[key][0].items()
    assert json.loads(json.dumps(status)) == status


def test_the_summary_counts_the_tasks_of_the_plans_that_are_shown() -> None:
    entries = (
        *(plan("p"), ended("p", "a"), task("p", "b"), task("p", "c", "b")),
        *(plan("q"), ended("q", "a", "failed"), held("q", "b")),
    )

    whole = shown(*entries)["plan_summary"]
    one = shown(*entries, plan="q")["plan_summary"]

    zeros = dict.fromkeys(map(str, TaskStatus), 0)
    once = dict.fromkeys(("completed", "submitted", "blocked", "failed", "working"), 1)
    assert whole == {**zeros, **once, "total": 5}
    assert one == {**zeros, "failed": 1, "working": 1, "total": 2}


def test_an_unknown_plan_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownIdError) as caught:
        shown(plan("checkout"), plan="chekout")

    assert caught.value.hint == "did you mean checkout?"


def test_without_closed_plans_what_needs_somebody_stays() -> None:
    landed = PlanResult(landed_commit=TIP, landed_into="main")
    entries = (
        plan("a-open"),
        plan("b-failed", status="failed"),
        plan("c-done", status="done"),
        plan("d-landed", status="done", result=landed),
        plan("e-cancelled", status="cancelled"),
    )

    names = [each["id"] for each in shown(*entries, closed=False)["plans"]]

    assert names == ["a-open", "b-failed", "c-done"]
    assert len(shown(*entries)["plans"]) == 5


def test_a_ready_task_is_blocked_by_nothing() -> None:
    assert blocked_by(shown(plan(), task("p", "a"), agent()), "p.a") == []


def test_every_reason_to_wait_is_named() -> None:
    status = shown(
        plan(),
        task("p", "a"),
        task("p", "b", "a", paths=("src/x/**",)),
        task("p", "gpu", specialization=("gpu",), run=None, runner="tool"),
        held("p", "h", paths=("src/**",)),
        agent(),
    )

    assert blocked_by(status, "p.b") == [("dependency", "p.a"), ("paths", "p.h")]
    assert blocked_by(status, "p.gpu") == [("no_agent", "gpu, runner tool")]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": "draft"}, "draft"),
        ({"paused": Why(code=Reason.PAUSED_BY_USER)}, "paused"),
    ],
)
def test_a_plan_that_is_held_back_holds_its_tasks(
    fields: dict[str, Any], code: str
) -> None:
    status = shown(plan(**fields), task("p", "a"), agent())

    assert blocked_by(status, "p.a") == [(code, "p")]


@pytest.mark.parametrize(
    ("retries", "what"),
    [(1, "gate_failed, 5 s"), (3, "gate_failed, 20 s"), (40, "gate_failed, 300 s")],
)
def test_a_requeued_task_says_why_and_how_long_it_rests(
    retries: int, what: str
) -> None:
    status = shown(plan(), rested("a", retries), agent())

    assert blocked_by(status, "p.a") == [("backoff", what)]


def test_another_tasks_landing_turn_holds_a_working_task() -> None:
    turn = Landing(task="p.a", attempt=1, claim="c" * 32)
    assigned = held("p", "c", status="assigned")

    status = shown(plan(landing=turn), held("p", "a"), held("p", "b"), assigned)

    assert [blocked_by(status, f"p.{name}") for name in "abc"] == [
        [],
        [("landing", "p.a")],
        [],
    ]


def test_ended_tasks_wait_for_nothing() -> None:
    statuses = ("completed", "failed", "cancelled", "input_required")
    names = [status.replace("_", "-") for status in statuses]
    tasks = [ended("p", n, s) for n, s in zip(names, statuses, strict=True)]

    status = shown(plan(), *tasks)

    assert [each["blocked_by"] for each in status["tasks"]] == [[]] * 4


def test_agents_have_liveness_and_their_tasks_of_all_plans() -> None:
    status = shown(
        *(plan("p"), held("p", "a"), plan("q"), held("q", "b")),
        *(agent(), agent("box-000002"), agent("box-000003", status="lost")),
        agent("box-000004", status="left"),
        plan="q",
    )

    assert [(a["liveness"], a["tasks"]) for a in status["agents"]] == [
        ("working", ["p.a", "q.b"]),
        ("idle", []),
        ("offline", []),
        ("offline", []),
    ]
    assert {each["last_seen_s"] for each in status["agents"]} == {None}


def test_a_real_plan_on_its_way() -> None:
    bench = Bench()
    bench.start()
    tasks = [task("p", "a"), task("p", "b", "a"), task("p", "c", "a", "b")]
    bench.take_in(plan(base=bench.base(readme="hello")), *tasks)
    bench.do("p.a")
    state = bench.store.state

    status = cluster_status(state.tip, state.read_at, state.snapshot)

    assert status["tip"] == state.tip
    assert status["plans"][0]["status"] == "executing"
    assert [each["status"] for each in status["tasks"]] == [
        *("completed", "submitted", "blocked")
    ]
    assert blocked_by(status, "p.c") == [("dependency", "p.b")]


def some_snapshot(seed: int) -> Snapshot:
    draw = random.Random(seed)
    folders = ("", "src/", "src/a/", "src/ab/", "src/a/b/", "docs/", "*/", "src/a?/")
    entries: list[Entry] = [agent(f"box-{n:06x}", runners=("x",)) for n in range(3)]
    entries.append(agent("box-000009", capabilities=("gpu",), runners=("y",)))
    for name in "pq":
        entries.append(plan(name, status=draw.choice(["draft", "executing"])))
        for number in range(25):
            after = {f"t{draw.randrange(number)}" for _ in range(2)} if number else ()
            values: dict[str, Any] = {
                "paths": tuple(draw.choices(folders, k=draw.randrange(3))),
                "type": draw.choice(["implement", "implement", "plan"]),
                "run": draw.choice([None, "true"]),
                "runner": draw.choice([None, "x", "y"]),
                "specialization": draw.choice([(), ("gpu",), ("swift", "gpu")]),
                "status": draw.choice(["completed", "blocked", "submitted"]),
            }
            if draw.random() < 0.2:
                entries.append(
                    held(name, f"t{number}", **{**values, "status": "working"})
                )
            else:
                entries.append(task(name, f"t{number}", *after, **values))
    return build(entries)


@pytest.mark.parametrize("seed", range(25))
def test_what_is_shared_by_many_tasks_changes_no_answer(seed: int) -> None:
    snapshot = some_snapshot(seed)
    waiting = Waiting(snapshot)

    for each in snapshot.tasks():
        if each.status in ("blocked", "submitted"):
            assert waiting.of(each) == schedule.waits(snapshot, each)


# The rows


def rows(status: dict[str, Any], limit: int = 200) -> list[tuple[str, list[str]]]:
    return [
        (block.plan["id"], [row.task["id"] for row in block.rows])
        for block in digest(status, limit).blocks
    ]


def test_the_most_urgent_row_comes_first_and_ended_well_has_none() -> None:
    status = shown(
        plan(status="executing"),
        *(ended("p", "a"), ended("p", "b", "cancelled"), ended("p", "c", "failed")),
        *(task("p", "d", "c"), task("p", "e"), held("p", "f")),
        task("p", "g", status="input_required"),
        task("p", "a-gpu", specialization=("gpu",)),
        agent(),
    )

    (block,) = digest(status).blocks

    assert [(row.task["id"], row.kind) for row in block.rows] == [
        ("p.f", Kind.RUNNING),
        ("p.g", Kind.ASKING),
        ("p.c", Kind.FAILED),
        ("p.e", Kind.READY),
        ("p.a-gpu", Kind.WAITING),
        ("p.d", Kind.WAITING),
    ]
    assert block.hidden == {}


def test_plans_that_run_come_before_those_that_are_over() -> None:
    order = ("cancelled", "done", "draft", "ready", "failed", "executing")

    status = shown(*(plan(f"p{n}", status=s) for n, s in enumerate(order)))

    assert [name for name, _ in rows(status)] == ["p5", "p4", "p3", "p2", "p1", "p0"]


def test_a_huge_plan_does_not_hide_what_runs_in_another() -> None:
    many = [task("a", f"t{n:04}") for n in range(5000)]

    status = shown(plan("a"), *many, plan("z"), held("z", "run"), agent())
    first, second = digest(status).blocks

    assert [row.task["id"] for row in second.rows] == ["z.run"]
    assert len(first.rows) == 200 - 2 - 1
    assert first.hidden == {"submitted": 5000 - 197}
    assert first.counts["submitted"] == 5000


def test_more_plans_than_rows_are_counted() -> None:
    status = shown(*(plan(f"p{n}") for n in range(12)), task("p0", "a"))

    found = digest(status, 10)

    assert len(found.blocks) == 10
    assert found.hidden_plans == 2
    assert not any(block.rows for block in found.blocks)
