"""A person who steers what is under way: pauses, cancels, tries again, edits."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from percyd.core.edges import CLOSED, DEAD, ENDED, HELD
from percyd.core.operations.base import Operation
from percyd.core.operations.retry import Retry
from percyd.core.operations.steer import CancelPlan, CancelTask, Pause, Resume
from percyd.core.snapshot import Snapshot
from percyd.errors import RefusedError
from percyd.state.memory import MemoryBackend
from tests.sim.edits import an_edit
from tests.sim.journal import Journal, RecordingStore
from tests.sim.scheduler import Machine
from tests.support.state import FakeClock, Numbers

#: What a person may do, and how likely each is.
MOVES = {"pause": 3, "resume": 3, "cancel a task": 3, "cancel a plan": 1, "retry": 3}
#: Besides, how likely it is that a plan's file is edited then.
EDITS = 0.3


class Person:
    """Acts at once, from a machine that nothing befalls: what races is the fleet."""

    def __init__(self, journal: Journal, random: Random) -> None:
        self._random = random
        # A source of its own, drawn from nothing: the other moves stay the seed's.
        self._edits = Random(str(random.getstate()[1][:9]))
        self._journal = journal
        backend = MemoryBackend(journal.network.remote)
        self._store = RecordingStore(backend, FakeClock(), Numbers(0xBEEF))
        self._store.journal = journal
        self._store.machine = Machine("person")

    def acts(self) -> None:
        """Something that the seed decides."""
        kinds, weights = list(MOVES), list(MOVES.values())
        self.act(self._random.choices(kinds, weights)[0])
        if self._edits.random() < EDITS:
            self.act("edit")

    def act(self, kind: str) -> None:
        """One move, on whatever is there; it may be refused."""
        before = self._store.refresh().snapshot
        operation = self._move(kind, before)
        if operation is None:
            return
        network = self._journal.network
        network.log.append(f"{network.scheduler.now:8.3f} person: {operation}")
        try:
            applied = self._store.apply(operation)
        except RefusedError:
            return
        for ended in applied.decision.tasks if applied.decision else ():
            task = before.task(ended.id)
            if task is not None and task.status in HELD and kind.startswith("cancel"):
                self._journal.cancelled.add(task.claim or "")

    def lets_go(self) -> None:
        """Resume everything."""
        for name, state in self._store.refresh().snapshot.plans.items():
            if state.record.paused is not None:
                try:
                    self._store.apply(Resume(self._store.stamp(), name))
                except RefusedError:
                    continue  # it has ended meanwhile

    def _move(self, kind: str, snapshot: Snapshot) -> Operation | None:
        """A move that is possible; on another state than this it may not be."""
        plans = [n for n, s in snapshot.plans.items() if s.record.status not in CLOSED]
        tasks = [task.id for task in snapshot.tasks() if task.status not in ENDED]
        dead = [task.id for task in snapshot.tasks() if task.status in DEAD]
        paused = [n for n in plans if snapshot.plans[n].record.paused is not None]
        stamp = self._store.stamp()
        match kind:
            case "pause" if plans:
                return Pause(stamp, self._one(plans), by="person")
            case "resume" if paused:
                return Resume(stamp, self._one(paused))
            case "cancel a task" if tasks:
                return CancelTask(stamp, self._one(tasks), by="person")
            case "cancel a plan" if plans:
                return CancelPlan(stamp, self._one(plans), by="person")
            case "retry" if dead:
                return Retry(stamp, self._one(dead))
            case "edit" if plans:
                name = self._edits.choice(sorted(plans))
                return an_edit(snapshot.plans[name], stamp, self._edits)
        return None

    def _one(self, names: Sequence[str]) -> str:
        return self._random.choice(sorted(names))
