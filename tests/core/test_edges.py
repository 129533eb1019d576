"""The edge tables, against a transcription made by hand from the specification."""

from __future__ import annotations

import pytest

from percyd.core.edges import (
    ABSENT,
    AGENT_EDGES,
    CLOSED,
    DEAD,
    ENDED,
    HELD,
    PLAN_EDGES,
    RUNNABLE,
    TASK_EDGES,
    AgentStatus,
    Edges,
    Op,
    PlanStatus,
    TaskStatus,
    is_legal,
)

# One line for each edge and operation, none computed: a slip in the table and the same
# slip here are unlikely.
TASK = [
    ("absent", "blocked", "take-in"),
    ("absent", "blocked", "plan-tasks"),
    ("absent", "blocked", "reconcile"),
    ("absent", "blocked", "land"),
    ("absent", "blocked", "complete"),
    ("absent", "submitted", "take-in"),
    ("absent", "submitted", "plan-tasks"),
    ("absent", "submitted", "reconcile"),
    ("absent", "submitted", "land"),
    ("absent", "submitted", "complete"),
    ("blocked", "submitted", "resolve"),
    ("submitted", "blocked", "reconcile"),
    ("blocked", "cancelled", "cancel"),
    ("blocked", "cancelled", "resolve"),
    ("blocked", "cancelled", "reconcile"),
    ("submitted", "cancelled", "cancel"),
    ("submitted", "cancelled", "resolve"),
    ("submitted", "cancelled", "reconcile"),
    ("blocked", "blocked", "reconcile"),
    ("submitted", "submitted", "reconcile"),
    ("blocked", "blocked", "say"),
    ("submitted", "submitted", "say"),
    ("assigned", "assigned", "say"),
    ("working", "working", "say"),
    ("input_required", "input_required", "say"),
    ("completed", "completed", "say"),
    ("failed", "failed", "say"),
    ("cancelled", "cancelled", "say"),
    ("blocked", "blocked", "repair"),
    ("submitted", "submitted", "repair"),
    ("assigned", "assigned", "repair"),
    ("working", "working", "repair"),
    ("input_required", "input_required", "repair"),
    ("completed", "completed", "repair"),
    ("failed", "failed", "repair"),
    ("cancelled", "cancelled", "repair"),
    ("submitted", "assigned", "claim"),
    ("assigned", "working", "work"),
    ("assigned", "submitted", "lost"),
    ("assigned", "submitted", "leave"),
    ("assigned", "submitted", "requeue"),
    ("assigned", "submitted", "release"),
    ("working", "submitted", "lost"),
    ("working", "submitted", "leave"),
    ("working", "submitted", "requeue"),
    ("working", "submitted", "release"),
    ("working", "completed", "complete"),
    ("working", "completed", "plan-tasks"),
    ("working", "input_required", "ask"),
    ("assigned", "failed", "fail"),
    ("assigned", "failed", "lost"),
    ("working", "failed", "fail"),
    ("working", "failed", "lost"),
    ("assigned", "cancelled", "cancel"),
    ("working", "cancelled", "cancel"),
    ("input_required", "submitted", "answer"),
    ("input_required", "submitted", "approve"),
    ("input_required", "failed", "reject"),
    ("input_required", "cancelled", "cancel"),
    ("failed", "submitted", "retry"),
    ("failed", "blocked", "retry"),
    ("cancelled", "submitted", "retry"),
    ("cancelled", "blocked", "retry"),
    ("cancelled", "blocked", "reconcile"),
    ("cancelled", "submitted", "reconcile"),
    ("completed", "absent", "archive"),
    ("failed", "absent", "archive"),
    ("cancelled", "absent", "archive"),
]


# The specification names a plan's pairs and leaves most of the operations open.
PLAN_PAIRS = [
    ("absent", "draft"),
    ("absent", "ready"),
    ("draft", "ready"),
    ("draft", "cancelled"),
    ("ready", "executing"),
    ("ready", "done"),
    ("ready", "failed"),
    ("ready", "cancelled"),
    ("executing", "done"),
    ("executing", "failed"),
    ("executing", "cancelled"),
    ("failed", "executing"),
    ("failed", "cancelled"),
    ("cancelled", "executing"),
    ("done", "executing"),
    ("done", "absent"),
    ("failed", "absent"),
    ("cancelled", "absent"),
]
PLAN_NAMED = [
    ("absent", "draft", "take-in"),
    ("absent", "ready", "take-in"),
    ("draft", "ready", "start"),
    ("ready", "executing", "claim"),
    ("failed", "executing", "retry"),
    ("cancelled", "executing", "retry"),
    ("done", "executing", "land"),
    ("done", "absent", "archive"),
    ("failed", "absent", "archive"),
    ("cancelled", "absent", "archive"),
]

AGENT = [
    ("absent", "joined", "join"),
    ("joined", "left", "leave"),
    ("joined", "lost", "lost"),
    ("left", "absent", "archive"),
    ("lost", "absent", "archive"),
]

OPERATIONS = (
    "init join leave lost take-in plan-tasks reconcile start pause resume close land "
    "archive resolve claim work turn complete ask answer approve reject release "
    "requeue fail retry cancel say repair"
)


def flat(edges: Edges) -> set[tuple[str, str, str]]:
    return {(old, new, op) for (old, new), ops in edges.items() for op in ops}


def test_the_transcription_names_no_edge_twice() -> None:
    assert len(set(TASK)) == len(TASK)


def test_every_edge_of_the_specification_is_in_the_task_table() -> None:
    assert set(TASK) - flat(TASK_EDGES) == set()


def test_every_edge_of_the_task_table_is_in_the_specification() -> None:
    assert flat(TASK_EDGES) - set(TASK) == set()


def test_the_plan_table_has_exactly_the_pairs_of_the_specification() -> None:
    assert set(PLAN_EDGES) == set(PLAN_PAIRS)
    assert set(PLAN_NAMED) <= flat(PLAN_EDGES)


def test_only_named_operations_close_or_cancel_a_plan() -> None:
    ends = {(new, op) for _, new, op in flat(PLAN_EDGES) if new in CLOSED}

    assert ends == {("done", "close"), ("failed", "close"), ("cancelled", "cancel")}


def test_the_agent_table_is_that_of_the_specification() -> None:
    assert flat(AGENT_EDGES) == set(AGENT)


def test_the_operations_are_those_of_the_specification_in_order() -> None:
    assert [str(op) for op in Op] == OPERATIONS.split()


@pytest.mark.parametrize("old", [ABSENT, *TaskStatus])
@pytest.mark.parametrize("new", [ABSENT, *TaskStatus])
def test_is_legal_says_yes_for_exactly_the_edges(old: str, new: str) -> None:
    allowed = {op for op in Op if is_legal(TASK_EDGES, old, new, op)}

    expected = {op for a, b, op in TASK if (a, b) == (old, new)}
    assert allowed == expected


def test_an_unknown_status_or_operation_is_not_legal() -> None:
    assert not is_legal(TASK_EDGES, "submitted", "paused", "claim")
    assert not is_legal(TASK_EDGES, "submitted", "assigned", "steal")


def test_no_record_ever_moves_from_absent_to_absent() -> None:
    for edges in (TASK_EDGES, PLAN_EDGES, AGENT_EDGES):
        assert (ABSENT, ABSENT) not in edges


def test_only_ended_tasks_and_closed_plans_are_archived() -> None:
    assert {old for old, new in TASK_EDGES if new == ABSENT} == set(ENDED)
    assert {old for old, new in PLAN_EDGES if new == ABSENT} == set(CLOSED)


def test_only_a_claim_gives_a_task_to_an_agent() -> None:
    taken = {e for e in flat(TASK_EDGES) if e[1] in HELD and e[0] not in HELD}

    assert taken == {("submitted", "assigned", "claim")}


def test_a_completed_task_is_never_run_again() -> None:
    onward = {new for old, new in TASK_EDGES if old == "completed"}

    assert onward == {"completed", ABSENT}


def test_the_sets_of_statuses_hold_what_they_say() -> None:
    assert {"assigned", "working"} == HELD
    assert {"completed", "failed", "cancelled"} == ENDED
    assert {"failed", "cancelled"} == DEAD
    assert {"done", "failed", "cancelled"} == CLOSED
    assert {"ready", "executing"} == RUNNABLE
    assert len(TaskStatus) == 8
    assert len(PlanStatus) == 6
    assert len(AgentStatus) == 3
