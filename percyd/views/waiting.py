"""Why tasks wait, asked for many tasks of one snapshot (CLI 2, ``blocked_by``).

`schedule.waits` looks at every agent and every held task for each task it is asked
about: 5 s for 10,000 tasks. Here the answers that many tasks share are found once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from percyd.core import schedule
from percyd.core.edges import TaskStatus
from percyd.core.ready import Kind, kind_of, needs_rest
from percyd.core.reasons import Reason, backoff_s
from percyd.core.records import Record, Task
from percyd.core.schedule import Wait
from percyd.core.snapshot import Snapshot

_QUEUED = frozenset({TaskStatus.BLOCKED, TaskStatus.SUBMITTED})


class Waiting:
    """Why each task of one snapshot does not go on."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._reserved = _Reserved(snapshot.held_tasks())
        self._no_agent: dict[Kind, Wait | None] = {}
        self._held_back: dict[str, Wait | None] = {}

    def of(self, task: Task) -> list[Wait]:
        """Every reason; none for a task that is ready, runs, asks or has ended."""
        if task.status in _QUEUED:
            return [*self._unclaimable(task), *self._rest(task)]
        if task.status is TaskStatus.WORKING:
            return self._turn(task)
        return []

    def as_json(self, task: Task) -> list[dict[str, str]]:
        """The task's ``blocked_by``."""
        return [{"code": wait.code, "what": wait.what} for wait in self.of(task)]

    def _unclaimable(self, task: Task) -> Iterator[Wait]:
        """What `schedule.waits` answers, in its order."""
        for name in schedule.unmet(self._snapshot, task):
            yield Wait("dependency", name)
        held_back = self._plan_wait(task.plan)
        if held_back:
            yield held_back
        for name in self._reserved.in_the_way(task.paths):
            yield Wait("paths", name)
        nobody = self._nobody(task)
        if nobody:
            yield nobody

    def _plan_wait(self, plan: str) -> Wait | None:
        """Why the whole plan waits, found once for all of its tasks."""
        if plan not in self._held_back:
            self._held_back[plan] = schedule.plan_wait(self._snapshot.plans[plan])
        return self._held_back[plan]

    def _nobody(self, task: Task) -> Wait | None:
        """The wait for an agent, found once for all tasks with the same needs."""
        kind = kind_of(task)
        if kind not in self._no_agent:
            self._no_agent[kind] = schedule.no_agent(self._snapshot, kind)
        return self._no_agent[kind]

    def _rest(self, task: Task) -> list[Wait]:
        if task.reason is None:
            return []
        if task.reason.code is Reason.PARKED:
            return [Wait("backoff", task.reason.message)]
        if not needs_rest(task):
            return []
        first_s = self._snapshot.plans[task.plan].record.limits.backoff_s
        pause_s = backoff_s(first_s, task.retries)
        return [Wait("backoff", f"{task.reason.code}, {pause_s:g} s")]

    def _turn(self, task: Task) -> list[Wait]:
        landing = self._snapshot.plans[task.plan].record.landing
        if landing is None or landing.task == task.id:
            return []
        return [Wait("landing", landing.task)]


class _Reserved:
    """The folders that held tasks have reserved, found without looking at them all.

    Two folders overlap if one is the other or lies above it: what is above is looked
    up, what is below stands side by side in sorted order.
    """

    def __init__(self, held: Iterable[Task]) -> None:
        self._order: dict[str, int] = {}
        self._holders: dict[str, list[str]] = {}
        for place, task in enumerate(held):
            self._order[task.id] = place
            for folder in {schedule.prefix(pattern) for pattern in task.paths}:
                self._holders.setdefault(folder, []).append(task.id)
        self._folders = sorted(self._holders)

    def in_the_way(self, paths: tuple[str, ...]) -> list[str]:
        """The held tasks whose paths overlap with these."""
        if not self._folders:
            return []
        found = {
            holder
            for folder in {schedule.prefix(pattern) for pattern in paths}
            for touched in (*self._above(folder), *self._below(folder))
            for holder in self._holders[touched]
        }
        return sorted(found, key=self._order.__getitem__)

    def _above(self, folder: str) -> Iterator[str]:
        parts = folder.split("/")[:-1]
        for count in range(len(parts)):
            parent = "".join(f"{part}/" for part in parts[:count])
            if parent in self._holders:
                yield parent

    def _below(self, folder: str) -> Iterator[str]:
        """The folder itself too."""
        for place in range(bisect_left(self._folders, folder), len(self._folders)):
            if not self._folders[place].startswith(folder):
                return
            yield self._folders[place]


#: What makes JSON of a record: it may know it already.
Dump = Callable[[Record], Mapping[str, Any]]


def as_json(record: Record) -> Mapping[str, Any]:
    """A record as JSON has it."""
    return record.model_dump(mode="json")


def task_json(task: Task, waiting: Waiting, dump: Dump = as_json) -> dict[str, Any]:
    """A task's record as JSON has it, with its ``blocked_by``."""
    return {**dump(task), "blocked_by": waiting.as_json(task)}


def summary(tasks: Iterable[Task]) -> dict[str, int]:
    """How many tasks there are, and how many in each of the eight statuses."""
    return as_summary(Counter(task.status.value for task in tasks))


def as_summary(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by status as a ``plan_summary``: with zeros, and with a total."""
    each = {status.value: counts.get(status.value, 0) for status in TaskStatus}
    return {"total": sum(each.values()), **each}
