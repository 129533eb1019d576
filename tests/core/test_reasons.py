"""The reason codes and the pauses between attempts."""

from __future__ import annotations

import pytest

from percyd.core.reasons import (
    BACKOFF_CAP_S,
    FINAL,
    RETRIED,
    UNCOUNTED,
    Reason,
    backoff_s,
)

RETRIED_CODES = (
    "runner_failed timed_out idle empty_result gate_failed gate_timed_out conflict "
    "left_branch agent_lost"
)
FINAL_CODES = (
    "runner_missing gate_broken workspace_failed sandbox_unavailable "
    "unsupported_repository attempts_exhausted dependency_failed rejected cancelled "
    "removed planner_invalid"
)


def test_the_codes_are_those_of_the_specification() -> None:
    assert set(RETRIED_CODES.split()) == RETRIED
    assert {"released", "parked"} == UNCOUNTED
    assert set(FINAL_CODES.split()) == FINAL


def test_every_code_says_one_thing_about_the_next_attempt() -> None:
    groups = [RETRIED, UNCOUNTED, FINAL]

    assert sum(map(len, groups)) == len(RETRIED | UNCOUNTED | FINAL)
    # Two stop a plan, and two make a task wait for a person.
    rest = set(Reason) - RETRIED - UNCOUNTED - FINAL
    assert rest == {"paused_by_user", "budget", "question", "review"}


@pytest.mark.parametrize(
    ("retries", "expected"),
    [(-1, 0), (0, 0), (1, 5), (2, 10), (3, 20), (4, 40), (5, 80), (6, 160), (7, 300)],
)
def test_the_pause_doubles_from_five_seconds_to_five_minutes(
    retries: int, expected: float
) -> None:
    assert backoff_s(5, retries) == expected


@pytest.mark.parametrize("retries", [8, 31, 1_000, 10**9])
def test_the_pause_stays_at_the_cap_however_many_retries(retries: int) -> None:
    assert backoff_s(5, retries) == BACKOFF_CAP_S == 300


def test_the_pause_never_shrinks() -> None:
    pauses = [backoff_s(0.5, retries) for retries in range(64)]

    assert pauses == sorted(pauses)


def test_a_pause_of_zero_stays_zero() -> None:
    assert {backoff_s(0, retries) for retries in range(50)} == {0}


def test_a_first_pause_beyond_the_cap_is_cut() -> None:
    assert backoff_s(1_000, 1) == BACKOFF_CAP_S
