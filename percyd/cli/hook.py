"""``percyd hook``: the git hooks that wake the daemon, installed and taken out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, pass_options, print_json

if TYPE_CHECKING:
    from percyd.hooking import Hooks

_NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.group(short_help="Let git wake the daemon.")
@common
def hook() -> None:
    """Let git wake the daemon when plans are committed, merged or pushed.

    The hooks are post-commit, post-merge and post-rewrite, in a bare repository
    post-receive. They are short shell scripts that never delay, fail or change what git
    does. A hook that is there is kept as NAME.before-percyd, and called first.
    """


def hooks_of(options: Options) -> Hooks:
    """The hooks of the clone that the command is about."""
    from percyd.hooking import Hooks

    return Hooks.around(options.directory or Path.cwd(), os.environ)


def show_lines(options: Options, hooks: Hooks, names: tuple[str, ...] = ()) -> None:
    """Print what has to be added to hooks that are not percyd's to write to."""
    to_add = hooks.to_add(names)
    if to_add:
        where = hooks.folder.foreign
        options.say(f"git looks for hooks in {where} (core.hooksPath); add there:")
    for path, line in to_add:
        options.say(f"  in {path}:  {line}")


@hook.command()
@_NAMES
@common
@pass_options
def install(options: Options, names: tuple[str, ...]) -> None:
    """Install the hooks; without NAME all that this repository needs.

    Where core.hooksPath leads out of the repository's own hooks folder, nothing is
    written there: the lines to add are printed.
    """
    hooks = hooks_of(options)
    written = hooks.install(names)
    if options.json:
        print_json(
            {
                "installed": written,
                "folder": str(hooks.folder.path),
                "to_add": [
                    {"file": str(path), "line": line}
                    for path, line in hooks.to_add(names)
                ],
            }
        )
        return
    for name in written:
        click.echo(f"installed {hooks.folder.path / name}")
    if not written:
        click.echo("the hooks are installed already")
    show_lines(options, hooks, names)


@hook.command(short_help="Take the hooks out again.")
@_NAMES
@common
@pass_options
def uninstall(options: Options, names: tuple[str, ...]) -> None:
    """Take the hooks out, and put back what was there before; without NAME all."""
    hooks = hooks_of(options)
    gone = hooks.uninstall(names)
    if options.json:
        print_json({"uninstalled": gone})
        return
    for name in gone:
        click.echo(f"took out {hooks.folder.path / name}")
    if not gone:
        click.echo("no hook of percyd's is installed")
    elif hooks.folder.foreign is not None:
        options.say(f"lines that were added in {hooks.folder.foreign} do nothing now")


@hook.command(
    context_settings={"ignore_unknown_options": True},
    short_help="Do what a hook does; git calls it.",
)
@click.argument("name")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@pass_options
def run(options: Options, name: str, args: tuple[str, ...]) -> None:
    """Do what the hook NAME does, with git's arguments and input, installed or not."""
    text = hooks_of(options).text(name)
    if options.directory is not None:
        os.chdir(options.directory)
    os.execv("/bin/sh", ["sh", "-c", text, "percyd", *args])  # noqa: S606 - our own text


@hook.command(hidden=True)
@common
@pass_options
def intake(options: Options) -> None:
    """Take in what was pushed to this repository: started by post-receive."""
    from percyd.cli.logs import log_to_nobody, logged_to
    from percyd.home import Home, state_root
    from percyd.hooking import RECEIVED, as_remote, take_in
    from percyd.repo.discover import discover

    log_to_nobody()
    # Where `percyd doctor` looks, and before a configuration is read that may be bad:
    # nobody reads what a push has started.
    clone = discover(options.directory or Path.cwd())
    home = Home.of(state_root(os.environ), clone.name, clone.common_dir)
    home.ensure()
    with logged_to(home.log_file(RECEIVED), verbose=options.verbose):
        percyd = as_remote(options.open())
        try:
            take_in(percyd)
        finally:
            percyd.close()
