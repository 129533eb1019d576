"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from percyd.errors import PercydError


class Mark(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    name: str
    mark: Mark
    message: str
    #: What to do about it; "" where nothing is to be done.
    hint: str = ""
    #: For a problem: what percyd's commands would end with.
    exit_code: int = 0

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "mark": self.mark.value,
            "message": self.message,
            "hint": self.hint,
        }


def fine(name: str, message: str) -> Check:
    """Nothing to do."""
    return Check(name, Mark.OK, message)


def warning(name: str, message: str, hint: str) -> Check:
    """Something that somebody should know, and with which percyd works."""
    return Check(name, Mark.WARNING, message, hint)


def problem(
    name: str, message: str, hint: str, exit_code: int = PercydError.exit_code
) -> Check:
    """Something with which percyd does not work."""
    return Check(name, Mark.PROBLEM, message, hint, exit_code)


def of_error(name: str, error: PercydError) -> Check:
    """A problem that percyd's other commands would end with."""
    return problem(name, error.message, error.hint, error.exit_code)


def exit_code(checks: Iterable[Check]) -> int:
    """The code of the worst problem: a refused state before an unreachable remote."""
    return max((check.exit_code for check in checks), default=0)
