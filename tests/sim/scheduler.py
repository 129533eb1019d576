"""One thread, virtual time, and a seed that decides who runs next.

Greenlets stand for threads. Whatever waits says what for and how long; nothing else
can take turns, so that a seed always gives the same run. Time moves on only when
nobody can run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import TracebackType

from greenlet import GreenletExit, greenlet

from percyd.threads import Condition, Lock, Thread

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NEVER = float("inf")
NEVER_YET = float("-inf")


@dataclass(eq=False)
class Machine:
    """Where fibres run: it can be frozen for a while, and switched off for good."""

    name: str
    frozen_until: float = NEVER_YET
    is_off: bool = False
    #: What its wall clock shows wrongly. Seconds.
    skew_s: float = 0.0


@dataclass(eq=False)
class Fibre:
    """One thread of a machine."""

    machine: Machine
    name: str
    scheduler: Scheduler
    body: greenlet = field(init=False)
    ready: Callable[[], bool] | None = None
    due: float = 0.0

    @property
    def dead(self) -> bool:
        return bool(self.body.dead)

    def join(self) -> None:
        """See `percyd.threads.Thread`."""
        self.scheduler.pause(lambda: self.dead, NEVER)


class Stuck(AssertionError):
    """Nothing can ever run again, or nothing comes to an end."""


class Scheduler:
    """Runs fibres one at a time."""

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.steps = 0
        self._random = random
        self._fibres: list[Fibre] = []
        self._graveyard: list[Fibre] = []
        self._main = greenlet.getcurrent()
        self._current: Fibre | None = None

    def spawn(self, machine: Machine, target: Callable[[], None], name: str) -> Fibre:
        """Let ``target`` run beside everything else."""
        fibre = Fibre(machine, name, self)
        fibre.body = greenlet(target, self._main)
        self._fibres.append(fibre)
        return fibre

    @property
    def current(self) -> Fibre:
        assert self._current is not None, "only fibres may wait"
        return self._current

    def pause(self, ready: Callable[[], bool] | None, timeout_s: float) -> None:
        """Let others run until ``ready``, or for so long."""
        fibre = self.current
        fibre.ready = ready
        fibre.due = self.now + timeout_s
        self._main.switch()

    def run(self, until: Callable[[], bool], limit_s: float, steps: int) -> None:
        """Run until the condition holds.

        Raises:
            Stuck: the time or the steps are used up before.
        """
        end = self.now + limit_s
        while not until():
            if self.now > end or self.steps > steps:
                raise Stuck(f"not quiet at {self.now:.1f} s after {self.steps} steps")
            self._step()

    def _step(self) -> None:
        self.steps += 1
        now = self.now
        runnable = []
        next_due = NEVER
        for fibre in self._fibres:
            machine = fibre.machine
            due = fibre.due
            if machine.frozen_until > now:
                next_due = min(next_due, machine.frozen_until)
                continue
            if due <= now or (fibre.ready is not None and fibre.ready()):
                runnable.append(fibre)
            elif due < next_due:
                next_due = due
        if runnable:
            self._switch_to(self._random.choice(runnable))
        elif next_due == NEVER:
            raise Stuck(f"nothing can run at {now:.1f} s")
        else:
            self.now = next_due

    def _switch_to(self, fibre: Fibre) -> None:
        fibre.ready = None
        fibre.due = 0.0
        self._current = fibre
        fibre.body.switch()
        self._current = None
        if fibre.body.dead:
            self._fibres.remove(fibre)

    def switch_off(self, machine: Machine) -> None:
        """None of a machine's fibres runs again: not even its ``finally``."""
        machine.is_off = True
        gone = [f for f in self._fibres if f.machine is machine]
        self._fibres = [f for f in self._fibres if f.machine is not machine]
        self._graveyard.extend(gone)

    def close(self) -> None:
        """Unwind whatever has not ended."""
        for fibre in (*self._fibres, *self._graveyard):
            fibre.machine.is_off = True
            self._current = fibre
            fibre.body.throw(GreenletExit)
        self._fibres.clear()
        self._graveyard.clear()


@dataclass
class SimClock:
    """The clocks of one machine. The boot clocks of two machines differ too."""

    scheduler: Scheduler
    machine: Machine
    booted_s: float

    def now(self) -> datetime:
        seconds = round(self.scheduler.now + self.machine.skew_s)
        return EPOCH + timedelta(seconds=seconds)

    def boot_s(self) -> float:
        return self.scheduler.now + self.booted_s

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.scheduler.pause(event.is_set, timeout_s)
        return event.is_set()


class SimLock:
    """A lock that its holder may take again."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._holder: Fibre | None = None
        self._depth = 0

    def __enter__(self) -> None:
        me = self._scheduler.current
        while self._holder not in (None, me):
            self._scheduler.pause(lambda: self._holder is None, NEVER)
        self._holder = me
        self._depth += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if not self._depth:
            self._holder = None


class SimCondition:
    """A condition. Between two waits nobody else runs: it needs no lock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._notified = 0

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        seen = self._notified
        limit = NEVER if timeout is None else max(0.0, timeout)
        self._scheduler.pause(lambda: self._notified != seen, limit)
        return self._notified != seen

    def wait_for(
        self, predicate: Callable[[], bool], timeout: float | None = None
    ) -> bool:
        if not predicate():
            limit = NEVER if timeout is None else max(0.0, timeout)
            self._scheduler.pause(predicate, limit)
        return predicate()

    def notify_all(self) -> None:
        self._notified += 1


@dataclass
class SimThreads:
    """The threads of one machine."""

    scheduler: Scheduler
    machine: Machine

    def lock(self) -> Lock:
        return SimLock(self.scheduler)

    def condition(self, beside: Condition | None = None) -> Condition:
        return SimCondition(self.scheduler)

    def start(self, target: Callable[[], None], name: str) -> Thread:
        return self.scheduler.spawn(self.machine, target, name)
