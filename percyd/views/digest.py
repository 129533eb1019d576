"""The rows of ``percyd status``: what runs, what failed, what waits, most urgent first.

Made from what `status.cluster_status` answers, so that the command line and the web
page choose the same rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from percyd.core.edges import PlanStatus, TaskStatus
from percyd.views.waiting import as_summary

#: CLI 2: "at most 200 rows, then 'and N more'".
ROWS = 200

Json = Mapping[str, Any]


class Kind(StrEnum):
    """What a task's row says, in the order in which rows are chosen and shown."""

    RUNNING = "running"
    ASKING = "asking"
    FAILED = "failed"
    READY = "ready"
    WAITING = "waiting"


_KINDS = list(Kind)
_PLANS = [
    *(PlanStatus.EXECUTING, PlanStatus.FAILED, PlanStatus.READY),
    *(PlanStatus.DRAFT, PlanStatus.DONE, PlanStatus.CANCELLED),
]
_BY_STATUS = {
    TaskStatus.ASSIGNED: Kind.RUNNING,
    TaskStatus.WORKING: Kind.RUNNING,
    TaskStatus.INPUT_REQUIRED: Kind.ASKING,
    TaskStatus.FAILED: Kind.FAILED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One task that needs a line."""

    kind: Kind
    task: Json


@dataclass(frozen=True, slots=True)
class Block:
    """One plan with the rows that are shown of it.

    ``counts`` are those of a ``plan_summary``; ``hidden`` counts the tasks, by status,
    whose rows are left out.
    """

    plan: Json
    counts: Mapping[str, int]
    rows: tuple[Row, ...]
    hidden: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Digest:
    """The blocks, and how many plans have none."""

    blocks: tuple[Block, ...]
    hidden_plans: int


def kind_of(task: Json) -> Kind | None:
    """What a task's row says; None for a completed or cancelled one: no row."""
    status = task["status"]
    if status in (TaskStatus.BLOCKED, TaskStatus.SUBMITTED):
        return Kind.WAITING if task["blocked_by"] else Kind.READY
    return _BY_STATUS.get(status)


def digest(status: Json, limit: int = ROWS) -> Digest:
    """Choose at most ``limit`` rows; a plan's heading counts as one."""
    plans = sorted(status["plans"], key=_plan_rank)
    members: dict[str, list[Json]] = {plan["id"]: [] for plan in plans}
    for task in status["tasks"]:
        members[task["plan"]].append(task)
    shown = plans[:limit]
    rows = {plan["id"]: _rows(members[plan["id"]]) for plan in shown}
    left = _share(rows, limit - len(shown))
    return Digest(
        tuple(
            _block(plan, members[plan["id"]], rows[plan["id"]], left[plan["id"]])
            for plan in shown
        ),
        len(plans) - len(shown),
    )


def _plan_rank(plan: Json) -> tuple[int, str]:
    return _PLANS.index(plan["status"]), plan["id"]


def _rows(tasks: Iterable[Json]) -> list[Row]:
    found = [Row(kind, task) for task in tasks if (kind := kind_of(task)) is not None]
    return sorted(found, key=_rank)


def _rank(row: Row) -> tuple[int, bool, str]:
    # What waits only for an agent is of more use to a person than what is far away.
    far = any(wait["code"] == "dependency" for wait in row.task["blocked_by"])
    return _KINDS.index(row.kind), far, row.task["id"]


def _share(rows: Mapping[str, Sequence[Row]], budget: int) -> dict[str, int]:
    """How many rows each plan shows: what is most urgent first, of all plans."""
    shares = dict.fromkeys(rows, 0)
    ranked = sorted(
        (_KINDS.index(row.kind), place, number)
        for number, ours in enumerate(rows.values())
        for place, row in enumerate(ours[:budget])
    )
    names = list(rows)
    for _, _, number in ranked[:budget]:
        shares[names[number]] += 1
    return shares


def _block(plan: Json, tasks: list[Json], rows: list[Row], share: int) -> Block:
    return Block(
        plan=plan,
        counts=as_summary(Counter(task["status"] for task in tasks)),
        rows=tuple(rows[:share]),
        hidden=Counter(row.task["status"] for row in rows[share:]),
    )
