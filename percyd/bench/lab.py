"""Where it is measured: a temporary folder, remotes in it, stores on them."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from percyd.bench.metered import Meter, MeteredBackend, MeteredClock
from percyd.bench.raw import RawLoop, bare
from percyd.bench.scale import Scale
from percyd.clock import Clock, SystemClock, SystemRandomness
from percyd.core.ids import STATE_REF
from percyd.core.operations.agents import Init
from percyd.core.refs import Oid, RefMove
from percyd.errors import PercydError
from percyd.repo.hub import Hub
from percyd.repo.runner import Git
from percyd.repo.values import NewCommit, PushOutcome, Remote
from percyd.state.store import StateStore
from percyd.state.verify.walk import verify

BASE_REF = "refs/heads/main"
#: How often it is tried to remove the folder, and the pause between two times: in 5 s
#: the gits of processes that were killed have met their closed pipes.
_REMOVALS, _PAUSE_S = 100, 0.05
#: What one operation may take before a benchmark gives up.
DEADLINE_S = 300.0

B = TypeVar("B", bound=MeteredBackend)
Say = Callable[[str], None]


@dataclass
class Ground:
    """One remote with a state branch, and stores on it, each with a hub of its own."""

    folder: Path
    environ: Mapping[str, str]
    clock: Clock
    base: Oid = ""
    _hubs: list[Hub] = field(default_factory=list)

    @property
    def remote(self) -> Path:
        """The bare repository."""
        return self.folder / "remote.git"

    def start(self) -> StateStore:
        """Make the remote, with a base branch and an empty state; a store on it."""
        self.folder.mkdir(parents=True)
        bare(self.remote, self.environ)
        store, backend = self.open("first")
        first = NewCommit("first", self.clock.now(), {"README.md": b"hello\n"})
        (self.base,) = backend.write(None, [first])
        report = backend.push([RefMove(BASE_REF, None, self.base)], DEADLINE_S)
        if report.refs[BASE_REF].outcome is not PushOutcome.APPLIED:
            raise PercydError(f"the base branch was not pushed: {report.stderr}")
        store.apply(Init(store.stamp(), "bench"))
        return store

    def open(self, name: str) -> tuple[StateStore, MeteredBackend]:
        """A store with a new hub, as in another clone; and what it calls."""
        return self.open_with(MeteredBackend, name)

    def open_with(self, kind: type[B], name: str) -> tuple[StateStore, B]:
        """The same, with a backend of this class."""
        hub = Hub.open(self.hub_path(name), Remote(str(self.remote)), self.environ)
        self._hubs.append(hub)
        meter = Meter(self.clock)
        backend = kind(hub, meter)
        clock = MeteredClock(meter)
        store = StateStore(backend, clock, SystemRandomness(), deadline_s=DEADLINE_S)
        return store, backend

    def hub_path(self, name: str) -> Path:
        """Where a hub of this ground lies."""
        return self.folder / f"hub-{name}.git"

    def tidy(self) -> None:
        """Leave the remote as its host's clean-up would."""
        git = Git(self.remote, environ=self.environ)
        git.run("repack", "-a", "-d", "-q", deadline_s=DEADLINE_S)
        git.run("pack-refs", "--all")

    def count_refs(self) -> int:
        """How many refs the remote advertises to every push."""
        git = Git(self.remote, environ=self.environ)
        return len(git.run("for-each-ref", "--format=x").text.splitlines())

    def check(self) -> int:
        """The number of state commits; numbers of an illegal history are worth nothing.

        Raises:
            PercydError: there is a violation.
        """
        hub = self._hubs[0]
        tip = hub.fetch_state()
        if tip is None:
            raise PercydError(f"{STATE_REF} is gone")
        found = verify(hub.git, hub.reader, tip, refs=hub)
        if found.violations:
            first = found.violations[0]
            count = len(found.violations)
            raise PercydError(f"the benchmark's history has {count} faults: {first}")
        return found.commits

    def close(self) -> None:
        """End what the hubs have started, and remove everything."""
        for hub in self._hubs:
            hub.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class Lab:
    """All that a benchmark needs: a folder, a yardstick, a scale."""

    folder: Path
    environ: Mapping[str, str]
    scale: Scale
    say: Say
    clock: Clock = field(default_factory=SystemClock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.raw = RawLoop(self.folder, self.environ, self.clock)

    def raw_ms(self) -> list[float]:
        """Some raw pushes, for one side of a round."""
        return self.raw.run(self.scale.raw_pushes)

    def new_folder(self) -> Path:
        """A name in the temporary folder that nobody else uses."""
        return self.folder / f"ground-{next(self._numbers)}"

    @contextmanager
    def ground(self) -> Iterator[tuple[Ground, StateStore]]:
        """A fresh remote and a store on it, gone afterwards."""
        ground = Ground(self.new_folder(), self.environ, self.clock)
        try:
            yield ground, ground.start()
        finally:
            ground.close()


@contextmanager
def open_lab(environ: Mapping[str, str], scale: Scale, say: Say) -> Iterator[Lab]:
    """A lab in a temporary folder, of which nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix="percyd-bench-"))
    try:
        yield Lab(folder, environ, scale, say)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove a folder, in which a git that was interrupted may still make files."""
    for _ in range(_REMOVALS):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        threading.Event().wait(_PAUSE_S)


def load() -> float:
    """The average load of the last minute; 0 where it is not known."""
    with suppress(OSError, AttributeError):
        return os.getloadavg()[0]
    return 0.0
