"""One registered agent of this process: its card, its slots, its lease."""

from __future__ import annotations

import logging
import os
import re
import socket
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from percyd import __version__
from percyd.core.edges import AgentStatus
from percyd.core.ids import AGENT_PATTERN, agent_id
from percyd.core.operations.agents import Depart
from percyd.core.records import Agent
from percyd.core.refs import Oid
from percyd.errors import PercydError
from percyd.home import FileLock
from percyd.repo import discover
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import available
from percyd.runners.command import registry
from percyd.session import Percyd
from percyd.state.heartbeat import Heart
from percyd.work.leftovers import Key, rescue_leftovers
from percyd.work.pulse import Pulse
from percyd.work.slot import WorkSlot
from percyd.work.supervise import SystemProcesses
from percyd.work.worker import Worker
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

#: What a program gets between SIGTERM and SIGKILL. A drain has waited for it already.
_END_S = 5.0
#: How long what a remote did not take rests.
_AGAIN_S = 10.0


class Membership:
    """An agent from its joining to its leaving. Its id is new each time."""

    @classmethod
    def begin(
        cls, percyd: Percyd, wake: threading.Event, kill: threading.Event
    ) -> Self:
        """Bury what died in this clone, take slots, join, and start to beat.

        Once ``kill`` is set, nothing that runs gets any more time to end.

        Raises:
            PercydError: it could not join; nothing is held then.
        """
        bury_the_dead(percyd, starting=True)
        with ExitStack() as held:
            member = cls(percyd, wake, kill, held)
            member.worker.join()
            member._pulse.start()
            member._held = held.pop_all()
            return member

    def __init__(
        self,
        percyd: Percyd,
        wake: threading.Event,
        kill: threading.Event,
        held: ExitStack,
    ) -> None:
        self._percyd = percyd
        self._kill = kill
        self._held = held
        self.agent = _card(percyd)
        self._clones, locks = self._slots()
        # Taken last, so that a dying process lets go of it last: whoever finds it free
        # wants to rescue what is in the slots.
        locks.append(held.enter_context(FileLock(percyd.home.lock(self.agent.id))))
        keep = tuple(lock.fileno() for lock in locks)
        workshop = _workshop(percyd, SystemProcesses(percyd.clock, keep, kill))
        slots = [WorkSlot(workshop, clone) for clone in self._clones]
        store, clock = percyd.store, percyd.clock
        self.worker = Worker(store, self.agent, slots, clock, wake)
        self._heart = Heart(
            store.backend,
            clock,
            self.agent,
            busy=lambda: self.worker.busy > 0,
            riders=self.worker.progress,
        )
        store.live_by(self._heart)
        held.callback(store.live_by, None)
        self._pulse = Pulse(self._heart, self.worker, clock)

    def _slots(self) -> tuple[list[SlotClone], list[FileLock]]:
        """The first free slot folders of this clone: two workers may share it."""
        percyd = self._percyd
        clones: list[SlotClone] = []
        locks: list[FileLock] = []
        number = 0
        while len(clones) < self.agent.slots:
            lock = FileLock(percyd.home.lock(f"slot-{number}"))
            if lock.acquire():
                self._held.callback(lock.release)
                clones.append(SlotClone.open(percyd.home.slot(number), percyd.hub))
                locks.append(lock)
            number += 1
        return clones, locks

    def leave(self, grace_s: float) -> None:
        """Drain, give back what does not end in time, and unregister.

        Raises:
            PercydError: the remote does not take it; observers will find out.
        """
        try:
            self.worker.drain(grace_s, self._kill)
            if self.worker.fenced:
                message = "its lease could not be renewed in time"
                self._depart(lost=True, message=message)
            else:
                self._depart(lost=False, message="")
            if not any(clone.worktrees() for clone in self._clones):
                self._percyd.home.lock(self.agent.id).unlink(missing_ok=True)
        finally:
            self._pulse.stop()
            self._held.close()
        with suppress(OSError):
            # Whoever finds it free sees at once to what cut-off attempts have left.
            os.utime(self._percyd.home.lock(self.agent.id), (0, 0))

    def _depart(self, *, lost: bool, message: str) -> None:
        store = self._percyd.store
        store.apply(Depart(store.stamp(), self.agent.id, lost=lost, message=message))


def _card(percyd: Percyd) -> Agent:
    config = percyd.effective.config
    name = config.worker.name or socket.gethostname()
    found = sorted(n for n, runner in registry(config).items() if available(runner))
    return Agent(
        id=agent_id(name, percyd.randomness.hex6()),
        name=name,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=__version__,
        capabilities=config.worker.capabilities,
        slots=config.worker.slots,
        runners=tuple(found),
        beat_s=config.lease.beat_s,
        lease_s=config.lease.lease_s,
        idle_beat_s=config.lease.idle_beat_s,
    )


def _workshop(percyd: Percyd, processes: SystemProcesses) -> Workshop:
    config = percyd.effective.config
    return Workshop(
        store=percyd.store,
        hub=percyd.hub,
        home=percyd.home,
        clock=percyd.clock,
        processes=processes,
        runners=registry(config),
        environ=percyd.environ,
        author=discover.user_identity(percyd.clone),
        grace_s=min(config.worker.grace_s, _END_S),
    )


def bury_the_dead(percyd: Percyd, *, starting: bool = False) -> None:
    """Agents of this clone whose process is gone: their tasks go back at once.

    An agent and the supervisors of its programs hold its lock file, so that a free lock
    says for certain that all of them are gone. What it left is rescued first. It may be
    some time until its programs have ended: called in every turn, and cheap then. What
    else lies in the slots and among the locks is seen to when a process is ``starting``.
    """
    with ExitStack() as held:
        dead = _the_dead(percyd, held, starting=starting)
        if not dead and not starting:
            return
        rescued, all_of_it = _rescue_leftovers(percyd)
        for agent in dead:
            if agent.status is AgentStatus.JOINED:
                why = f"the process of {agent.id} is gone"
                stamp = percyd.store.stamp()
                percyd.store.apply(
                    Depart(stamp, agent.id, lost=True, message=why, rescued=rescued)
                )
            if all_of_it:
                percyd.home.lock(agent.id).unlink(missing_ok=True)
            else:
                # Its task is free again; its work is tried again, see `_the_dead`.
                percyd.home.lock(agent.id).touch()
        percyd.hub.forget_the_dead()
        _sweep_the_unborn(percyd)


def _the_dead(percyd: Percyd, held: ExitStack, *, starting: bool) -> list[Agent]:
    """The agents whose lock files have been left; ``held`` has their locks now."""
    known = percyd.store.state.snapshot.agents
    dead: list[Agent] = []
    for path in sorted(percyd.home.locks.glob("*.lock")):
        agent = known.get(path.stem)
        if agent is None or (not starting and _was_tried(percyd, path, agent)):
            continue
        lock = FileLock(path)
        if lock.acquire():
            held.callback(lock.release)
            dead.append(agent)
    return dead


def _was_tried(percyd: Percyd, lock: Path, agent: Agent) -> bool:
    """Whether what a departed agent left could not be pushed only a moment ago."""
    if agent.status is AgentStatus.JOINED:
        return False
    with suppress(OSError):
        now = percyd.clock.now().timestamp()
        return abs(now - lock.stat().st_mtime) < _AGAIN_S
    return False


def _sweep_the_unborn(percyd: Percyd) -> None:
    """Remove the lock files of agents that died, or were refused, before they joined."""
    known = percyd.store.state.snapshot.agents
    for path in percyd.home.locks.glob("*.lock"):
        if path.stem in known or not re.search(AGENT_PATTERN, path.stem):
            continue
        lock = FileLock(path)
        if lock.acquire():
            path.unlink(missing_ok=True)
            lock.release()


def _rescue_leftovers(percyd: Percyd) -> tuple[dict[Key, Oid], bool]:
    """What the slots that nobody holds have left, on rescue refs; and whether all is."""
    found: dict[Key, Oid] = {}
    all_of_it = True
    for folder in sorted(percyd.home.slots.glob("[0-9]*")):
        lock = FileLock(percyd.home.lock(f"slot-{folder.name}"))
        if not lock.acquire():
            continue
        try:
            clone = SlotClone.open(folder, percyd.hub)
            found |= rescue_leftovers(percyd.hub, clone, percyd.clock)
            all_of_it = all_of_it and not clone.worktrees()
        except PercydError as error:
            log.error("not rescued", extra={"path": str(folder), "why": str(error)})
            all_of_it = False
        finally:
            lock.release()
    return found, all_of_it
