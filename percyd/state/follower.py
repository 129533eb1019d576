"""Following the state branch: the newest good state of this process, and ref tips.

Readers keep a snapshot that is moved from tip to tip by the changed paths only. What
must not be adopted is refused here and in `reader` (S12).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from percyd.clock import Clock
from percyd.core.ids import PLAN_REFS, STATE_REF
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import GitError, NotInitialised, PercydError
from percyd.state import reader
from percyd.state.backend import Backend
from percyd.threads import SYSTEM_THREADS, Threads

if TYPE_CHECKING:
    from percyd.core.operations.base import Tips

log = logging.getLogger(__name__)

#: How often a tip that is older than ours is read again before it counts as a rewind:
#: a late answer of a slow connection looks the same (DESIGN 3).
_REWIND_READS = 3
#: How old the remembered tip may become while there is no time. Seconds.
_REMEMBER_S = 1.0
#: A push may take all the time there is; what became of it is still looked up.
_LAST_LOOK_S = 3.0


@dataclass(frozen=True, slots=True)
class State:
    """All state at one tip, when it was read, and its place in the order of reads."""

    tip: Oid
    snapshot: Snapshot
    read_at: datetime
    read_number: int


class Follower:
    """What one process knows of the remote. Changed only under ``lock``."""

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        threads: Threads = SYSTEM_THREADS,
        first: reader.Read | None = None,
    ) -> None:
        self.lock = threads.lock()
        self._backend = backend
        self._first = first
        self._clock = clock
        self._state: State | None = None
        self._tips: dict[str, Oid | None] = {}
        self._number = 0
        self._number_guard = threading.Lock()
        self._give_up: float | None = None
        self._remembered: Oid | None = None
        self._remembered_s = float("-inf")
        self._remembering = threading.Lock()
        #: Place of the last read of tips in the order of reads.
        self.tips_number = 0
        #: How often what is remembered of refs was in doubt.
        self.moves = 0
        #: When others were last seen to move the state, on the boot clock.
        self.contended_s = float("-inf")
        self._changed = threads.condition()

    @contextmanager
    def until(self, give_up: float) -> Iterator[None]:
        """Hold the lock; what is read meanwhile should be there at ``give_up``."""
        with self.lock:
            self._give_up = give_up
            try:
                yield
            finally:
                self._give_up = None

    def patience_s(self) -> float | None:
        """What a read may take now; None: as long as it needs."""
        give_up = self._give_up
        if give_up is None:
            return None
        return max(_LAST_LOOK_S, give_up - self._clock.boot_s())

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
            if self._state is not None:  # a first fetch also sees what is damaged here
                number, ours = self.next_number(), self._newest_known()
                if ours is not None and self._backend.peek(STATE_REF) == ours:
                    return self._adopt_fetched(ours, ours, number)
            for _ in range(_REWIND_READS):
                ours = self._newest_known()
                number = self.next_number()
                tip = self._backend.fetch_state(self.patience_s())
                if tip is None:
                    raise self._absent(ours)
                if ours is None or not self._is_behind(tip, ours):
                    return self._adopt_fetched(tip, ours, number)
            raise reader.rewound(self._backend, ours or "", tip or "")

    def look(self, refs: Sequence[str]) -> Mapping[str, Oid]:
        """Adopt the remote's state if it has moved; answers where ``refs`` stand.

        One call while nothing happens, and nothing is fetched.

        Raises: see `refresh`.
        """
        number, before = self.next_number(), self._state
        # Without the lock: a push must not wait for it.
        found = self._backend.list_exactly([STATE_REF, *refs], self.patience_s())
        tip = found.get(STATE_REF)
        with self.lock:
            state = self._state
            if state is None or tip is None or self.is_outdated:
                self.refresh()
            elif tip == state.tip:
                self._adopt_fetched(tip, tip, max(number, state.read_number))
            elif before is None or tip != before.tip or before.tip == state.tip:
                self.refresh()
            # Else it is where the remote stood before a push of ours that has landed.
            return found

    def _newest_known(self) -> Oid | None:
        """The newest good tip that this process or another one of this clone has seen."""
        mine, kept = self._state.tip if self._state else None, self._backend.adopted()
        if mine is None or kept in (None, mine, self._remembered):
            return mine or kept
        if self._backend.is_ancestor(kept, mine):
            return mine
        return kept if self._backend.is_ancestor(mine, kept) else mine

    @property
    def is_outdated(self) -> bool:
        """Whether another process of this clone has seen more than this one.

        Then a remote that still stands where we do has been rewound (S12).
        """
        return self._state is not None and self._newest_known() != self._state.tip

    def _is_behind(self, tip: Oid, ours: Oid) -> bool:
        # Nearly always it is ahead, and that is quick to see.
        ahead = tip == ours or self._backend.is_ancestor(ours, tip)
        return not ahead and self._backend.is_ancestor(tip, ours)

    def _adopt_fetched(self, tip: Oid, ours: Oid | None, number: int) -> State:
        state = self._state
        if state is not None and tip == state.tip:
            now = self._clock.now()
            self._state = replace(state, read_at=now, read_number=number)
            return self._state
        if state is not None and ours != state.tip:
            reader.judge(self._backend, ours, tip)
            ours = state.tip
        known = state.snapshot if state else None
        snapshot = reader.follow(self._backend, ours, known, tip, self._first)
        # Others have moved the state, and so perhaps refs that we remember.
        with self._number_guard:
            self._tips.clear()
            self.moves += 1
        self.contended_s = self._clock.boot_s()
        adopted = self.adopt(tip, snapshot, number)
        self.remember()
        return adopted

    def _absent(self, ours: Oid | None) -> PercydError:
        if ours is None:
            return NotInitialised(hint="run percyd init")
        return reader.deleted(self._backend, ours)

    def adopt(self, tip: Oid, snapshot: Snapshot, number: int) -> State:
        """Make a judged tip ours and wake everybody who waits for a change."""
        state = State(tip, snapshot, self._clock.now(), number)
        with self._changed:
            self._state = state
            self._changed.notify_all()
        return state

    def remember(self, *, in_a_hurry: bool = False) -> None:
        """Keep the adopted tip over restarts.

        It is no part of any change: a remembered tip that is older is an ancestor, and
        serves as well. So a full disk or a stale lock here fails nobody, and while
        others wait for the next push it is done once a second.
        """
        if in_a_hurry and self._clock.boot_s() - self._remembered_s < _REMEMBER_S:
            return
        with self._remembering:
            state = self._state
            if state is None or state.tip == self._remembered:
                return
            self._remembered_s = self._clock.boot_s()
            try:
                self._keep(state.tip)
            except PercydError as error:
                # Another process moves it on at this moment; the next change tries again.
                log.info("tip not remembered", extra={"why": str(error)})

    def _keep(self, tip: Oid) -> None:
        """Move what is remembered onwards, and never aside (S12)."""
        kept = self._backend.adopted()
        if kept is None or self._backend.is_ancestor(kept, tip):
            self._backend.adopt(tip, kept)
            self._remembered = tip
        elif not self._backend.is_ancestor(tip, kept):
            raise GitError(f"{kept} is remembered, which does not lead to {tip}")

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
            self.tips_number = self.next_number()
            fetched = self._backend.fetch_refs(missing, self.patience_s())
            self._tips.update(fetched)
        return self._tips

    def note_tips(self, tips: Tips) -> None:
        """Remember where our own push has moved integration branches.

        Other refs are moved once, and would only make this grow.
        """
        plans = {ref: tip for ref, tip in tips.items() if ref.startswith(PLAN_REFS)}
        self._tips.update(plans)

    def learn(self, ref: str, tip: Oid | None, number: int, moves: int) -> None:
        """Remember a tip that was read beside us, unless others have moved since.

        Args:
            ref: The ref, and
            tip: where it stood.
            number: When the read began, see `next_number`.
            moves: `moves` of that time.
        """
        with self._number_guard:
            if moves == self.moves and ref not in self._tips:
                self._tips[ref] = tip
                self.tips_number = max(self.tips_number, number)

    def known_tip(self, ref: str) -> Oid | None:
        """Where a ref stood on the remote when it was last read or moved, if it did.

        For any thread, without the lock: it is noted before the state is adopted that
        was pushed with it, and forgotten before one that others have pushed.
        """
        return self._tips.get(ref)

    def forget_tips(self, refs: Iterable[str]) -> None:
        """Ask the remote anew when these refs are needed again."""
        with self._number_guard:
            self.moves += 1  # what is being read beside us may be older
            for ref in refs:
                self._tips.pop(ref, None)
