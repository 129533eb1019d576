"""Stores whose remote is far away: a git daemon behind a bad network, on real clocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from percyd.clock import SystemClock, SystemRandomness
from percyd.core.ids import STATE_REF
from percyd.core.operations.agents import Join
from percyd.repo.hub import Hub
from percyd.repo.values import Remote
from percyd.state.git import GitBackend
from percyd.state.store import StateStore
from percyd.state.tickets import Applied
from tests.support.checker import check
from tests.support.gitrepo import git, write_hook
from tests.support.proxy import Proxy
from tests.support.state import Bench, GitRemote, agent

T = TypeVar("T")

#: Enough for a push on a loaded machine, short enough to wait for.
DEADLINE_S = 20.0


def until(condition: Callable[[], object], what: str, within_s: float = 20) -> None:
    """Wait for a condition; an error that says what did not come."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError(f"not within {within_s} s: {what}")


def beside(act: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own; the answer, or the error, comes later."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(act)
    pool.shutdown(wait=False)
    return future


class FarRemote(GitRemote):
    """A bare repository that is reached through a daemon and a proxy."""

    def __init__(self, folder: Path, root: Path, proxy: Proxy) -> None:
        super().__init__(folder)
        self.path = self.git.git_dir
        self.url = proxy.url(str(self.path.relative_to(root)))
        self._gates = folder / "gates"
        self._gates.mkdir()

    def hub(self, number: int) -> Hub:
        """A clone of this remote, by the network."""
        hub = Hub.open(self.folder / f"hub-{number}.git", Remote(self.url))
        self._hubs.append(hub)
        return hub

    def hook(self, name: str, script: str) -> Path:
        """Install a hook; an old one of that name is replaced."""
        return write_hook(self.path, name, script)

    def unhook(self, name: str) -> None:
        """Remove a hook."""
        (self.path / "hooks" / name).unlink()

    def hold(self, name: str) -> None:
        """A hook that counts who reaches it, and lets each one go on when it may.

        It ends by itself in the end: a test that fails leaves nothing behind.
        """
        self.hook(
            name,
            f"cat > /dev/null; i=1; until mkdir {self._gates}/$i 2> /dev/null\n"
            "do i=$((i+1)); done; n=0\n"
            f"until [ -e {self._gates}/$i/go ] || [ -e {self._gates}/all ] "
            "|| [ $n -gt 3000 ]\ndo sleep 0.02; n=$((n+1)); done",
        )

    def held(self) -> int:
        """How many pushes have reached the hook of `hold`."""
        return len([gate for gate in self._gates.iterdir() if gate.is_dir()])

    def release(self, number: int | None = None) -> None:
        """Let the push go on that came as this number; without one, all."""
        gate = self._gates / (f"{number}/go" if number else "all")
        gate.touch()

    @property
    def tip(self) -> str:
        """The state branch."""
        return self.refs[STATE_REF]

    def operations(self) -> list[str]:
        """The subjects of the history, oldest first."""
        log = git(self.path, "log", "--reverse", "--format=%s", STATE_REF)
        return log.splitlines()

    def joins(self, number: int) -> int:
        """How often the agent of this number has joined."""
        return sum(f"box-{number:06x} " in line for line in self.operations())

    def problems(self) -> list[str]:
        """What the checker and git find wrong with everything that was accepted."""
        lost = git(self.path, "fsck", "--connectivity-only", "--no-dangling")
        return [*check(self.path), *lost.splitlines()]


class FarBench(Bench):
    """A bench whose store has the machine's clock, and deadlines that come."""

    def __init__(
        self, remote: FarRemote, number: int = 0, deadline_s: float = DEADLINE_S
    ) -> None:
        super().__init__(remote, number)
        self.far = remote
        assert isinstance(self.backend, GitBackend)
        self.hub = self.backend.hub
        self.set_deadline(deadline_s)

    def go_directly(self) -> None:
        """Reach the remote past daemon and proxy, by its path."""
        self.hub.remote = Remote(str(self.far.path))

    def set_deadline(self, deadline_s: float) -> None:
        """A new store over the same hub."""
        self.store = StateStore(
            self.backend, SystemClock(), SystemRandomness(), deadline_s=deadline_s
        )

    def enter(self, number: int) -> Applied:
        """Let another agent join: the smallest operation, one commit."""
        card = agent(f"box-{number:06x}")
        return self.store.apply(Join(self.store.stamp(), card))
