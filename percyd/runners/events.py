"""What a coding program tells while it works, the same for every program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from percyd.work.masking import masked_text

Json = Mapping[str, Any]

#: So much of a tool call's arguments is shown.
DETAIL_CHARS = 200
_MOST_USD = 1e9


@dataclass(frozen=True, slots=True)
class Began:
    """The program has opened a session."""

    session: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """The model said something."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """The model used a tool; ``detail`` is one line of what for."""

    tool: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A tool or a request failed; the program may go on all the same."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The program says that it is through, and how."""

    text: str = ""
    cost_usd: float | None = None


Event = Began | Said | Called | Trouble | Ended


def object_of(line: bytes) -> Json | None:
    """The JSON object of a line; None if it is anything else.

    What was printed to standard error without a line end may stand before it.
    """
    start = line.find(b"{")
    if start < 0:
        return None
    try:
        found = json.loads(line[start:].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def clean(text: str) -> str:
    """``text`` without halves of characters, as a program leaves that cuts strings."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def mapping(value: object) -> Json:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Json]:
    """The objects of a list; whatever else there is counts as none."""
    found = value if isinstance(value, list) else []
    return [one for one in found if isinstance(one, dict)]


def text_of(value: object) -> str:
    """``value`` if it is text, else none."""
    return clean(value) if isinstance(value, str) else ""


def count_of(value: object) -> int:
    """``value`` if it is a count, else 0."""
    return value if type(value) is int and value >= 0 else 0


def cost_of(value: object) -> float | None:
    """``value`` if it is an amount of money, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MOST_USD else None


def detail_of(arguments: object) -> str:
    """One line of what a tool was called with: its most telling argument."""
    given = mapping(arguments)
    for key in ("command", "cmd", "file_path", "filePath", "path", "pattern", "url"):
        if found := text_of(given.get(key)):
            return one_line(found)
    return one_line(json.dumps(given, ensure_ascii=False)) if given else ""


def one_line(text: str) -> str:
    """``text`` on one line, cut."""
    return " ".join(masked_text(clean(text)).split())[:DETAIL_CHARS]
