"""What a beat has put, or may have put, on an attempt's rescue ref while it runs."""

from __future__ import annotations

import logging
import threading

from percyd.core.refs import Oid, RefMove
from percyd.errors import PercydError
from percyd.repo.hub import Hub
from percyd.state.heartbeat import Rider

log = logging.getLogger(__name__)

#: How long a beat may wait for a look at the rescue ref.
_LOOK_S = 5.0
#: How long the deletion of a rescue ref may take.
_DELETE_S = 10.0


class Progress:
    """The rescue ref of an attempt that is not over. Safe to use from many threads.

    A rider's lease is what is on the ref: one that is late, behind an end that has put
    something else there, moves nothing. Only a first one, which expects nothing there,
    could land behind a completion, which leaves nothing; whoever hears last of the two
    removes it then.
    """

    def __init__(self, hub: Hub, ref: str) -> None:
        self._hub = hub
        self._ref = ref
        self._guard = threading.Lock()
        self._tried = False
        #: A rider has not been answered: it may have landed, or may yet.
        self._open = False
        self._was_open = False
        self._over = False
        self.landed: Oid | None = None

    def rider(self, commit: Oid) -> Rider | None:
        """A move of the ref to ``commit``; None if the attempt comes to its end.

        Raises:
            PercydError: what is on the ref cannot be found out.
        """
        if self._open:
            found = self._hub.ls_remote(self._ref, deadline_s=_LOOK_S)
            self.landed = found.get(self._ref)
        with self._guard:
            self._open = self._tried = True
        if commit == self.landed:
            self._landed(commit)
            return None
        return Rider(
            RefMove(self._ref, self.landed, commit), lambda: self._landed(commit)
        )

    def _landed(self, commit: Oid) -> None:
        with self._guard:
            self.landed = commit
            self._open = False
            late = self._over
        if late:
            self._delete()

    def ending(self) -> bool:
        """Whether a completion that is made now has to remove the ref."""
        with self._guard:
            self._was_open |= self._open
            return self._tried

    def end(self) -> None:
        """The attempt has completed, and has removed the ref as it was then."""
        with self._guard:
            self._over = True
            late = self._was_open
        if late:
            self._delete()

    def _delete(self) -> None:
        try:
            self._hub.push([RefMove(self._ref, None, None, forced=True)], _DELETE_S)
        except PercydError as error:
            log.warning("not removed", extra={"ref": self._ref, "why": str(error)})
