"""``percyd``: the group of all commands. A command imports only what it needs."""

from __future__ import annotations

import importlib
import io
import logging
import sys

import click

from percyd import __version__
from percyd.cli.common import common, run_guarded

#: Where each command lives: read when it is used, so that ``--help`` stays quick.
COMMANDS = {
    "init": "percyd.cli.init:init",
    "serve": "percyd.cli.serve:serve",
    "worker": "percyd.cli.serve:worker",
    "stop": "percyd.cli.life:stop",
    "service": "percyd.cli.life:service",
    "uninstall": "percyd.cli.uninstall:uninstall",
    "status": "percyd.cli.reads:status",
    "plan": "percyd.cli.plan:plan",
    "run": "percyd.cli.run:run",
    "task": "percyd.cli.task:task",
    "agent": "percyd.cli.agent:agent",
    "rescue": "percyd.cli.rescue:rescue",
    "log": "percyd.cli.log:log",
    "verify": "percyd.cli.verify:verify",
    "hook": "percyd.cli.hook:hook",
    "doctor": "percyd.cli.doctor:doctor",
    "config": "percyd.cli.reads:config",
    "completion": "percyd.cli.completion:completion",
    "demo": "percyd.cli.demo:demo",
    "bench": "percyd.cli.bench:bench",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group`."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(module), name)
        return found if isinstance(found, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`; it looks for near names among commands that it has read."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(
                error.command_name, possibilities=COMMANDS, ctx=ctx
            ) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="percyd")
@common
def cli() -> None:
    """Turn committed plan files into merged, verified work, through nothing but Git."""


def main() -> None:
    """The ``percyd`` program."""
    # What a command has to say it says itself; only loops have a log. Nor is what
    # libraries have to say for the user: watchdog speaks when it is being stopped.
    logging.getLogger().addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A title may hold what the terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run_guarded(lambda: cli.main(standalone_mode=False, prog_name="percyd")))
