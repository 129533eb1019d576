"""Processes of percyd's own that start together: the child's side."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from percyd.bench.lab import Ground
from percyd.bench.metered import MeteredBackend
from percyd.bench.values import Json
from percyd.clock import SystemClock
from percyd.errors import PercydError
from percyd.state.store import StateStore

_ORPHANED = 3


class Peer:
    """A child with its job, and a store in a clone of its own."""

    def __init__(self) -> None:
        self.job: Json = json.loads(sys.argv[1])
        self.clock = SystemClock()
        self._go = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        ground = Ground(Path(self.job["folder"]), os.environ, self.clock)
        self.store: StateStore
        self.backend: MeteredBackend
        self.store, self.backend = ground.open(self.job["hub"])

    def _listen(self) -> None:
        """Wait for the word, then for the parent's end: nobody works for nobody."""
        # Not through sys.stdin, whose lock an ending interpreter cannot wait for.
        while os.read(sys.stdin.fileno(), 1024):
            self._go.set()
        os._exit(_ORPHANED)

    def say(self, document: Json) -> None:
        """One line to the parent."""
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

    def wait(self) -> None:
        """Say that all is prepared, and wait until all others are.

        Raises:
            PercydError: the word did not come in time.
        """
        self.store.refresh()
        self.backend.meter.restart()
        self.say({"ready": True})
        if not self._go.wait(self.job["deadline_s"]):
            raise PercydError("nobody said go")

    def finish(self, document: Json) -> None:
        """Say the last line and end, together with all that was started here."""
        self.say(document)
        self.backend.hub.close()
