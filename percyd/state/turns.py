"""Who pushes when: pauses between lost races, and before a winner's next push (L2)."""

from __future__ import annotations

import threading

from percyd.clock import Clock, Randomness
from percyd.core.refs import Oid
from percyd.state.follower import State

#: Full-jitter backoff between lost races, in seconds.
_BACKOFF_S = 0.02
_BACKOFF_CAP_S = 0.5
#: How long after the last sign of others a winner still lets them in.
_CONTENDED_S = 1.0


class Turns:
    """One committer's pauses, in units of its own pushes: a slow remote has long ones."""

    def __init__(self, clock: Clock, randomness: Randomness) -> None:
        self._clock = clock
        self._randomness = randomness
        self._never = threading.Event()
        self._push_s = 0.0
        #: Where our last push that won has left the state, and when; None: used up.
        self._won: tuple[Oid, float] | None = None

    def took(self, push_s: float) -> None:
        """A push was answered after so long."""
        self._push_s = push_s

    def won(self, tip: Oid) -> None:
        """A push of ours has moved the state."""
        self._won = tip, self._clock.boot_s()

    def let_others_in(
        self, state: State | None, contended_s: float, give_up: float
    ) -> bool:
        """A winner waits its turn too, as long as others want to push.

        It has the newest state already; whoever lost must read and build first, and
        would lose again and again. Once we have seen a push of theirs, or have pushed
        nothing for as long, they had their turn. Answers whether it has waited, so that
        others may have pushed meanwhile.

        Args:
            state: What is known, and
            contended_s: when others were last seen to push.
            give_up: When to wait no longer.
        """
        won, self._won = self._won, None
        if won is None or state is None or state.tip != won[0]:
            return False
        now_s = self._clock.boot_s()
        turn_s = self._randomness.uniform(0.0, 2 * self._push_s)
        left_s = won[1] + turn_s - now_s
        if left_s <= 0 or now_s - contended_s >= _CONTENDED_S:
            return False
        self._wait(left_s, give_up)
        return True

    def back_off(self, losses: int, give_up: float) -> None:
        """Full jitter: anything up to a bound that doubles with every loss."""
        cap_s = max(_BACKOFF_CAP_S, 4 * self._push_s)
        top_s = min(cap_s, max(_BACKOFF_S, self._push_s) * 2.0 ** min(losses + 1, 10))
        self._wait(self._randomness.uniform(0.0, top_s), give_up)

    def _wait(self, pause_s: float, give_up: float) -> None:
        left_s = max(0.0, give_up - self._clock.boot_s())
        self._clock.wait(self._never, min(pause_s, left_s))
