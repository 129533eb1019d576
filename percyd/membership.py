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
from percyd.parking import Parking
from percyd.repo import discover
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import available
from percyd.runners.registry import registry
from percyd.session import Percyd
from percyd.state.heartbeat import Heart
from percyd.work.leftovers import Key, rescue_leftovers
from percyd.work.prompt import Prompts
from percyd.work.pulse import Pulse
from percyd.work.restraint import Restraint
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
        # wants to rescue what is in the slots. Nobody has tried that yet.
        own = percyd.home.lock(self.agent.id)
        locks.append(held.enter_context(FileLock(own)))
        os.utime(own, (0, 0))
        keep = tuple(lock.fileno() for lock in locks)
        processes = held.enter_context(SystemProcesses(percyd.clock, keep, kill))
        workshop = _workshop(percyd, processes)
        slots = [WorkSlot(workshop, clone) for clone in self._clones]
        store, clock = percyd.store, percyd.clock
        self.worker = Worker(
            store,
            self.agent,
            slots,
            clock,
            wake,
            restraint=Restraint(
                clock.now,
                workshop.parking.parked,
                percyd.effective.config.budget.record(),
            ),
        )
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
                clone = SlotClone.open(percyd.home.slot(number), percyd.hub)
                if clone.worktrees():
                    # Whose programs had not ended yet when the dead were buried.
                    _rescue_slot(percyd, clone.root)
                clones.append(clone)
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
        parking=Parking(percyd.home.parked, percyd.clock),
        prompts=Prompts.of(percyd.clone.work_tree),
    )


def bury_the_dead(percyd: Percyd, *, starting: bool = False) -> None:
    """Agents of this clone whose process is gone: their tasks go back at once.

    An agent and the supervisors of its programs hold its lock file, so that a free lock
    says for certain that all of them are gone. What it left is rescued first. It may be
    some time until its programs have ended: called in every turn, and cheap then. Who
    died before it joined had no task, and may have held slots in which others left work.
    """
    with ExitStack() as held:
        dead, unborn = _the_dead(percyd, held, starting=starting)
        if not dead and not unborn and not starting:
            return
        rescued, all_of_it = _rescue_leftovers(percyd)
        for agent in dead:
            if agent.status is AgentStatus.JOINED:
                why = f"the process of {agent.id} is gone"
                stamp = percyd.store.stamp()
                percyd.store.apply(
                    Depart(stamp, agent.id, lost=True, message=why, rescued=rescued)
                )
        for name in (*(agent.id for agent in dead), *unborn):
            if all_of_it:
                percyd.home.lock(name).unlink(missing_ok=True)
            else:
                # Its task is free again; its work is tried again, see `_was_tried`.
                percyd.home.lock(name).touch()
        percyd.hub.forget_the_dead()


def _the_dead(
    percyd: Percyd, held: ExitStack, *, starting: bool
) -> tuple[list[Agent], list[str]]:
    """The agents whose lock files have been left, and those that never joined.

    ``held`` has their locks now.
    """
    known = percyd.store.state.snapshot.agents
    dead: list[Agent] = []
    unborn: list[str] = []
    for path in sorted(percyd.home.locks.glob("*.lock")):
        agent = known.get(path.stem)
        if agent is None and not _has_lived(percyd, path):
            continue
        if not starting and _was_tried(percyd, path, agent):
            continue
        lock = FileLock(path)
        if lock.acquire():
            held.callback(lock.release)
            if agent is None:
                unborn.append(path.stem)
            else:
                dead.append(agent)
    return dead, unborn


def _has_lived(percyd: Percyd, lock: Path) -> bool:
    """Whether it is an agent's, and not only just being made.

    Between the making of the file and its locking somebody else might take it; whoever
    holds it has written his process id, and nobody takes long for that.
    """
    with suppress(OSError):
        is_written = lock.stat().st_size > 0 or not _is_new(percyd, lock)
        return is_written and re.search(AGENT_PATTERN, lock.stem) is not None
    return False


def _was_tried(percyd: Percyd, lock: Path, agent: Agent | None) -> bool:
    """Whether what a departed agent left could not be pushed only a moment ago."""
    if agent is not None and agent.status is AgentStatus.JOINED:
        return False
    with suppress(OSError):
        return _is_new(percyd, lock)
    return False


def _is_new(percyd: Percyd, lock: Path) -> bool:
    return abs(percyd.clock.now().timestamp() - lock.stat().st_mtime) < _AGAIN_S


def _rescue_leftovers(percyd: Percyd) -> tuple[dict[Key, Oid], bool]:
    """What the slots that nobody holds have left, on rescue refs; and whether all is."""
    found: dict[Key, Oid] = {}
    all_of_it = True
    for folder in sorted(percyd.home.slots.glob("[0-9]*")):
        lock = FileLock(percyd.home.lock(f"slot-{folder.name}"))
        if not lock.acquire():
            continue
        try:
            rescued, whole = _rescue_slot(percyd, folder)
        finally:
            lock.release()
        found |= rescued
        all_of_it = all_of_it and whole
    return found, all_of_it


def _rescue_slot(percyd: Percyd, folder: Path) -> tuple[dict[Key, Oid], bool]:
    """The same of one slot, whose lock is held here."""
    try:
        clone = SlotClone.open(folder, percyd.hub)
        found = rescue_leftovers(percyd.hub, clone, percyd.clock)
        return found, not clone.worktrees()
    except PercydError as error:
        log.error("not rescued", extra={"path": str(folder), "why": str(error)})
        return {}, False
