"""A plan's ready tasks, kept in the order in which agents want them.

A claim must not cost more with 50,000 waiting tasks than with 100: so they lie sorted
by what kind of agent they need, by rank, and in 256 shards of which each agent starts
at another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from immutables import Map

from percyd.core.edges import TaskStatus
from percyd.core.ids import short_of
from percyd.core.reasons import RETRIED
from percyd.core.records import Task


class Kind(NamedTuple):
    """All of a task that decides which agents suit it."""

    plans: bool
    runner: str | None
    specialization: tuple[str, ...]


def kind_of(task: Task) -> Kind:
    """What a task asks of an agent.

    A ``run:`` task asks for no runner, nor does a merge of percyd's own.
    """
    needs_none = task.run is not None or task.type == "land"
    runner = None if needs_none else task.runner or ""
    return Kind(task.type == "plan", runner, task.specialization)


def needs_rest(task: Task) -> bool:
    """Whether the task's last attempt failed, so that the next one has to wait.

    How long is `reasons.backoff_s`; each worker counts from when it saw the requeue,
    so that no clock is shared.
    """
    return (
        task.status is TaskStatus.SUBMITTED
        and task.retries > 0
        and task.reason is not None
        and task.reason.code in RETRIED
    )


#: Highest priority first, then the longest path that hangs on the task.
Rank = tuple[int, int]
_Ids = Map[str, None]
_Shards = Map[str, _Ids]
_Ranks = Map[Rank, _Shards]


class Ready:
    """A persistent index of submitted tasks."""

    __slots__ = ("_kinds",)

    def __init__(self, kinds: Map[Kind, _Ranks] | None = None) -> None:
        self._kinds: Map[Kind, _Ranks] = kinds if kinds is not None else Map()

    @classmethod
    def of(cls, tasks: Iterable[tuple[Task, int]]) -> Ready:
        """The index of tasks, each with its height in the graph."""
        nested: dict[Kind, dict[Rank, dict[str, dict[str, None]]]] = {}
        for task, height in tasks:
            ranks = nested.setdefault(kind_of(task), {})
            shards = ranks.setdefault(_rank(task, height), {})
            shards.setdefault(_shard(task), {})[task.id] = None
        kinds: dict[Kind, _Ranks] = {}
        for kind, ranks in nested.items():
            frozen: dict[Rank, _Shards] = {
                rank: Map({shard: Map(ids) for shard, ids in shards.items()})
                for rank, shards in ranks.items()
            }
            kinds[kind] = Map(frozen)
        return cls(Map(kinds))

    def add(self, task: Task, height: int) -> Ready:
        """The index with a task more."""
        kind, rank, shard = kind_of(task), _rank(task, height), _shard(task)
        ranks: _Ranks = self._kinds.get(kind, Map())
        shards: _Shards = ranks.get(rank, Map())
        ids: _Ids = shards.get(shard, Map())
        shards = shards.set(shard, ids.set(task.id, None))
        return Ready(self._kinds.set(kind, ranks.set(rank, shards)))

    def remove(self, task: Task, height: int) -> Ready:
        """The index without a task; nothing empty stays."""
        kind, rank, shard = kind_of(task), _rank(task, height), _shard(task)
        ranks = self._kinds[kind]
        shards = ranks[rank]
        ids = shards[shard].delete(task.id)
        shards = shards.set(shard, ids) if ids else shards.delete(shard)
        ranks = ranks.set(rank, shards) if shards else ranks.delete(rank)
        kinds = self._kinds.set(kind, ranks) if ranks else self._kinds.delete(kind)
        return Ready(kinds)

    def ranks(self) -> Iterator[tuple[Kind, Rank, _Shards]]:
        """Every rank of every kind, in no order."""
        for kind, ranks in self._kinds.items():
            for rank, shards in ranks.items():
                yield kind, rank, shards


def in_turn(shards: _Shards, agent: str) -> Iterator[str]:
    """The ids of one rank in the order in which one agent wants them.

    Agents start at different shards and see each in an order of their own, so that two
    of them rarely want the same task.
    """
    start = hashlib.sha256(agent.encode()).digest()[0]
    for shard in sorted(shards, key=lambda shard: (int(shard, 16) - start) % 256):
        yield from sorted(shards[shard], key=lambda task: _spread(agent, task))


def _spread(agent: str, task: str) -> bytes:
    return hashlib.sha256(f"{agent} {task}".encode()).digest()


def _rank(task: Task, height: int) -> Rank:
    return -task.priority, -height


def _shard(task: Task) -> str:
    return hashlib.sha256(short_of(task.id).encode()).hexdigest()[:2]
