"""Liveness without clocks that are shared (DESIGN 5).

An agent says that it lives by moving its heartbeat ref; it knows that it may go on
only while its own pushes are confirmed (S15). An observer calls an agent lost when it
has seen one value for a full lease, on its own boot-time clock, with successful reads
throughout (S14). No time of another machine is ever looked at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from percyd.clock import Clock
from percyd.core.edges import AgentStatus
from percyd.core.ids import heartbeat_ref
from percyd.core.records import Agent
from percyd.core.refs import Oid, RefMove
from percyd.core.snapshot import Snapshot
from percyd.repo.values import PushOutcome
from percyd.state.backend import Backend

#: What is held back from a lease by its holder: it ends its work this share earlier
#: than anybody may call it lost.
MARGIN = 0.25
#: An agent without claims is lost after this many silent idle beats.
IDLE_BEATS = 3


@dataclass(frozen=True, slots=True)
class Rider:
    """A move that goes along with a beat; ``landed`` is called once it has."""

    move: RefMove
    landed: Callable[[], None]


class Heart:
    """One agent's own heartbeat: when it is due, and whether the lease still holds.

    Safe to use from many threads. ``busy`` says whether the agent holds claims; then
    it beats every ``beat_s``, else every ``idle_beat_s``.
    """

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        agent: Agent,
        busy: Callable[[], bool],
        riders: Callable[[], Sequence[Rider]] = tuple,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._agent = agent
        self._busy = busy
        self._riders = riders
        self._ring: Sequence[Oid] = ()
        self._next = 0
        self._guard = threading.Lock()
        self._confirmed_s = clock.boot_s()
        self._riding = False
        self._beating = False

    @contextmanager
    def ride(self) -> Iterator[Sequence[RefMove]]:
        """The next beat, for a push that is made anyway within this context.

        Empty while a beat of its own is under way: the remote would let one of the two
        pushes fail, as a whole, because the heartbeat is not where it was.
        """
        with self._guard:
            self._riding = not self._beating
        try:
            yield [self._move()] if self._riding else []
        finally:
            self._riding = False

    def _move(self) -> RefMove:
        with self._guard:
            self._ring = self._ring or self._backend.ring()
            value = self._ring[self._next]
            self._next = (self._next + 1) % len(self._ring)
        return RefMove(heartbeat_ref(self._agent.id), None, value, forced=True)

    def confirm(self, started_s: float) -> None:
        """A push with a beat was accepted; it was begun at ``started_s``.

        The lease counts from before the push: the remote may have moved the ref at
        any moment of it.
        """
        with self._guard:
            self._confirmed_s = max(self._confirmed_s, started_s)

    def due_s(self) -> float:
        """Seconds until the next beat is due; zero or less: now.

        While one rides along in a push it is not due before the lease is at stake: one
        beat before the holder would have to end its work.
        """
        every_s = self._agent.beat_s if self._busy() else self._agent.idle_beat_s
        with self._guard:
            after_s = every_s
            if self._riding:
                after_s = max(every_s, self._agent.lease_s * (1 - MARGIN) - every_s)
            return self._confirmed_s + after_s - self._clock.boot_s()

    def left_s(self) -> float:
        """Seconds until the holder has to end its work; zero or less: end it."""
        with self._guard:
            silent_s = self._clock.boot_s() - self._confirmed_s
        return self._agent.lease_s * (1 - MARGIN) - silent_s

    def beat(self, deadline_s: float) -> bool:
        """Push a beat, and work in progress with it; false: not confirmed.

        Riders have leases of their own; one whose time has passed must not cost the
        beat, which then goes alone.
        """
        self._beating = True
        try:
            riders = list(self._riders())
            if riders and self._push(riders, deadline_s):
                for rider in riders:
                    rider.landed()
                return True
            return self._push([], deadline_s)
        finally:
            self._beating = False

    def _push(self, riders: Sequence[Rider], deadline_s: float) -> bool:
        started_s = self._clock.boot_s()
        beat = self._move()
        moves = [beat, *(rider.move for rider in riders)]
        report = self._backend.push(moves, deadline_s)
        done = report.refs[beat.ref].outcome is PushOutcome.APPLIED
        if done:
            self.confirm(started_s)
        return done


@dataclass(slots=True)
class _Window:
    """How long one value of one agent has been seen, and with which claims."""

    value: Oid | None
    since_s: float
    claims: frozenset[str]


@dataclass(slots=True)
class Observer:
    """Watches the heartbeats of other agents.

    ``own`` are the ids of agents in this process: they are not observed from here.
    """

    clock: Clock
    own: Callable[[], Iterable[str]] = tuple
    _windows: dict[str, _Window] = field(default_factory=dict)
    _last_read_s: float | None = None

    def interval_s(self, snapshot: Snapshot) -> float | None:
        """How often to read: twice a beat of whoever holds claims, else rarely.

        None when nobody else has joined.
        """
        holders = _holders(snapshot)
        pauses = [
            (agent.beat_s if agent.id in holders else agent.idle_beat_s) / 2
            for agent in self._observed(snapshot)
        ]
        return min(pauses, default=None)

    def lost(self, snapshot: Snapshot, beats: Mapping[str, Oid]) -> list[str]:
        """The agents to call lost, after a successful read of all heartbeats.

        A window begins anew when the value changes (an absent ref is a value), when a
        claim is new to this observer, and after a gap between reads that is longer
        than a beat: what happened meanwhile was not seen.
        """
        now_s = self.clock.boot_s()
        gap_s = now_s - self._last_read_s if self._last_read_s is not None else 0.0
        self._last_read_s = now_s
        holders = _holders(snapshot)
        windows: dict[str, _Window] = {}
        found: list[str] = []
        for agent in self._observed(snapshot):
            claims = holders.get(agent.id, frozenset())
            every_s = agent.beat_s if claims else agent.idle_beat_s
            window = self._windows.get(agent.id)
            value = beats.get(agent.id)
            if (
                window is None
                or window.value != value
                or not claims <= window.claims
                or gap_s > every_s
            ):
                window = _Window(value, now_s, claims)
            window.claims = claims
            windows[agent.id] = window
            limit_s = agent.lease_s if claims else IDLE_BEATS * agent.idle_beat_s
            if now_s - window.since_s >= limit_s:
                found.append(agent.id)
        self._windows = windows
        return found

    def _observed(self, snapshot: Snapshot) -> list[Agent]:
        own = set(self.own())
        return [
            agent
            for agent in snapshot.agents.values()
            if agent.status is AgentStatus.JOINED and agent.id not in own
        ]


def _holders(snapshot: Snapshot) -> dict[str, frozenset[str]]:
    """The claims that each agent holds."""
    found: dict[str, set[str]] = {}
    for task in snapshot.held_tasks():
        found.setdefault(task.assigned_to or "", set()).add(task.claim or "")
    return {agent: frozenset(claims) for agent, claims in found.items()}
