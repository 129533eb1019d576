"""The history of ``percy/state`` as events: one operation, one commit, one event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from percyd.core.document.problems import escaped
from percyd.core.ids import plan_of, short_of
from percyd.core.refs import Oid
from percyd.errors import UnknownIdError
from percyd.repo.runner import Git
from percyd.state.codec import parse_trailers
from percyd.views.times import as_text

_FORMAT = "%H%x00%ct%x00%s%x00%B"
_FIELDS = 4
#: A hundred thousand commits take about a second; this is for slow disks.
_DEADLINE_S = 300
#: The last second that a `datetime` can hold: commits made by hand may name any.
_LAST_SECOND = 253402300799
_ID_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


@dataclass(frozen=True, slots=True)
class Event:
    """One commit of the state branch.

    ``attempts`` stand beside ``tasks``, pair by pair. A commit that was made by hand
    may have no operation and no op id.
    """

    commit: Oid
    operation: str | None
    subject: str
    time: datetime
    op_id: str | None
    plan: str | None
    tasks: tuple[str, ...]
    attempts: tuple[int, ...]
    agent: str | None

    def as_json(self) -> dict[str, Any]:
        """The event as one JSON document."""
        return {
            "commit": self.commit,
            "operation": self.operation,
            "subject": self.subject,
            "time": as_text(self.time),
            "op_id": self.op_id,
            "plan": self.plan,
            "tasks": list(self.tasks),
            "attempts": list(self.attempts),
            "agent": self.agent,
        }


def events(
    git: Git,
    tip: Oid,
    *,
    plan: str | None = None,
    task: str | None = None,
    limit: int | None = None,
    after: Oid | None = None,
    oldest_first: bool = False,
) -> Iterator[Event]:
    """The events up to ``tip``, newest first.

    Args:
        git: The repository that has the history: the hub's.
        tip: A commit of the state branch.
        plan: Only what is about this plan or any of its tasks.
        task: Only what is about the task with this full id.
        limit: At most so many, the newest of them.
        after: Only what came after this commit.
        oldest_first: Turn the order of the chosen events around.

    Raises:
        UnknownIdError: ``plan`` or ``task`` is no id at all.
    """
    options = [f"--grep={pattern}" for pattern in _patterns(plan, task)]
    if limit is not None:
        options.append(f"--max-count={limit}")
    if oldest_first:
        options.append("--reverse")
    wanted = [tip] if after is None else [tip, f"^{after}"]
    listing = git.run(
        *("log", "--first-parent", "-z", f"--format=tformat:{_FORMAT}"),
        *("--encoding=UTF-8", "--extended-regexp", "--all-match", *options),
        *("--end-of-options", *wanted, "--"),
        deadline_s=_DEADLINE_S,
    )
    fields = listing.stdout.decode("utf-8", "replace").split("\0")
    for start in range(0, len(fields) - _FIELDS + 1, _FIELDS):
        yield _event(*fields[start : start + _FIELDS])


def _patterns(plan: str | None, task: str | None) -> Iterator[str]:
    """What git looks for in the messages, line by line."""
    if plan is not None:
        name = _checked(plan)
        # An operation on tasks of several plans names no plan (FORMAT 4).
        yield f"^Percy-(Plan: {name}|Task: {name}[.][a-z0-9_-]+)$"
    if task is not None:
        name = f"{_checked(plan_of(task))}[.]{_checked(short_of(task))}"
        yield f"^Percy-Task: {name}$"


def _checked(name: str) -> str:
    """An id that means only itself in a pattern."""
    if not name or not _ID_CHARACTERS.issuperset(name):
        raise UnknownIdError(f"there is nothing with the id '{escaped(name)}'")
    return name


def _event(commit: str, seconds: str, subject: str, message: str) -> Event:
    trailers = parse_trailers(message)
    attempts = trailers.get("Percy-Attempt", ())
    return Event(
        commit=commit,
        operation=_first(trailers, "Percy-Operation"),
        subject=subject,
        time=datetime.fromtimestamp(min(_number(seconds), _LAST_SECOND), UTC),
        op_id=_first(trailers, "Percy-Op-Id"),
        plan=_first(trailers, "Percy-Plan"),
        tasks=tuple(trailers.get("Percy-Task", ())),
        attempts=tuple(_number(text) for text in attempts),
        agent=_first(trailers, "Percy-Agent"),
    )


def _first(trailers: Mapping[str, tuple[str, ...]], key: str) -> str | None:
    values = trailers.get(key)
    return values[0] if values else None


def _number(text: str) -> int:
    """A number as git or percyd writes it; 0 for what else somebody has written."""
    return int(text) if text.isdecimal() and len(text) <= 18 else 0
