"""Following the state branch: the newest good state of this process, and ref tips.

Readers keep a snapshot that is moved from tip to tip by the changed paths only. What
must not be adopted is refused here and in `reader` (S12).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from percyd.clock import Clock
from percyd.core.ids import STATE_REF
from percyd.core.operations.base import Tips
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import NotInitialised, PercydError, StateRefused
from percyd.state import reader
from percyd.state.backend import Backend

#: How often a tip that is older than ours is read again before it counts as a rewind:
#: a late answer of a slow connection looks the same (DESIGN 3).
_REWIND_READS = 3


@dataclass(frozen=True, slots=True)
class State:
    """All state at one tip, when it was read, and its place in the order of reads."""

    tip: Oid
    snapshot: Snapshot
    read_at: datetime
    read_number: int


class Follower:
    """What one process knows of the remote. Changed only under ``lock``."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.lock = threading.RLock()
        self._backend = backend
        self._clock = clock
        self._state: State | None = None
        self._tips: dict[str, Oid | None] = {}
        self._number = 0
        self._number_guard = threading.Lock()
        self._changed = threading.Condition()

    @property
    def state(self) -> State | None:
        """The adopted state, None before the first read."""
        return self._state

    def next_number(self) -> int:
        """Numbers reads and calls in their order, so that "read after" can be told."""
        with self._number_guard:
            self._number += 1
            return self._number

    def refresh(self) -> State:
        """Read the remote's tip and adopt it.

        Raises:
            RemoteUnreachable: nobody answered.
            NotInitialised: there is no state branch and never was.
            StateRefused: the branch is not one to build on (S12).
        """
        with self.lock:
            ours = self._state.tip if self._state else self._backend.adopted()
            for _ in range(_REWIND_READS):
                number = self.next_number()
                tip = self._backend.fetch_state()
                if tip is None:
                    raise _absent(ours)
                if ours is None or not self._is_behind(tip, ours):
                    return self._adopt_fetched(tip, ours, number)
            raise StateRefused(
                f"{reader.BRANCH} was rewound: it is at {tip}, behind {ours}",
                hint=f"push the good tip back: git push REMOTE {ours}:{STATE_REF}",
            )

    def _is_behind(self, tip: Oid, ours: Oid) -> bool:
        return tip != ours and self._backend.is_ancestor(tip, ours)

    def _adopt_fetched(self, tip: Oid, ours: Oid | None, number: int) -> State:
        state = self._state
        if state is not None and tip == state.tip:
            now = self._clock.now()
            self._state = replace(state, read_at=now, read_number=number)
            return self._state
        reader.judge(self._backend, ours, tip)
        if state is None:
            snapshot = reader.read(self._backend, tip)
        else:
            snapshot = reader.advance(self._backend, state.snapshot, state.tip, tip)
        # Others have moved the state, and so perhaps refs that we remember.
        self._tips.clear()
        return self.adopt(tip, snapshot, number)

    def adopt(self, tip: Oid, snapshot: Snapshot, number: int) -> State:
        """Make a judged tip ours and wake everybody who waits for a change."""
        self._backend.adopt(tip)
        state = State(tip, snapshot, self._clock.now(), number)
        with self._changed:
            self._state = state
            self._changed.notify_all()
        return state

    def wait_beyond(self, tip: Oid, timeout_s: float) -> bool:
        """Wait until the adopted tip is another than ``tip``; false on time-out."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._state is not None and self._state.tip != tip, timeout_s
            )

    def tips(self, refs: Iterable[str]) -> Tips:
        """Every tip that is known, and those of ``refs`` asked for where they are not."""
        missing = [ref for ref in refs if ref not in self._tips]
        if missing:
            self._tips.update(self._backend.fetch_refs(missing))
        return self._tips

    def note_tips(self, tips: Tips) -> None:
        """Remember where refs are now: our own push has moved them."""
        self._tips.update(tips)

    def forget_tips(self, refs: Iterable[str]) -> None:
        """Ask the remote anew when these refs are needed again."""
        for ref in refs:
            self._tips.pop(ref, None)


def _absent(ours: Oid | None) -> PercydError:
    if ours is None:
        return NotInitialised(hint="run percyd init")
    return StateRefused(
        f"{reader.BRANCH} was deleted on the remote; its last good tip was {ours}",
        hint=f"push it back: git push REMOTE {ours}:{STATE_REF}",
    )
