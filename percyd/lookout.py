"""When to look at the remote: at once after a hint, else by a poll that grows slower."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from percyd.core.document.names import FOLDER
from percyd.core.refs import Oid
from percyd.intake.watch import Place, Watcher, refs_of
from percyd.repo.remotes import folder_of
from percyd.session import Percyd

#: The pause after a change, and by how much each one is longer than the one before.
FIRST_PAUSE_S = 0.2
GROWTH = 1.5
#: The same where the remote's own events are seen: only what they miss waits for it.
GROWTH_WATCHED = 10.0
#: Between two looks however many hints there are: a busy remote moves all the time.
_REST_S = 0.02


class Lookout:
    """The looks of one loop. Every event is a hint; losing all of them costs time only.

    ``wake`` is what the loop waits on. What a loop that takes in plans has to see is
    more than the remote: the plans folder and the clone's own branches.
    """

    def __init__(
        self,
        percyd: Percyd,
        wake: threading.Event,
        stop: threading.Event,
        *,
        takes_in: bool,
    ) -> None:
        self._percyd = percyd
        self._clock = percyd.clock
        self._wake = wake
        self._stop = stop
        self._takes_in = takes_in
        self._longest_s = percyd.effective.config.watch.poll_s
        self._remote_folder = folder_of(percyd.remote)
        self._watcher = Watcher(self._places(), self._hint)
        self._hinted = True
        self._looked_s = float("-inf")
        self._pause_s = FIRST_PAUSE_S
        self._failed = False

    def _places(self) -> Iterator[Place]:
        percyd = self._percyd
        yield Place(percyd.home.wake.parent, frozenset({percyd.home.wake.name}))
        if self._remote_folder is not None:
            yield from refs_of(self._remote_folder.resolve())
        if self._takes_in:
            yield from refs_of(percyd.clone.common_dir)
            if percyd.clone.work_tree is not None:
                yield Place(percyd.clone.work_tree / FOLDER)

    def __enter__(self) -> Self:
        self._watcher.start()
        self._tell_the_hooks()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._watcher.stop()

    def _tell_the_hooks(self) -> None:
        """Leave a word for the hooks of the clone and of a remote on this machine."""
        folders = [self._percyd.clone.common_dir, self._remote_folder]
        lines = {str(Path(folder).resolve()) for folder in folders if folder}
        with suppress(OSError):  # a hint that does not come costs time only
            self._percyd.home.woken_for.write_text("\n".join(sorted(lines)) + "\n")

    def _hint(self) -> None:
        self._hinted = True
        self._wake.set()

    def wait(self, longest_s: float) -> None:
        """Wait for a hint, for the next poll, or for what the loop has to do itself."""
        left_s = self._looked_s + self._pause_s - self._clock.boot_s()
        if not self._failed:
            left_s = min(left_s, longest_s)
        if self._clock.wait(self._wake, max(0.0, left_s)):
            self._hinted = True

    @property
    def is_due(self) -> bool:
        """Whether it is time for a look, and not only for what the loop does itself."""
        if self._hinted or self._failed:
            return True
        return self._clock.boot_s() >= self._looked_s + self._pause_s

    def look(self, refs: list[str]) -> Mapping[str, Oid]:
        """Adopt the state if it has moved; answers where ``refs`` stand on the remote.

        Raises: see `StateStore.look`.
        """
        rest_s = self._looked_s + _REST_S - self._clock.boot_s()
        if rest_s > 0:
            self._clock.wait(self._stop, rest_s)
        hinted, self._hinted = self._hinted, False
        if hinted:
            self._pause_s = FIRST_PAUSE_S
        self._looked_s = self._clock.boot_s()
        self._watcher.renew()
        if hinted and not refs:
            self._percyd.refresh()  # it has most likely moved: nothing to ask before
            return {}
        return self._percyd.look_at(refs)

    def pace(self, *, changed: bool) -> None:
        """Poll often after a change, ever less while nothing happens."""
        self._failed = False
        watched = self._remote_folder is not None and self._watcher.is_whole
        longer_s = self._longer(GROWTH_WATCHED if watched else GROWTH)
        self._pause_s = FIRST_PAUSE_S if changed else longer_s

    def back_off(self) -> None:
        """Something has failed: nothing is tried again before the next look."""
        self._failed = True
        self._pause_s = self._longer(GROWTH)

    def _longer(self, growth: float) -> float:
        return min(self._pause_s * growth, self._longest_s)
