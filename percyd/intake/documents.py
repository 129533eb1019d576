"""A committed document, checked with the configuration of its own commit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from percyd.config import shaping
from percyd.core.document.parse import Document, Parsed, parse
from percyd.core.records import Land
from percyd.errors import InvalidPlan, NoRunner
from percyd.repo import discover
from percyd.repo.discover import Clone
from percyd.repo.values import Remote
from percyd.settings import Config

PROBLEMS_SHOWN = 50
_NOT_MOVED = (
    "is auto, but {} is checked out in this repository, which is its own remote; "
    "manual is allowed, or another branch checked out"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A good document, and the configuration that shapes its plan."""

    parsed: Parsed
    document: Document
    shaped: Config

    def base(self, default: str) -> str:
        """The branch that the plan is for."""
        return self.document.base or self.shaped.base or default


def read(shown: str, content: bytes, config: bytes | None) -> Checked:
    """Read a document; ``shown`` is its name in what is said of it.

    Raises:
        InvalidPlan, InvalidConfig: with every problem.
        NoRunner: a task that nothing can do.
    """
    parsed = parse(shown, content)
    if parsed.document is None:
        raise InvalidPlan(lines(parsed.problems))
    shaped = shaping(config)
    missing = parsed.missing_runner(shaped.runner)
    if missing:
        raise NoRunner(lines(missing))
    return Checked(parsed, parsed.document, shaped)


def refuse_landing(
    checked: Checked, land: Land, branch: str, clone: Clone, remote: Remote
) -> None:
    """Refuse a plan that is to land by itself where its base branch may not move.

    Raises:
        InvalidPlan: that is so.
    """
    if land == "auto" and not discover.may_move(clone, remote, branch):
        problem = checked.parsed.problem_at(_NOT_MOVED.format(branch), "land")
        raise InvalidPlan(str(problem))


def lines(problems: Sequence[object]) -> str:
    """The first problems, one a line."""
    shown = [str(problem) for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
    return "\n".join(shown)
