"""``percyd serve`` and ``percyd worker``: the loops that do the work."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

import click

from percyd.cli.common import Options, common, pass_options, print_json
from percyd.cli.logs import log_to_stderr
from percyd.errors import WorkFailed

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
        with _signals(daemon.end):
            outcome = daemon.run()
    finally:
        percyd.close()
    if daemon.stop.is_set() or not until_idle:
        return daemon.exit_code
    if not outcome.good:
        raise WorkFailed(outcome.words, hint=outcome.hint)
    if options.json:
        print_json({"completed": outcome.completed})
    return 0


class _signals:  # noqa: N801 - a context manager that reads as a word
    """SIGINT and SIGTERM end the daemon; they only set flags (style 4.19)."""

    def __init__(self, end: Callable[[int], None]) -> None:
        self._end = end
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, lambda n, _: self._end(n))

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
