"""What has been used, and whether anything is left (CLI 4, ``budget``).

Only what is recorded counts, and it is recorded when an attempt ends: what is used
beyond a budget is at most what ran when it was reached.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from percyd.core.records import Budget, Task
from percyd.core.snapshot import PlanState, Snapshot


def plan_used_up(state: PlanState) -> str | None:
    """Which part of a plan's own budget is used up, in words; None if none is."""
    budget = state.record.budget
    return None if budget is None else used_up(budget, state.tasks.values())


def day_used_up(budget: Budget, snapshot: Snapshot, now: datetime) -> str | None:
    """The same of a budget for each day, in UTC, and of all plans together.

    Records say when a task last changed, not when its attempts ended: all of a task
    that has changed today counts as today's, so that it is never too little.
    """
    day = now.strftime("%Y-%m-%d")
    today = (t for t in snapshot.tasks() if (t.updated_at or "").startswith(day))
    found = used_up(budget, today)
    return f"{found} today" if found else None


def used_up(budget: Budget, tasks: Iterable[Task]) -> str | None:
    """Which part of a budget the attempts at some tasks have used up."""
    cost = wall_s = 0.0
    tokens = 0
    for task in tasks:
        for attempt in task.attempts:
            if (usage := attempt.usage) is not None:
                cost += usage.cost_usd or 0.0
                tokens += (usage.input_tokens or 0) + (usage.output_tokens or 0)
                wall_s += usage.duration_s or 0.0
    if budget.cost_usd is not None and cost >= budget.cost_usd:
        return f"${cost:.2f} of ${budget.cost_usd:.2f}"
    if budget.tokens is not None and tokens >= budget.tokens:
        return f"{tokens:,} of {budget.tokens:,} tokens"
    if budget.wall_s is not None and wall_s >= budget.wall_s:
        return f"{wall_s:.0f} of {budget.wall_s:.0f} s"
    return None
