"""The reason codes (FORMAT 3), and what each means for the next attempt."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a task went back, ended, or waits for a person; why a plan stopped."""

    RUNNER_FAILED = "runner_failed"
    TIMED_OUT = "timed_out"
    IDLE = "idle"
    EMPTY_RESULT = "empty_result"
    GATE_FAILED = "gate_failed"
    GATE_TIMED_OUT = "gate_timed_out"
    CONFLICT = "conflict"
    LEFT_BRANCH = "left_branch"
    AGENT_LOST = "agent_lost"

    RELEASED = "released"
    PARKED = "parked"

    RUNNER_MISSING = "runner_missing"
    GATE_BROKEN = "gate_broken"
    WORKSPACE_FAILED = "workspace_failed"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    UNSUPPORTED_REPOSITORY = "unsupported_repository"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    DEPENDENCY_FAILED = "dependency_failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    REMOVED = "removed"
    PLANNER_INVALID = "planner_invalid"

    PAUSED_BY_USER = "paused_by_user"
    BUDGET = "budget"

    QUESTION = "question"
    REVIEW = "review"


#: Back to the queue, after a pause that doubles, until the attempts are used up.
RETRIED = frozenset(
    {
        Reason.RUNNER_FAILED,
        Reason.TIMED_OUT,
        Reason.IDLE,
        Reason.EMPTY_RESULT,
        Reason.GATE_FAILED,
        Reason.GATE_TIMED_OUT,
        Reason.CONFLICT,
        Reason.LEFT_BRANCH,
        Reason.AGENT_LOST,
    }
)
#: Back to the queue at once and not counted.
UNCOUNTED = frozenset({Reason.RELEASED, Reason.PARKED})
#: Final at once, however many attempts are left.
FINAL = frozenset(
    {
        Reason.RUNNER_MISSING,
        Reason.GATE_BROKEN,
        Reason.WORKSPACE_FAILED,
        Reason.SANDBOX_UNAVAILABLE,
        Reason.UNSUPPORTED_REPOSITORY,
        Reason.ATTEMPTS_EXHAUSTED,
        Reason.DEPENDENCY_FAILED,
        Reason.REJECTED,
        Reason.CANCELLED,
        Reason.REMOVED,
        Reason.PLANNER_INVALID,
    }
)

#: The longest pause before an attempt, in seconds (FORMAT 3: "at most 5 min").
BACKOFF_CAP_S = 300.0


def backoff_s(first_s: float, retries: int) -> float:
    """The pause before the attempt that follows ``retries`` failed or lost ones."""
    if retries < 1:
        return 0.0
    return float(min(first_s * 2.0 ** min(retries - 1, 30), BACKOFF_CAP_S))
