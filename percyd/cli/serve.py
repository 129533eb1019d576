"""``percyd serve`` and ``percyd worker``: the loops that do the work."""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import click

from percyd.cli.common import Options, common, pass_options, print_json
from percyd.cli.logs import log_to_stderr
from percyd.errors import WorkFailed

#: What the second signal still leaves for an orderly end.
_LAST_WORDS_S = 3.0

_SLOTS = click.option("--slots", type=int, metavar="N", help="Tasks at the same time.")
_GRACE = click.option(
    "--grace", type=float, metavar="S", help="Seconds that running tasks get to end."
)
_IDLE = click.option(
    "--until-idle", is_flag=True, help="End when nothing runs and nothing can run."
)


@click.command()
@_SLOTS
@click.option("--no-worker", is_flag=True, help="Take in and release, run nothing.")
@_IDLE
@_GRACE
@common
@pass_options
def serve(
    options: Options,
    slots: int | None,
    no_worker: bool,
    until_idle: bool,
    grace: float | None,
) -> int:
    """Take in committed plans, release what is ready, and work on it."""
    flags = {"worker.slots": slots, "worker.grace_s": grace}
    return _run(
        options, flags, takes_in=True, until_idle=until_idle, works=not no_worker
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
    """Work on plans that are there, on any machine that can push."""
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
) -> int:
    from percyd.daemon import Daemon

    log_to_stderr(quiet=options.quiet, verbose=options.verbose)
    percyd = options.open(flags)
    try:
        daemon = Daemon(percyd, takes_in=takes_in, until_idle=until_idle, works=works)
        with _EndOnSignal(daemon.end):
            outcome = daemon.run()
    finally:
        percyd.close()
    ended_by_itself = until_idle and not daemon.stop.is_set()
    if ended_by_itself and not outcome.good:
        raise WorkFailed(outcome.words, hint=outcome.hint)
    if options.json:
        print_json({"completed": outcome.completed, "plans": list(outcome.plans)})
    else:
        options.say(f"percyd: {outcome.summary}")
    return daemon.exit_code


class _EndOnSignal:
    """SIGINT and SIGTERM end the daemon: the first drains, the second at once.

    A handler interrupts any line, also one that holds a lock which `end` needs: so it
    only starts a thread.
    """

    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end
        self._before: dict[int, Any] = {}
        self._count = 0

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
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
