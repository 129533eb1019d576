"""What a loop that ended by itself has left: everything done, or what is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from percyd.core.edges import ENDED, TaskStatus
from percyd.core.records import Task
from percyd.core.snapshot import Snapshot
from percyd.core.words import counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a loop that ended by itself left the work: nothing bad, or what."""

    completed: int = 0
    given_back: int = 0
    failed: tuple[Task, ...] = ()
    waiting: tuple[Task, ...] = ()
    problems: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()

    def summary(self, *, local: bool = False) -> str:
        """What is done, and where it lies, what was given back or failed, in one line.

        Args:
            local: There is no remote: the branches are in the clone itself.
        """
        parts = []
        if self.completed:
            where = ", ".join(f"percy/plan/{plan}" for plan in self.plans[:3])
            more = f" and {len(self.plans) - 3} more" if len(self.plans) > 3 else ""
            tasks = counted(self.completed, "task")
            parts.append(f"{tasks} completed and merged into {where}{more}")
            parts[-1] += "" if local else " on the remote"
        if self.given_back:
            were = "was" if self.given_back == 1 else "were"
            parts.append(f"{counted(self.given_back, 'task')} {were} given back")
        if self.failed:
            parts.append(f"not completed: {_named(self.failed)}")
        if not parts:
            return "nothing was to do" if self.good else self.words
        return "; ".join(parts)

    @property
    def good(self) -> bool:
        """Whether every task that was to do is completed."""
        return not (self.failed or self.waiting or self.problems)

    @property
    def words(self) -> str:
        """What is not good, in one line."""
        parts = []
        if self.failed:
            parts.append(f"not completed: {_named(self.failed)}")
        if self.waiting:
            parts.append(f"waiting: {_named(self.waiting)}")
        if self.problems:
            count = len(self.problems)
            parts.append(f"{count} plan file{'s' * (count != 1)} refused")
        return "; ".join(parts)

    @property
    def hint(self) -> str:
        """Where to look."""
        if self.failed or self.waiting:
            return "see percyd status"
        return "mend what is said above; percyd plan check tells more"


def _named(tasks: tuple[Task, ...]) -> str:
    """The first tasks with why, and how many more."""
    shown = [f"{t.id} ({t.reason.code if t.reason else t.status})" for t in tasks[:3]]
    if len(tasks) > 3:
        shown.append(f"{len(tasks) - 3} more")
    return ", ".join(shown)


class Ledger:
    """Remembers what had ended before, so that old failures do not count."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._before = {
            task.id: task.attempt for task in snapshot.tasks() if task.status in ENDED
        }
        self._tried = {task.id: _last(task) for task in snapshot.tasks()}

    def outcome(self, snapshot: Snapshot, problems: Sequence[str]) -> Outcome:
        """What became of everything that was open at the start or added since."""
        new = [task for task in snapshot.tasks() if self._is_new(task)]
        bad = sorted(
            (task for task in new if _is_bad(task)),
            key=lambda task: (task.status is not TaskStatus.FAILED, task.id),
        )
        return Outcome(
            completed=sum(task.status is TaskStatus.COMPLETED for task in new),
            given_back=sum(1 for task in bad if self._was_given_back(task)),
            failed=tuple(task for task in bad if task.status in ENDED),
            waiting=tuple(task for task in bad if task.status not in ENDED),
            problems=tuple(problems),
            plans=tuple(
                sorted({t.plan for t in new if t.status is TaskStatus.COMPLETED})
            ),
        )

    def _is_new(self, task: Task) -> bool:
        """Whether it was open at the start, or has been added or retried since."""
        return self._before.get(task.id) != task.attempt

    def _was_given_back(self, task: Task) -> bool:
        """Whether its newest attempt was given back, and that since the start."""
        is_new = _last(task) > self._tried.get(task.id, 0)
        return is_new and task.attempts[-1].outcome == "released"


def _last(task: Task) -> int:
    """The number of its newest attempt that has ended; zero if there is none."""
    return task.attempts[-1].number if task.attempts else 0


def _is_bad(task: Task) -> bool:
    """Whether a task that was to do is not completed."""
    return task.status is not TaskStatus.COMPLETED and not task.is_removed
