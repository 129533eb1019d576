"""``percyd serve`` and ``percyd worker``: the loops that do the work."""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, common, pass_options, print_json
from percyd.cli.detach import DETACH, READY_FD, let_go_of_the_terminal, start_detached
from percyd.cli.logs import log_to_nobody, log_to_stderr, logged_to
from percyd.errors import WorkFailed

if TYPE_CHECKING:
    from percyd.outcome import Outcome
    from percyd.session import Percyd

log = logging.getLogger(__name__)

#: What the second signal still leaves for an orderly end.
_LAST_WORDS_S = 3.0

_SLOTS = click.option("--slots", type=int, metavar="N", help="Tasks at the same time.")
_GRACE = click.option(
    "--grace", type=float, metavar="S", help="Seconds that running tasks get to end."
)
_IDLE = click.option(
    "--until-idle", is_flag=True, help="End when nothing runs and nothing can run."
)


@click.command(short_help="Take in committed plans and work on them.")
@_SLOTS
@click.option("--no-worker", is_flag=True, help="Take in and release, run nothing.")
@_IDLE
@_GRACE
@click.option(
    DETACH, is_flag=True, help="Return once it is up; print its process and its log."
)
@click.option(READY_FD, type=int, hidden=True)
@common
@pass_options
def serve(
    options: Options,
    slots: int | None,
    no_worker: bool,
    until_idle: bool,
    grace: float | None,
    detach: bool,
    ready_fd: int | None,
) -> int:
    """Take in committed plans, release what is ready, and work on it.

    One daemon runs in a clone, and any number of workers beside it. SIGTERM, ^C and
    `percyd stop` let running tasks end within the grace, and give back the others; a
    second signal ends all of it at once. Its log is daemon.log in the local state of
    the clone, 5 MiB at most and three older ones.

    With --until-idle the exit code is 0 if every task that was open, or came since, is
    completed; else it is 1, and one line says what failed or waits.
    """
    if detach:
        return start_detached(options)
    flags = {"worker.slots": slots, "worker.grace_s": grace}
    return _run(
        options,
        flags,
        takes_in=True,
        until_idle=until_idle,
        works=not no_worker,
        ready_fd=ready_fd,
    )


@click.command()
@_SLOTS
@click.option("--name", metavar="S", help="First part of the agent's id.")
@click.option(
    "--capability",
    multiple=True,
    metavar="C",
    help="What this worker can do; matched with `specialization`. May be repeated.",
)
@_IDLE
@_GRACE
@common
@pass_options
def worker(
    options: Options,
    slots: int | None,
    name: str | None,
    capability: tuple[str, ...],
    until_idle: bool,
    grace: float | None,
) -> int:
    """Work on plans that are there, on any machine that can push.

    It may run beside a daemon, and beside other workers of the same clone, each with
    slots and a log (worker-0.log, ...) of its own. It ends as `percyd serve` does.
    """
    flags = {
        "worker.slots": slots,
        "worker.name": name,
        "worker.capabilities": list(capability) or None,
        "worker.grace_s": grace,
    }
    return _run(options, flags, takes_in=False, until_idle=until_idle, works=True)


def _run(
    options: Options,
    flags: Mapping[str, object],
    *,
    takes_in: bool,
    until_idle: bool,
    works: bool,
    ready_fd: int | None = None,
) -> int:
    from percyd.daemon import Daemon
    from percyd.life.notify import READY, STOPPING, ServiceManager

    if ready_fd is None:
        log_to_stderr(quiet=options.quiet, verbose=options.verbose)
    else:
        log_to_nobody()
    manager = ServiceManager(os.environ)
    with ExitStack() as held:
        percyd = options.open(flags)
        log_file = held.enter_context(_seat(percyd, takes_in=takes_in))
        held.enter_context(logged_to(log_file, verbose=options.verbose))
        held.callback(percyd.close)

        def on_ready() -> None:
            if ready_fd is not None:
                let_go_of_the_terminal(ready_fd, log_file)
            manager.tell(READY)

        def end(number: int) -> None:
            manager.tell(STOPPING)
            daemon.end(number)

        daemon = Daemon(
            percyd,
            takes_in=takes_in,
            until_idle=until_idle,
            works=works,
            on_ready=on_ready,
        )
        with _EndOnSignal(end):
            outcome = daemon.run()
        summary = outcome.summary(local=percyd.remote.is_local)
        if ready_fd is not None:  # what is said below, nobody reads
            log.info("ended", extra={"why": summary})
    if until_idle and not daemon.stop.is_set() and not outcome.good:
        raise WorkFailed(outcome.words, hint=outcome.hint)
    _tell(options, outcome, summary)
    return daemon.exit_code


def _tell(options: Options, outcome: Outcome, summary: str) -> None:
    """How it ended."""
    if options.json:
        print_json({"completed": outcome.completed, "plans": list(outcome.plans)})
    else:
        options.say(f"percyd: {summary}")


def _seat(percyd: Percyd, *, takes_in: bool) -> AbstractContextManager[Path]:
    """The one seat of a clone's daemon, or one of its workers' seats."""
    from percyd.life.seat import daemon_seat, worker_seat

    percyd.home.ensure()
    if takes_in:
        return daemon_seat(percyd.home, percyd.effective.config.worker.grace_s)
    return worker_seat(percyd.home)


class _EndOnSignal:
    """SIGINT, SIGTERM, SIGHUP end the daemon: the first drains, the second at once.

    A handler interrupts any line, also one that holds a lock which `end` needs: so it
    only starts a thread.
    """

    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup: it is to outlive its terminal
            self._before[number] = signal.signal(number, self._catch)

    def _catch(self, number: int, _: object) -> None:
        self._count += 1
        _thread.start_new_thread(self._act, (number, self._count))

    def _act(self, number: int, count: int) -> None:
        self._end(number)
        if count > 1:
            # Programs end with us: their supervisors see the pipe close.
            threading.Event().wait(_LAST_WORDS_S)
            os._exit(128 + number)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
