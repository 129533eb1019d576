"""What every command that follows has: the newest state, and an orderly end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from percyd.errors import RemoteUnreachable

if TYPE_CHECKING:
    from percyd.session import Percyd
    from percyd.state.follower import State


class Watch:
    """The newest state, look by look. A remote that is down is waited for."""

    def __init__(self, percyd: Percyd, say: Callable[[str], None]) -> None:
        self._percyd = percyd
        self._say = say
        self._is_down = False

    def first(self) -> State:
        """The newest state; the last known one while the remote is down.

        Raises:
            RemoteUnreachable: nothing is known from before either.
            StateRefused: the branch is not one to build on.
        """
        try:
            return self._percyd.look()
        except RemoteUnreachable as error:
            known = self._percyd.last_look()
            if known is None:
                raise
            self._note(error)
            return known

    def look(self) -> State | None:
        """The newest state; None while nobody answers, which is said once.

        Raises:
            StateRefused: the branch is not one to build on.
        """
        try:
            state = self._percyd.look()
        except RemoteUnreachable as error:
            self._note(error)
            return None
        self._note(None)
        return state

    def _note(self, error: RemoteUnreachable | None) -> None:
        if error is not None and not self._is_down:
            self._say(f"percyd: {error.message}; it is asked again until it answers")
        elif error is None and self._is_down:
            self._say("percyd: the remote answers again")
        self._is_down = error is not None


@contextmanager
def until_interrupted() -> Iterator[None]:
    """^C and SIGTERM are the orderly end of a command that follows (CLI 1)."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
