"""``percyd stop`` and ``percyd service``: the daemon's end, and its start by the system."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, pass_options, print_json

if TYPE_CHECKING:
    from percyd.life.seat import Daemon


@click.command(short_help="End the daemon of this clone.")
@common
@pass_options
def stop(options: Options) -> None:
    """End the daemon of this clone (`percyd serve`): running tasks get its grace.

    Waits until it has ended; what does not end in time goes back to the queue. A second
    `percyd stop` meanwhile ends all of it at once. Workers are not ended.
    """
    from percyd.life.stop import stop as end

    percyd = options.open()
    stopped = end(percyd.home, percyd.clock, lambda daemon: _say_wait(options, daemon))
    if options.json:
        pid = stopped.pid if stopped else None
        print_json({"stopped": pid, "seconds": stopped.seconds if stopped else 0})
    elif stopped is None:
        click.echo("no daemon runs in this clone")
    else:
        click.echo(f"process {stopped.pid} has ended, after {stopped.seconds:g} s")


def _say_wait(options: Options, daemon: Daemon) -> None:
    """What takes so long, and what ends it."""
    options.say(
        f"percyd: process {daemon.pid} ends: its running tasks get "
        f"{daemon.grace_s:g} s; percyd stop once more ends it at once"
    )


@click.command(short_help="Print a service unit for this clone.")
@click.option("--systemd", "system", flag_value="systemd", help="A systemd user unit.")
@click.option("--launchd", "system", flag_value="launchd", help="A launchd agent.")
@common
@pass_options
def service(options: Options, system: str | None) -> None:
    """Print what lets the system run the daemon of this clone.

    A systemd user unit, or on macOS a launchd agent: write it where the lines on stderr
    say. PATH and the PERCYD_... variables are kept in it as they are now. Nothing is
    installed or changed.
    """
    from percyd.home import STATE_DIR, state_root
    from percyd.life.service import Service

    percyd = options.open()
    kept = {
        k: v for k, v in os.environ.items() if k == "PATH" or k.startswith("PERCYD_")
    }
    made = Service(
        name=percyd.home.path.name,
        program=_program(),
        clone=percyd.clone.work_tree or percyd.clone.common_dir,
        environment={**kept, STATE_DIR: str(state_root(os.environ))},
        grace_s=percyd.effective.config.worker.grace_s,
    )
    if system is None:
        system = "launchd" if sys.platform == "darwin" else "systemd"
    text = made.launchd() if system == "launchd" else made.systemd()
    steps = made.launchd_steps if system == "launchd" else made.systemd_steps
    if options.json:
        print_json({"kind": system, "text": text, "steps": steps})
        return
    # Names of files need not be text.
    click.echo(text.encode("utf-8", "surrogateescape"), nl=False)
    for step in steps:
        options.say(f"  {step}")


def _program() -> tuple[str, ...]:
    """How to call this percyd from anywhere."""
    from percyd.hooking import program

    found = program(os.environ)
    return (str(found),) if found else (sys.executable, "-P", "-m", "percyd")
