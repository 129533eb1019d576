"""Words of providers: until when nothing more is to be had, and what is no limit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from percyd.runners.limits import LONGEST_REST, longer_rest, rest_until

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("Claude AI usage limit reached|1795266000", 60),
        ("You've hit your limit · resets 3pm (UTC)", 180),
        ("5-hour limit reached ∙ resets 11am (UTC)", 23 * 60),
        ("weekly limit reached, resets at 12:30 (UTC)", 30),
        ("session limit; resets 3pm (Nowhere/Land)", 15),
        ("session limit; resets 3", 15),
        ("You exceeded your current quota", 15),
        ("insufficient_quota", 15),
        ("API Error: 529 Overloaded", 1),
        ("last status: 429", 1),
        ("Too Many Requests", 1),
    ],
)
def test_a_limit_says_until_when(text: str, minutes: int) -> None:
    assert rest_until(text, NOW) == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Rate limit reached. Please try again in 20s.", 21),
        ("usage limit. Try again in 3 hours 12 minutes.", 3 * 3600 + 12 * 60 + 1),
        ("usage limit, resets in 2 days", 2 * 86400 + 1),
        ("usage limit, try again in 999999999 days", 15 * 60),
        ("usage limit, try again in 400 days", 15 * 60),
    ],
)
def test_a_time_span_is_counted_from_now(text: str, seconds: int) -> None:
    assert rest_until(text, NOW) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exit 1: 429 tests failed",
        "invalid api key",
        "error: no such file",
        "resets the counter at 3pm",
        "a limit of 5 items",
    ],
)
def test_anything_else_is_no_limit(text: str) -> None:
    assert rest_until(text, NOW) is None


def test_a_status_is_enough() -> None:
    assert rest_until("no", NOW, 529) == NOW + timedelta(minutes=1)
    assert rest_until("no", NOW, 500) is None


def test_who_is_parked_again_and_again_rests_longer() -> None:
    rests = [longer_rest(times) for times in range(12)]

    assert rests[0] == timedelta()
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST
