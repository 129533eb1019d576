"""Graphs of ids: each id with the ids that it depends on.

Nothing here recurses, so a chain of any length is as good as a short one. Ids that
only stand among the dependencies of others, but have no entry, are ignored.
"""

from __future__ import annotations

import difflib
import heapq
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import takewhile

Graph = Mapping[str, Sequence[str]]

#: How many edges the search for a shorter cycle may walk before it settles for the
#: shortest found: the exact answer can cost nodes x edges.
_CYCLE_STEPS = 2_000_000
#: The matcher takes about 10 us for each name.
_NAMES_COMPARED = 500
_LONGEST_NAME = 200


def dependents(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each id, the ids that depend on it, in the order of ``graph``."""
    found: dict[str, list[str]] = {node: [] for node in graph}
    for node, needs in graph.items():
        for need in dict.fromkeys(needs):
            if need in found:
                found[need].append(node)
    return {node: tuple(users) for node, users in found.items()}


def topological(graph: Graph) -> list[str]:
    """The ids with every dependency before its dependents, else in given order.

    Raises:
        ValueError: The graph has a cycle.
    """
    order = _in_order(graph)
    if len(order) < len(graph):
        raise ValueError("the graph has a cycle")
    return order


def _in_order(graph: Graph) -> list[str]:
    """`topological`, without what is on or behind a cycle."""
    users = dependents(graph)
    names = list(graph)
    place = {name: index for index, name in enumerate(names)}
    waits = {name: sum(need in place for need in set(graph[name])) for name in names}
    ready = [place[name] for name in names if not waits[name]]
    order: list[str] = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for user in users[name]:
            waits[user] -= 1
            if not waits[user]:
                heapq.heappush(ready, place[user])
    return order


def heights(graph: Graph) -> dict[str, int]:
    """The length of the longest path of dependents on each id; 1 if it has none.

    Ids on or behind a cycle count as having none: a cycle that somebody made by hand is
    reported elsewhere and must not stop the others.
    """
    height = dict.fromkeys(graph, 1)
    for name in reversed(_in_order(graph)):
        for need in graph[name]:
            if need in height:
                height[need] = max(height[need], height[name] + 1)
    return height


def shortest_cycle(graph: Graph) -> list[str] | None:
    """A shortest cycle as ``[a, b, a]``, where a depends on b; None if there is none.

    In a huge graph full of long cycles it may be a short one instead of a shortest.
    """
    for name, needs in graph.items():
        if name in needs:
            return [name, name]
    core = _Core(graph)
    best: list[str] | None = None
    steps = _CYCLE_STEPS
    while core.after and steps > 0 and (best is None or len(best) > 3):
        start = next(iter(core.after))
        longest = len(best) - 2 if best else len(graph)
        cycle, walked = _cycle_through(start, core.after, longest)
        best = cycle or best
        steps -= walked + 1
        # Every cycle through this node has been weighed by now.
        core.remove(start)
    return best


class _Core:
    """What is left of a graph without the nodes that cannot be on a cycle."""

    def __init__(self, graph: Graph) -> None:
        self.after = {
            name: dict.fromkeys(need for need in needs if need in graph)
            for name, needs in graph.items()
        }
        self.before = {
            name: dict.fromkeys(us) for name, us in dependents(graph).items()
        }
        self._peel(graph)

    def remove(self, name: str) -> None:
        """Take out a node, and all that is on no cycle without it."""
        self._peel(self._cut(name))

    def _peel(self, names: Iterable[str]) -> None:
        queue = list(names)
        while queue:
            name = queue.pop()
            if name in self.after and not (self.after[name] and self.before[name]):
                queue += self._cut(name)

    def _cut(self, name: str) -> list[str]:
        needs, users = self.after.pop(name), self.before.pop(name)
        for need in needs:
            self.before[need].pop(name, None)
        for user in users:
            self.after[user].pop(name, None)
        return [*needs, *users]


def _cycle_through(
    start: str, after: Mapping[str, Iterable[str]], longest: int
) -> tuple[list[str] | None, int]:
    """A shortest cycle through ``start`` of at most ``longest`` nodes; edges walked."""
    came_from = {start: start}
    queue = deque([(start, 1)])
    walked = 0
    while queue:
        node, length = queue.popleft()
        for need in after[node]:
            walked += 1
            if need == start:
                return _path_back(node, came_from), walked
            if need not in came_from and length < longest:
                came_from[need] = node
                queue.append((need, length + 1))
    return None, walked


def _path_back(node: str, came_from: Mapping[str, str]) -> list[str]:
    path = [node]
    while came_from[path[-1]] != path[-1]:
        path.append(came_from[path[-1]])
    start = path[-1]
    return [*reversed(path), start]


def nearest(name: str, names: Collection[str]) -> str | None:
    """The one of ``names`` that ``name`` may be a slip of, or None."""
    if len(name) > _LONGEST_NAME:
        return None
    compared: Iterable[str] = names
    if len(names) > _NAMES_COMPARED:
        compared = heapq.nlargest(
            _NAMES_COMPARED, names, key=lambda other: _likeness(name, other)
        )
    found = difflib.get_close_matches(name, compared, n=1, cutoff=0.6)
    return found[0] if found else None


def _likeness(name: str, other: str) -> tuple[int, int]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(name, other, strict=False))
    return sum(1 for _ in same), -abs(len(name) - len(other))
