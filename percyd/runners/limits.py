"""Words of a provider that nothing more is to be had for now, and until when."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

#: How long a runner rests where nobody said how long. A usage limit lasts hours, a rate
#: limit a minute; whoever asks too early is told once more.
USAGE_REST = timedelta(minutes=15)
RATE_REST = timedelta(minutes=1)
#: A rate limit that does not go away is asked about less and less often.
LONGEST_REST = timedelta(minutes=30)
#: No limit that is known lasts longer than a week: more is a misread number.
LONGEST = timedelta(days=8)

_USAGE = re.compile(
    r"(usage|session|5-hour|weekly|daily|monthly|spend(ing)?|plan) limit"
    r"|hit your (\w+ )?limit|out of (extra )?(usage|credits)"
    r"|insufficient_quota|exceeded your current quota|quota exceeded"
    r"|credit balance is too low",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"rate.?limit|too many requests|overloaded|resource.?exhausted"
    r"|at capacity|(status|error|code|\()\W{0,3}(429|529)\b",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"\|\s*(1[0-9]{9})\b")
_IN = re.compile(
    r"(?:again|retry|resets?|wait)\D{0,20}?in "
    r"(?:(\d+) ?d(?:ays?)? ?)?(?:(\d+) ?h(?:ours?)? ?)?"
    r"(?:(\d+) ?m(?:in(?:ute)?s?)? ?)?(?:(\d+)(?:\.\d+)? ?s(?:ec(?:ond)?s?)?)?",
    re.IGNORECASE,
)
_AT = re.compile(
    r"resets? (?:at )?(\d{1,2})(?::(\d{2}))? ?(am|pm)?(?: ?\(([A-Za-z_/+-]+[0-9]*)\))?",
    re.IGNORECASE,
)


def rest_until(text: str, now: datetime, status: int | None = None) -> datetime | None:
    """Until when a runner rests that ended with ``text``; None if at no limit.

    Args:
        text: What it said at its end.
        now: The time, with its zone.
        status: The status of the provider's last answer, where it is known.
    """
    if _USAGE.search(text):
        rest = USAGE_REST
    elif status in (429, 529) or _RATE.search(text):
        rest = RATE_REST
    else:
        return None
    said = next((t for find in _FINDERS if (t := find(text, now)) is not None), None)
    if said is None or not now < said <= now + LONGEST:
        return now + rest
    return said


def longer_rest(times: int) -> timedelta:
    """How long a runner rests at least that has been parked so often in a row."""
    return min(RATE_REST * 2 ** min(times, 10), LONGEST_REST) if times else timedelta()


def _epoch(text: str, _: datetime) -> datetime | None:
    found = _EPOCH.search(text)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def _after(text: str, now: datetime) -> datetime | None:
    found = _IN.search(text)
    if found is None or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    # A number without bounds would be too long for a date.
    if max(days, hours, minutes, seconds) > 10**6:
        return None
    return now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds + 1)


def _at(text: str, now: datetime) -> datetime | None:
    found = _AT.search(text)
    if found is None:
        return None
    hour, minute = int(found[1]), int(found[2] or 0)
    half = (found[3] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    elif found[2] is None:
        return None  # "resets 3" says nothing
    try:
        zone = ZoneInfo(found[4]) if found[4] else None
        # Without a zone it is the time of this machine.
        here = now.astimezone(zone)
        there = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return there if there > here else there + timedelta(days=1)


_FINDERS: tuple[Callable[[str, datetime], datetime | None], ...] = (_epoch, _after, _at)
