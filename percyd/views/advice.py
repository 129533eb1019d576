"""What is to be mended before a failed task is worth another try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from percyd.core.reasons import Reason

Json = Mapping[str, Any]


def first_mend(task: Json, plan: Json) -> str | None:
    """What a person does before ``task retry``; None where the reason says it all.

    Args:
        task: A failed task as JSON has it.
        plan: Its plan.
    """
    match _cause(task):
        case Reason.GATE_BROKEN:
            path = (plan["source"] or {}).get("path")
            return f"mend verify in {path}, commit it" if path else None
        case Reason.CONFLICT if task["type"] == "land":
            return (
                f"merge percy/plan/{plan['id']} into {plan['base_branch']} by hand, "
                "push it"
            )
        case _:
            return None


def _cause(task: Json) -> str | None:
    """Why it failed: of a task without attempts left, why the last one did."""
    reason = task["reason"]
    if reason and reason["code"] == Reason.ATTEMPTS_EXHAUSTED and task["attempts"]:
        reason = task["attempts"][-1]["reason"]
    return reason["code"] if reason else None
