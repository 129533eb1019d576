"""Every legal change of status, and the operations that may make it (FORMAT 3).

The one edge table: writers refuse what is not in it, readers report it.
``ABSENT`` stands for "there is no such record".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

ABSENT: Final = "absent"


class TaskStatus(StrEnum):
    """Where a task is."""

    BLOCKED = "blocked"
    SUBMITTED = "submitted"
    ASSIGNED = "assigned"
    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class PlanStatus(StrEnum):
    """Where a plan is."""

    DRAFT = "draft"
    READY = "ready"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AgentStatus(StrEnum):
    """Where an agent is."""

    JOINED = "joined"
    LEFT = "left"
    LOST = "lost"


class Op(StrEnum):
    """The operations: the first word of a state commit's subject."""

    INIT = "init"
    JOIN = "join"
    LEAVE = "leave"
    LOST = "lost"
    TAKE_IN = "take-in"
    PLAN_TASKS = "plan-tasks"
    RECONCILE = "reconcile"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CLOSE = "close"
    LAND = "land"
    ARCHIVE = "archive"
    RESOLVE = "resolve"
    CLAIM = "claim"
    WORK = "work"
    TURN = "turn"
    COMPLETE = "complete"
    ASK = "ask"
    ANSWER = "answer"
    APPROVE = "approve"
    REJECT = "reject"
    RELEASE = "release"
    REQUEUE = "requeue"
    FAIL = "fail"
    RETRY = "retry"
    CANCEL = "cancel"
    SAY = "say"
    REPAIR = "repair"


#: Statuses in which an agent holds the task.
HELD = frozenset({TaskStatus.ASSIGNED, TaskStatus.WORKING})
#: Statuses that end a task.
ENDED = frozenset({TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED})
#: Ends after which a dependent can never run.
DEAD = frozenset({TaskStatus.FAILED, TaskStatus.CANCELLED})
#: Statuses that end a plan.
CLOSED = frozenset({PlanStatus.DONE, PlanStatus.FAILED, PlanStatus.CANCELLED})
#: Statuses in which a plan's tasks may be claimed.
RUNNABLE = frozenset({PlanStatus.READY, PlanStatus.EXECUTING})

_T = TaskStatus
_P = PlanStatus
_A = AgentStatus

Edges = dict[tuple[str, str], frozenset[Op]]


def _edges(*rows: tuple[str, str, set[Op]]) -> Edges:
    table: dict[tuple[str, str], frozenset[Op]] = {}
    for sources, targets, ops in rows:
        for source in sources.split():
            for target in targets.split():
                key = (source, target)
                table[key] = table.get(key, frozenset()) | ops
    return table


TASK_EDGES: Edges = _edges(
    (
        ABSENT,
        "blocked submitted",
        {Op.TAKE_IN, Op.PLAN_TASKS, Op.RECONCILE, Op.LAND, Op.COMPLETE},
    ),
    (_T.BLOCKED, _T.SUBMITTED, {Op.RESOLVE}),
    (_T.SUBMITTED, _T.BLOCKED, {Op.RECONCILE}),
    ("blocked submitted", _T.CANCELLED, {Op.CANCEL, Op.RESOLVE, Op.RECONCILE}),
    (_T.BLOCKED, _T.BLOCKED, {Op.RECONCILE}),
    (_T.SUBMITTED, _T.SUBMITTED, {Op.RECONCILE}),
    *((status, status, {Op.SAY, Op.REPAIR}) for status in _T),
    (_T.SUBMITTED, _T.ASSIGNED, {Op.CLAIM}),
    (_T.ASSIGNED, _T.WORKING, {Op.WORK}),
    (
        "assigned working",
        _T.SUBMITTED,
        {Op.LOST, Op.LEAVE, Op.REQUEUE, Op.RELEASE},
    ),
    (_T.WORKING, _T.COMPLETED, {Op.COMPLETE, Op.PLAN_TASKS}),
    (_T.WORKING, _T.INPUT_REQUIRED, {Op.ASK}),
    ("assigned working", _T.FAILED, {Op.FAIL, Op.LOST}),
    ("assigned working", _T.CANCELLED, {Op.CANCEL}),
    (_T.INPUT_REQUIRED, _T.SUBMITTED, {Op.ANSWER, Op.APPROVE}),
    (_T.INPUT_REQUIRED, _T.FAILED, {Op.REJECT}),
    (_T.INPUT_REQUIRED, _T.CANCELLED, {Op.CANCEL}),
    ("failed cancelled", "submitted blocked", {Op.RETRY}),
    (_T.CANCELLED, "blocked submitted", {Op.RECONCILE}),
    ("completed failed cancelled", ABSENT, {Op.ARCHIVE}),
)

PLAN_EDGES: Edges = _edges(
    (ABSENT, "draft ready", {Op.TAKE_IN}),
    (_P.DRAFT, _P.READY, {Op.START, Op.RECONCILE}),
    ("draft ready executing failed", _P.CANCELLED, {Op.CANCEL}),
    (_P.READY, _P.EXECUTING, {Op.CLAIM}),
    ("ready executing", "done failed", {Op.CLOSE}),
    ("failed cancelled", _P.EXECUTING, {Op.RETRY}),
    (_P.DONE, _P.EXECUTING, {Op.LAND}),
    ("done failed cancelled", ABSENT, {Op.ARCHIVE}),
)

AGENT_EDGES: Edges = _edges(
    (ABSENT, _A.JOINED, {Op.JOIN}),
    (_A.JOINED, _A.LEFT, {Op.LEAVE}),
    (_A.JOINED, _A.LOST, {Op.LOST}),
    ("left lost", ABSENT, {Op.ARCHIVE}),
)


def is_legal(edges: Edges, old: str, new: str, op: str) -> bool:
    """Whether operation ``op`` may move a record from status ``old`` to ``new``."""
    return op in edges.get((old, new), frozenset())
