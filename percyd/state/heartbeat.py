"""Liveness without clocks that are shared (DESIGN 5).

An agent says that it lives by moving its heartbeat ref; it knows that it may go on
only while its own pushes are confirmed (S15). An observer calls an agent lost when it
has seen one value for a full lease, on its own boot-time clock, with successful reads
throughout (S14). No time of another machine is ever looked at.
"""

from __future__ import annotations

import logging
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
from percyd.errors import PercydError
from percyd.repo.values import PushOutcome
from percyd.state.backend import RING, Backend

log = logging.getLogger(__name__)

#: What is held back from a lease by its holder: it ends its work this share earlier
#: than anybody may call it lost.
MARGIN = 0.25
#: After so many pushes without an answer, the remote's value may be any of the ring: a
#: beat need not change it any more.
_UNSURE = RING // 2
#: An agent without claims is lost after this many silent idle beats.
IDLE_BEATS = 3


@dataclass(frozen=True, slots=True)
class Rider:
    """A move between beats; ``landed`` is called once it is done."""

    move: RefMove
    landed: Callable[[], None]


@dataclass(slots=True)
class _Pause:
    """For how long a rider is left in peace after a push that failed."""

    until_s: float
    length_s: float


class Heart:
    """One agent's own heartbeat: when it is due, and whether the lease still holds.

    Safe to use from many threads; `carry` from one of them. ``busy`` says whether the agent holds claims; then
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
        self._pauses: dict[str, _Pause] = {}
        self._ring: Sequence[Oid] = ()
        self._next = 0
        self._unanswered = 0
        self._guard = threading.Lock()
        self._confirmed_s = clock.boot_s()
        self._riding = False
        self._beating = False

    @contextmanager
    def ride(self) -> Iterator[Sequence[RefMove]]:
        """The next beat, for a push that is made anyway within this context.

        Empty while a beat of its own is under way: the remote would let one of the two
        pushes fail, as a whole, because the heartbeat is not where it was. Empty too
        while the remote's value may be any: `beat` finds out.
        """
        with self._guard:
            self._riding = not self._beating and self._unanswered < _UNSURE
        try:
            yield [self._move()] if self._riding else []
        finally:
            self._riding = False

    def _move(self) -> RefMove:
        with self._guard:
            self._ring = self._ring or self._backend.ring()
            value = self._ring[self._next]
            self._next = (self._next + 1) % len(self._ring)
            self._unanswered += 1
        return RefMove(heartbeat_ref(self._agent.id), None, value, forced=True)

    def confirm(self, started_s: float) -> None:
        """A push with a beat was accepted; it was begun at ``started_s``.

        The lease counts from before the push: the remote may have moved the ref at
        any moment of it.
        """
        with self._guard:
            self._confirmed_s = max(self._confirmed_s, started_s)
            self._unanswered = 0

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
        """Push a beat, and nothing with it; false: not confirmed.

        The first answer after a long silence is not believed: the value may have been
        there before, so that nobody has seen it move. The next beat does move it.
        """
        self._beating = True
        try:
            unsure = self._unanswered >= _UNSURE
            started_s = self._clock.boot_s()
            if not self._push(self._move(), deadline_s):
                return False
            if unsure:
                with self._guard:
                    self._unanswered = 0
                return False
            self.confirm(started_s)
            return True
        finally:
            self._beating = False

    @property
    def beat_s(self) -> float:
        """How often a beat is due while there is work."""
        return self._agent.beat_s

    def carry(self) -> None:
        """Push work in progress; it may take long, and must not stand before a beat.

        Each piece goes by itself: one that is too large for the uplink, or whose time
        has passed, costs no other. It is left in peace for twice as long after each
        failure. What has not had its turn within a beat is collected anew.
        """
        riders = self._riders()
        refs = {rider.move.ref for rider in riders}
        self._pauses = {r: pause for r, pause in self._pauses.items() if r in refs}
        began_s = self._clock.boot_s()
        for rider in riders:
            now_s = self._clock.boot_s()
            if now_s - began_s > self._agent.beat_s:
                break
            pause = self._pauses.get(rider.move.ref)
            if pause is not None and now_s < pause.until_s:
                continue
            if self._push(rider.move, self._agent.lease_s * (1 - MARGIN)):
                self._pauses.pop(rider.move.ref, None)
                rider.landed()
            else:
                self._leave_in_peace(rider.move.ref)

    def _leave_in_peace(self, ref: str) -> None:
        before = self._pauses.get(ref)
        length_s = 2 * (before.length_s if before else self._agent.beat_s)
        length_s = min(length_s, self._agent.idle_beat_s)
        self._pauses[ref] = _Pause(self._clock.boot_s() + length_s, length_s)

    def _push(self, move: RefMove, deadline_s: float) -> bool:
        try:
            report = self._backend.push([move], deadline_s)
        except PercydError as error:
            log.debug("not pushed", extra={"ref": move.ref, "why": str(error)})
            return False
        return report.refs[move.ref].outcome is PushOutcome.APPLIED


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

    def lost(
        self,
        snapshot: Snapshot,
        beats: Mapping[str, Oid],
        read_began_s: float | None = None,
    ) -> list[str]:
        """The agents to call lost, after a successful read of all heartbeats.

        A slow read may have seen the values at any moment of it: a silence begins at
        the end of the first read, and is proven until the last one began. Without
        ``read_began_s`` the read has just been made, and took no time.

        A window begins anew when the value changes (an absent ref is a value), when a
        claim is new to this observer, and after a gap between reads that is longer
        than a beat: what happened meanwhile was not seen.
        """
        now_s = self.clock.boot_s()
        until_s = now_s if read_began_s is None else read_began_s
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
            if until_s - window.since_s >= limit_s:
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
