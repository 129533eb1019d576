"""The loop of ``serve`` and ``worker``: follow, take in, reconcile, claim."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

from percyd.core.words import counted
from percyd.dispatch.monitor import Monitor
from percyd.errors import PercydError
from percyd.life.housekeeping import Housekeeping
from percyd.lookout import Lookout
from percyd.membership import Membership, bury_the_dead
from percyd.outcome import Ledger, Outcome
from percyd.repo.discover import may_move
from percyd.session import Percyd
from percyd.state.heartbeat import Observer
from percyd.work.worker import Worker

log = logging.getLogger(__name__)


class Daemon:
    """The loop of ``serve`` and ``worker``: follow, take in, reconcile, claim."""

    def __init__(
        self,
        percyd: Percyd,
        *,
        takes_in: bool,
        until_idle: bool,
        works: bool = True,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._percyd = percyd
        self._store = percyd.store
        self._clock = percyd.clock
        self._until_idle = until_idle
        self._wake = threading.Event()
        self.stop = threading.Event()
        self.kill = threading.Event()
        self._monitor = Monitor(
            percyd.store,
            percyd.clock,
            percyd.randomness,
            Observer(percyd.clock, own=self._own_agents),
            partial(may_move, percyd.clone, percyd.remote),
        )
        self._intake = percyd.intake if takes_in else None
        self._works = works
        self._on_ready = on_ready
        self._housekeeping = Housekeeping(percyd.home, percyd.clock)
        self._member: Membership | None = None
        self._lookout = Lookout(percyd, self._wake, self.stop, takes_in=takes_in)
        self._waits_for = ""
        self.exit_code = 0

    def run(self) -> Outcome:
        """Run until told to stop, or until nothing is left to do.

        Raises:
            PercydError: the state cannot be read at the start.
        """
        self._percyd.refresh()
        ledger = Ledger(self._store.state.snapshot)
        if self._works:
            self._member = self._join()
        self._say_hello()
        try:
            self._on_ready()
            with self._lookout:
                self._loop()
        finally:
            self._leave()
        problems = self._intake.problems if self._intake else ()
        return ledger.outcome(self._store.state.snapshot, problems)

    def _say_hello(self) -> None:
        where = self._percyd.remote.url
        what = f"plans of {self._intake.branch}" if self._intake else "tasks"
        card = self._member.agent if self._member else None
        who = f" as {card.id} with {counted(card.slots, 'slot')}" if card else ""
        log.info("watching", extra={"why": f"{what} on {where}{who}"})

    def _join(self) -> Membership:
        return Membership.begin(self._percyd, self._wake, self.kill)

    @property
    def _worker(self) -> Worker | None:
        return self._member.worker if self._member else None

    def _own_agents(self) -> tuple[str, ...]:
        return (self._member.agent.id,) if self._member else ()

    def end(self, number: int) -> None:
        """A signal: the first drains, the second ends at once."""
        if self.stop.is_set():
            self.kill.set()
            self.exit_code = 128 + number
        else:
            grace_s = self._percyd.effective.config.worker.grace_s
            why = f"running tasks get {grace_s:g} s to end; once more ends them now"
            log.warning("stopping", extra={"why": why})
        self.stop.set()
        self._wake.set()

    def _loop(self) -> None:
        while not self.stop.is_set():
            self._wake.clear()
            try:
                changed = self._turn()
                if self._until_idle and self._is_idle():
                    return
                self._say_of(None)
                self._lookout.pace(changed=changed)
            except PercydError as error:
                if self._until_idle and not self._busy():
                    raise
                self._say_of(error)
                self._lookout.back_off()
            except Exception as error:  # the loop must live on, and the fault be seen
                log.exception("turn broke")
                if self._until_idle:
                    raise PercydError(f"percyd itself failed: {error}") from error
                self._lookout.back_off()
            self._lookout.wait(self._own_pause_s())

    def _say_of(self, error: PercydError | None) -> None:
        """Say once what the loop waits for, however often it looks, and once its end.

        What stands behind the first colon may be git's own words, which vary.
        """
        what = error.message.partition(": ")[0] if error else ""
        if what == self._waits_for:
            return
        if error:
            log.warning("waits", extra={"why": str(error)})
        else:
            log.info("goes on")
        self._waits_for = what

    def _turn(self) -> bool:
        """Do what there is to do; whether the state has changed."""
        tip = self._store.state.tip
        if self._until_idle or self._lookout.is_due:
            self._look()
        if self._works:
            bury_the_dead(self._percyd)
        self._monitor.step()
        self._housekeeping.step(self._store.state.snapshot)
        if self._works and self._member is None:
            self._member = self._join()
        if self._worker is not None:
            self._worker.step()
            if self._worker.fenced:
                # The old agent ends here; the next turn joins under a new id.
                self._leave()
        return self._store.state.tip != tip

    def _look(self) -> None:
        if self._intake is None:
            self._lookout.look([])
            return
        listed = self._lookout.look([f"refs/heads/{self._intake.branch}"])
        self._intake.apply = self._worker.apply_and_claim if self._worker else None
        self._intake.step(listed)

    def _leave(self) -> None:
        member, self._member = self._member, None
        if member is None:
            return
        grace_s = self._percyd.effective.config.worker.grace_s
        try:
            member.leave(grace_s if self.stop.is_set() else 0.0)
        except PercydError as error:
            # Its lock is free now: the next start, or an observer, takes it back.
            log.warning("not unregistered", extra={"why": str(error)})

    def _own_pause_s(self) -> float:
        """How long nothing is to do that nobody hints at."""
        pauses = [max(0.05, self._monitor.next_s())]
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
        if self._works and self._worker is None:
            return False
        if self._monitor.is_landing:
            return False
        return self._worker is None or not self._worker.may_run()
