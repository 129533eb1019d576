"""The worker's hold on a running attempt: told to stop, or cut off from its claim."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class Leash:
    """``stop`` ends the program. ``cut`` says that the claim must be taken as gone.

    A cut attempt publishes nothing but a rescue ref (S15): the lease could not be
    renewed in time, so that somebody else may have the task by now.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    cut: bool = False

    def release(self) -> None:
        """Stop; the claim may be given back."""
        self.stop.set()

    def cut_off(self) -> None:
        """Stop, and publish nothing more for this claim."""
        self.cut = True
        self.stop.set()
