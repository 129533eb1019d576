"""Old logs and prompts of tasks on this machine: for how long, and how much of them.

What a task of an open plan has printed is kept, whatever it takes: each attempt has its
bound (``limits.log_bytes``). Of all other plans it is kept for `KEEP_DAYS`, and no more
than `KEEP_BYTES` of it, the oldest first to go.
"""

from __future__ import annotations

import logging
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from percyd.clock import Clock
from percyd.core.edges import CLOSED
from percyd.core.ids import plan_of
from percyd.core.snapshot import Snapshot
from percyd.home import Home

log = logging.getLogger(__name__)

KEEP_DAYS = 30
KEEP_BYTES = 1024 * 1024 * 1024
_DAY_S = 86400.0
#: How often to look.
_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of one task: its newest file's time, and the size of all."""

    path: Path
    changed_s: float
    size: int


class Housekeeping:
    """Tidies one clone's local state once an hour."""

    def __init__(self, home: Home, clock: Clock, keep_bytes: int = KEEP_BYTES) -> None:
        self._home = home
        self._clock = clock
        self._keep_bytes = keep_bytes
        self._due_s = float("-inf")

    def step(self, snapshot: Snapshot) -> None:
        """Do it if it is time."""
        now_s = self._clock.boot_s()
        if now_s < self._due_s:
            return
        self._due_s = now_s + _EVERY_S
        for folder in (self._home.logs, self._home.runs):
            self._tidy(folder, snapshot)

    def _tidy(self, folder: Path, snapshot: Snapshot) -> None:
        oldest_s = self._clock.now().timestamp() - KEEP_DAYS * _DAY_S
        kept = sorted(_closed(folder, snapshot), key=lambda k: k.changed_s)
        room = sum(each.size for each in kept) - self._keep_bytes
        gone = 0
        for each in kept:
            if each.changed_s >= oldest_s and room <= 0:
                break
            shutil.rmtree(each.path, ignore_errors=True)
            room -= each.size
            gone += 1
        if gone:
            why = f"old logs or prompts of {gone} tasks of closed plans"
            log.info("removed", extra={"path": str(folder), "why": why})


def _closed(folder: Path, snapshot: Snapshot) -> Iterator[_Kept]:
    """What is there of tasks whose plans are closed, archived or unknown."""
    for path in folder.glob("*.*"):
        plan = snapshot.plan(plan_of(path.name))
        if plan is not None and plan.record.status not in CLOSED:
            continue
        try:
            stats = [p.lstat() for p in (path, *path.rglob("*"))]
        except FileNotFoundError:
            continue  # another process of this clone is tidying too
        # How big a folder itself is depends on the file system.
        size = sum(s.st_size for s in stats if stat.S_ISREG(s.st_mode))
        yield _Kept(path, max(s.st_mtime for s in stats), size)
