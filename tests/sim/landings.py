"""Runs in which plans land by themselves, while others push to their base branch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from percyd.core.operations.landing import is_due, is_landed
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Limits, Plan, Task
from percyd.state.memory import MemoryBackend
from percyd.state.reader import read
from percyd.state.store import StateStore
from tests.sim.world import World
from tests.support.state import plan

MAIN = "refs/heads/main"
#: How often others push to the base branch, and how long they wait before each time.
PUSHES, PAUSE_S = (0, 1, 2, 4), (0.5, 15.0)


class LandingWorld(World):
    """A `World` of plans with ``land: auto``, with a gate or without."""

    def take_in(self, name: str, tasks: Sequence[Task] = ()) -> None:
        """See `World`."""
        refs = self.network.remote.refs
        base = refs.setdefault(MAIN, self._base)
        gate = self.random.choice((None, "check"))
        limits = Limits(backoff_s=0.3, max_attempts=3)
        record = plan(name, base, land="auto", verify=gate, limits=limits)
        store: StateStore = self._operator
        store.apply(TakeIn(store.stamp(), record, tuple(tasks) or self._tasks(name)))

    def set_up(self, machines: int, slots: int | None = None) -> None:
        """See `World`."""
        super().set_up(machines, slots)
        self.scheduler.spawn(self._nobody, self._push_to_main, "pusher")

    def _push_to_main(self) -> None:
        remote = self.network.remote
        for number in range(self.random.choice(PUSHES)):
            self._wait(self.random.uniform(*PAUSE_S))
            tip = remote.refs[MAIN]
            files = remote.commits[tip].files.set(f"main-{number}", b"pushed")
            remote.refs[MAIN] = remote.commit([tip], files, f"push {number}")

    def _open_plans(self) -> list[str]:
        """A plan that is done and has to land is not at its end."""
        left = super()._open_plans()
        if left:
            return left
        return [
            f"{plan.id} is done and has not landed"
            for plan in self._plans()
            if is_due(plan)
        ]

    def landed(self) -> int:
        """How many plans have landed."""
        return sum(map(is_landed, self._plans()))

    def _plans(self) -> Iterator[Plan]:
        backend = MemoryBackend(self.network.remote)
        for _, state in sorted(
            read(backend, backend.fetch_state() or "").plans.items()
        ):
            yield state.record
