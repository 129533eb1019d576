"""The loop of ``serve`` and ``worker``: follow, take in, reconcile, claim."""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass

from percyd import __version__
from percyd.core.edges import ENDED, AgentStatus, TaskStatus
from percyd.core.ids import agent_id
from percyd.core.operations.agents import Depart
from percyd.core.reasons import Reason
from percyd.core.records import Agent, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.dispatch.monitor import Monitor
from percyd.errors import PercydError
from percyd.home import FileLock
from percyd.repo import discover
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import available
from percyd.runners.command import registry
from percyd.session import Percyd
from percyd.work.leftovers import rescue_leftovers
from percyd.work.slot import WorkSlot
from percyd.work.supervise import SystemProcesses
from percyd.work.worker import Worker
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

#: Pauses between polls of the remote: short after any change, longer while nothing
#: happens. Seconds.
POLL_S = (0.2, 15.0)
POLL_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a loop that ended by itself left the work: nothing bad, or what."""

    completed: int = 0
    failed: tuple[Task, ...] = ()
    waiting: tuple[Task, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether every task that was to do is completed."""
        return not (self.failed or self.waiting or self.problems)

    @property
    def words(self) -> str:
        """What is not good, in one line."""
        parts = []
        if self.failed:
            parts.append(f"not completed: {_named(self.failed)}")
        if self.waiting:
            parts.append(f"waiting: {_named(self.waiting)}")
        if self.problems:
            count = len(self.problems)
            parts.append(f"{count} plan file{'s' * (count != 1)} refused")
        return "; ".join(parts)

    @property
    def hint(self) -> str:
        """Where to look."""
        if self.failed or self.waiting:
            return "see percyd status"
        return "mend what is said above; percyd plan check tells more"


def _named(tasks: tuple[Task, ...]) -> str:
    """The first tasks with why, and how many more."""
    shown = [f"{t.id} ({t.reason.code if t.reason else t.status})" for t in tasks[:3]]
    if len(tasks) > 3:
        shown.append(f"{len(tasks) - 3} more")
    return ", ".join(shown)


class Daemon:
    """The loop of ``serve`` and ``worker``: follow, take in, reconcile, claim."""

    def __init__(
        self,
        percyd: Percyd,
        *,
        takes_in: bool,
        until_idle: bool,
        works: bool = True,
    ) -> None:
        self._percyd = percyd
        self._store = percyd.store
        self._clock = percyd.clock
        self._until_idle = until_idle
        self._wake = threading.Event()
        self.stop = threading.Event()
        self.kill = threading.Event()
        self._monitor = Monitor(percyd.store, percyd.clock, percyd.randomness)
        self._intake = percyd.intake if takes_in else None
        self._works = works
        self._worker: Worker | None = None
        self._ended_before: dict[str, int] = {}
        self._poll_s = POLL_S[0]
        self.exit_code = 0

    def run(self) -> Outcome:
        """Run until told to stop, or until nothing is left to do.

        Raises:
            PercydError: the state cannot be read at the start.
        """
        self._percyd.refresh()
        self._ended_before = _ended(self._store.state.snapshot)
        with ExitStack() as held:
            if self._works:
                self._worker = self._hire(held)
            try:
                self._loop()
            finally:
                self._leave()
        return self._outcome()

    def wake(self) -> None:
        """Something has happened: look now."""
        self._wake.set()

    def end(self, number: int) -> None:
        """A signal: the first drains, the second ends at once."""
        if self.stop.is_set():
            self.kill.set()
            self.exit_code = 128 + number
        self.stop.set()
        self._wake.set()

    def _loop(self) -> None:
        while not self.stop.is_set():
            self._wake.clear()
            try:
                tip = self._store.state.tip
                fresh = self._percyd.refresh().tip
                self._turn()
                if self._until_idle and self._is_idle():
                    return
                self._pace(changed=fresh != tip or self._store.state.tip != fresh)
            except PercydError as error:
                if self._until_idle and not self._busy():
                    raise
                log.warning("waits", extra={"why": str(error)})
                self._pace(changed=False)
            self._clock.wait(self._wake, self._pause_s())

    def _turn(self) -> None:
        if self._intake is not None:
            self._intake.step()
        self._monitor.step()
        if self._worker is not None:
            self._worker.step()

    def _pace(self, *, changed: bool) -> None:
        """Poll often after a change, ever less while nothing happens."""
        longer = min(self._poll_s * POLL_GROWTH, POLL_S[1])
        self._poll_s = POLL_S[0] if changed else longer

    def _pause_s(self) -> float:
        pauses = [self._poll_s]
        if self._worker is not None:
            rest_s = self._worker.next_s()
            if rest_s is not None:
                pauses.append(rest_s + 0.01)
        return min(pauses)

    def _busy(self) -> bool:
        return self._worker is not None and self._worker.busy > 0

    def _is_idle(self) -> bool:
        """Whether nothing runs, on any agent, and nothing could run here."""
        if self._busy() or self._store.state.snapshot.held:
            return False
        return self._worker is None or not self._worker.may_run()

    # The agent

    def _hire(self, held: ExitStack) -> Worker:
        """Make the slots, register the agent, and let go of what dead ones held."""
        percyd = self._percyd
        config = percyd.effective.config
        name = config.worker.name or socket.gethostname()
        agent = Agent(
            id=agent_id(name, percyd.randomness.hex6()),
            name=name,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
            capabilities=config.worker.capabilities,
            slots=config.worker.slots,
            runners=tuple(
                sorted(n for n, r in registry(config).items() if available(r))
            ),
            beat_s=config.lease.beat_s,
            lease_s=config.lease.lease_s,
            idle_beat_s=config.lease.idle_beat_s,
        )
        self._bury_the_dead()
        held.enter_context(FileLock(percyd.home.lock(agent.id)))
        workshop = Workshop(
            store=percyd.store,
            hub=percyd.hub,
            home=percyd.home,
            clock=percyd.clock,
            processes=SystemProcesses(percyd.clock),
            runners=registry(config),
            environ=percyd.environ,
            author=discover.user_identity(percyd.clone),
            grace_s=config.worker.grace_s,
        )
        slots = [WorkSlot(workshop, clone) for clone in self._slots(held, agent.slots)]
        worker = Worker(percyd.store, agent, slots, percyd.clock, self._wake)
        worker.join()
        return worker

    def _slots(self, held: ExitStack, count: int) -> list[SlotClone]:
        """The first free slot folders of this clone: two workers may share it."""
        percyd = self._percyd
        clones: list[SlotClone] = []
        number = 0
        while len(clones) < count:
            lock = FileLock(percyd.home.lock(f"slot-{number}"))
            if lock.acquire():
                held.callback(lock.release)
                clones.append(SlotClone.open(percyd.home.slot(number), percyd.hub))
            number += 1
        return clones

    def _bury_the_dead(self) -> None:
        """Agents of this clone whose process is gone: their tasks go back at once.

        Each agent holds its lock file for as long as it lives, so that a free lock
        says for certain that the process is gone. What it left is rescued first.
        """
        rescued = self._rescue_leftovers()
        for agent in self._store.state.snapshot.agents.values():
            path = self._percyd.home.lock(agent.id)
            if agent.status is not AgentStatus.JOINED or not path.exists():
                continue
            lock = FileLock(path)
            if lock.acquire():
                message = f"the process of {agent.id} is gone"
                stamp = self._store.stamp()
                self._store.apply(
                    Depart(stamp, agent.id, lost=True, message=message, rescued=rescued)
                )
                path.unlink(missing_ok=True)
                lock.release()

    def _rescue_leftovers(self) -> dict[str, Oid]:
        """What the slots that nobody holds have left, on rescue refs: task to commit."""
        percyd = self._percyd
        found: dict[str, Oid] = {}
        for folder in sorted(percyd.home.slots.iterdir()):
            lock = FileLock(percyd.home.lock(f"slot-{folder.name}"))
            if lock.acquire():
                try:
                    clone = SlotClone.open(folder, percyd.hub)
                    found |= rescue_leftovers(percyd.hub, clone, percyd.clock)
                finally:
                    lock.release()
        return found

    def _leave(self) -> None:
        if self._worker is None:
            return
        grace_s = self._percyd.effective.config.worker.grace_s
        self._worker.drain(grace_s if self.stop.is_set() else 0.0, self.kill)
        self._worker.leave()
        self._percyd.home.lock(self._worker.agent.id).unlink(missing_ok=True)

    # The end

    def _outcome(self) -> Outcome:
        snapshot = self._store.state.snapshot
        bad = sorted(
            (task for task in snapshot.tasks() if self._is_bad(task)),
            key=lambda task: (task.status is not TaskStatus.FAILED, task.id),
        )
        problems = self._intake.problems if self._intake else ()
        return Outcome(
            completed=sum(self._is_new(task) for task in snapshot.tasks()) - len(bad),
            failed=tuple(t for t in bad if t.status in ENDED),
            waiting=tuple(t for t in bad if t.status not in ENDED),
            problems=tuple(problems),
        )

    def _is_bad(self, task: Task) -> bool:
        """Whether a task that was to do is not completed; old failures do not count."""
        if task.status is TaskStatus.COMPLETED:
            return False
        if task.reason is not None and task.reason.code is Reason.REMOVED:
            return False
        return self._is_new(task)

    def _is_new(self, task: Task) -> bool:
        """Whether it was open at the start, or has been added or retried since."""
        return self._ended_before.get(task.id) != task.attempt


def _ended(snapshot: Snapshot) -> dict[str, int]:
    return {task.id: task.attempt for task in snapshot.tasks() if task.status in ENDED}
