"""The thread that keeps a worker's lease: beats when it is due, fences when it fails."""

from __future__ import annotations

import logging
import threading

from percyd.clock import Clock
from percyd.errors import PercydError
from percyd.state.heartbeat import Heart
from percyd.threads import SYSTEM_THREADS, Thread, Threads
from percyd.work.worker import Worker

log = logging.getLogger(__name__)

#: How long one wait may be: the fence must fall in time, whatever the beat.
_LOOK_S = 0.5


class Pulse:
    """Runs from `start` to `stop`, beside everything that may take long."""

    def __init__(
        self,
        heart: Heart,
        worker: Worker,
        clock: Clock,
        threads: Threads = SYSTEM_THREADS,
    ) -> None:
        self._heart = heart
        self._worker = worker
        self._clock = clock
        self._end = threading.Event()
        self._threads = threads
        self._running: list[Thread] = []

    def start(self) -> None:
        """Begin to beat, and to watch the lease."""
        self._running = [
            self._threads.start(self._beat, "beats"),
            self._threads.start(self._carry, "progress"),
            self._threads.start(self._guard, "lease"),
        ]

    def stop(self) -> None:
        """End all of them."""
        self._end.set()
        for thread in self._running:
            thread.join()

    def _beat(self) -> None:
        """Push a beat when none has ridden along for long enough.

        A push that hangs holds up only this thread, and no longer than the lease.
        """
        while not self._end.is_set():
            if self._heart.due_s() <= 0:
                try:
                    done = self._heart.beat(max(1.0, self._heart.left_s()))
                except PercydError as error:
                    log.debug("no beat", extra={"why": str(error)})
                    done = False
                if not done:
                    self._clock.wait(self._end, _LOOK_S)
            else:
                self._clock.wait(self._end, min(_LOOK_S, self._heart.due_s()))

    def _carry(self) -> None:
        """Push work in progress; an upload that takes long holds up only this thread.

        The beats have one of their own, so that no amount of work can cost the lease.
        """
        while not self._clock.wait(self._end, self._heart.beat_s):
            self._heart.carry()

    def _guard(self) -> None:
        """End the work in time if the lease cannot be renewed (S15)."""
        while not self._end.is_set():
            if self._worker.busy and self._heart.left_s() <= 0:
                self._worker.fence_off()
            self._clock.wait(self._end, min(_LOOK_S, max(0.05, self._heart.left_s())))
