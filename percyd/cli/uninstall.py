"""``percyd uninstall``: what percyd keeps here for one clone, listed and removed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, common, opened, pass_options, print_json
from percyd.errors import RefusedError

if TYPE_CHECKING:
    from percyd.life.uninstall import Inventory
    from percyd.session import Percyd


@click.command(short_help="Remove what percyd keeps for this clone.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
@pass_options
def uninstall(options: Options, yes: bool) -> None:
    """Remove percyd's hooks and local state of this clone, after listing them.

    Refused while a daemon or a worker runs here. Work that is on this machine only is
    pushed to its rescue ref first; where that is not possible, nothing is removed. What
    is on the remote stays there, and so do the files in .percy.
    """
    from percyd.life.uninstall import take_stock
    from percyd.life.uninstall import uninstall as remove

    with opened(options) as percyd:
        found = take_stock(percyd)
        document = _document(percyd, found)
        if not (found.homes or found.hooks):
            if options.json:
                print_json(document)
            else:
                click.echo("nothing is kept here for this clone")
            return
        if not options.json:
            _show(document)
        if not yes and (options.json or not sys.stdin.isatty()):
            raise RefusedError("nothing was removed", hint="--yes removes it")
        if not yes and not click.confirm("Remove it?", err=True):
            raise RefusedError("nothing was removed")
        remove(percyd)
    if options.json:
        print_json(document)
    else:
        click.echo("removed")


def _document(percyd: Percyd, found: Inventory) -> dict[str, Any]:
    from percyd.repo.runner import mask

    return {
        "state": {"paths": [str(path) for path in found.homes], "bytes": found.size},
        "hooks": [str(path) for path in found.hooks],
        "unrescued": list(found.unrescued),
        "remote": {"url": mask(percyd.remote.url), "refs": found.refs},
    }


def _show(document: dict[str, Any]) -> None:
    state, remote = document["state"], document["remote"]
    click.echo(f"here, to be removed ({state['bytes'] / 1e6:.1f} MB):")
    for path in (*document["hooks"], *state["paths"]):
        click.echo(f"  {path}")
    for what in document["unrescued"]:
        click.echo(f"  {what} is rescued before")
    click.echo(f"on {remote['url']}, and stays there:")
    if remote["refs"] is None:
        click.echo("  it cannot be asked now")
    for name, count in (remote["refs"] or {}).items():
        click.echo(f"  {name}" + (f"  ({count})" if name.endswith("*") else ""))
