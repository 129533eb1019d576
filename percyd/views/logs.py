"""The logs of attempts that were run on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from percyd.core.edges import HELD
from percyd.core.records import Task
from percyd.core.snapshot import Snapshot
from percyd.core.words import counted
from percyd.errors import RefusedError
from percyd.home import Home

#: So much of a log is held in memory.
PIECE_BYTES = 64 * 1024
_NAME = re.compile(r"([0-9]{1,9})\.log(\.gate)?")


class Growing:
    """A file that is read as far as it goes, again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> Iterator[bytes]:
        """What has come since the last call, in pieces; nothing if there is no file."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            # What is written while it is read waits for the next call.
            end = os.fstat(file.fileno()).st_size
            file.seek(self._offset)
            while self._offset < end:
                piece = file.read(min(PIECE_BYTES, end - self._offset))
                if not piece:
                    return
                self._offset += len(piece)
                yield piece


@dataclass(frozen=True, slots=True)
class AttemptLog:
    """What an attempt's program has printed, and its gate."""

    task: str
    attempt: int
    agent: str | None
    program: Path
    gate: Path

    def is_open(self, snapshot: Snapshot) -> bool:
        """Whether the attempt still holds its task."""
        task = snapshot.task(self.task)
        return task is not None and task.status in HELD and task.attempt == self.attempt


def attempts_here(home: Home, task: str) -> list[int]:
    """The attempts at a task (full id) that have a log on this machine, in order."""
    found = (_NAME.fullmatch(path.name) for path in home.logs_of(task))
    return sorted({int(match[1]) for match in found if match})


def find_log(
    home: Home, snapshot: Snapshot, task: Task, attempt: int | None
) -> AttemptLog:
    """The log of an attempt at a task: of the newest one here, if none is named.

    An attempt that goes on here has one, even if nothing has been written yet.

    Raises:
        RefusedError: it has no log here; says where it was run.
    """
    here = attempts_here(home, task.id)
    begins = _begins_here(home, task)
    wanted = attempt or (task.attempt if begins else max(here, default=task.attempt))
    if wanted not in here and not (begins and wanted == task.attempt):
        raise _not_here(snapshot, task, wanted, here)
    path = home.log_of(task.id, wanted)
    agent = agent_of(task, wanted)
    return AttemptLog(task.id, wanted, agent, path, path.with_name(f"{path.name}.gate"))


def _begins_here(home: Home, task: Task) -> bool:
    """Whether an agent of this clone holds it: its log is there, or about to be."""
    return task.status in HELD and home.lock(task.assigned_to or "").is_file()


def agent_of(task: Task, attempt: int) -> str | None:
    """Who has made, or makes, an attempt."""
    ended = {entry.number: entry.agent for entry in task.attempts}
    current = task.assigned_to if attempt == task.attempt else None
    return ended.get(attempt, current)


def where_run(snapshot: Snapshot, agent: str | None) -> str:
    """An agent and its host, for a sentence."""
    card = snapshot.agents.get(agent or "")
    return f"{agent} on {card.host}" if card else f"{agent}"


def _not_here(
    snapshot: Snapshot, task: Task, attempt: int, here: list[int]
) -> RefusedError:
    agent = agent_of(task, attempt)
    if agent is None:
        made = counted(task.attempt, "attempt")
        if not task.attempt:
            return RefusedError(
                f"{task.id} has not been run yet",
                hint=f"percyd task show {task.id} says why",
            )
        return RefusedError(
            f"there is no attempt {attempt} at {task.id}: {made} made so far",
            hint=f"see percyd task show {task.id}",
        )
    hint = "its log is kept there: run percyd task log in that clone"
    if here:
        hint += f"; here: --attempt {' or '.join(map(str, here[-3:]))}"
    where = where_run(snapshot, agent)
    return RefusedError(f"attempt {attempt} at {task.id} was run by {where}", hint=hint)
