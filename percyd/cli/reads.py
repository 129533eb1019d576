"""``percyd status`` and ``config``: looking, never changing."""

from __future__ import annotations

import click

from percyd.cli.common import (
    Options,
    common,
    console,
    opened,
    pass_options,
    print_json,
)
from percyd.cli.names import plan_ids


@click.command()
@click.argument("plan_id", required=False, metavar="[PLAN]", shell_complete=plan_ids)
@click.option(
    "--all",
    "all_",
    is_flag=True,
    help="Show landed and cancelled plans too, as --json does, and archived ones.",
)
@click.option("--watch", is_flag=True, help="Show it again when it changes, until ^C.")
@common
@pass_options
def status(options: Options, plan_id: str | None, all_: bool, watch: bool) -> None:
    """Show plans, what runs, what failed, and what waits for what.

    With PLAN only that plan. At most 200 rows: what runs, asks and has failed comes
    first.

    With --watch and --json: one document a line, and last_seen_s of the agents whose
    heartbeats were seen to move. One look cannot tell it: they carry no time.
    """
    from percyd.cli.status_page import StatusPage

    with opened(options) as percyd:
        StatusPage(options, percyd, plan_id, whole=all_).show(watch=watch)


@click.command()
@common
@pass_options
def config(options: Options) -> None:
    """Show every effective value, and where it comes from."""
    from percyd.config import rows

    with opened(options) as percyd:
        found = rows(percyd.effective)
    if options.json:
        print_json(
            {key: {"value": value, "source": source} for key, value, source in found}
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("KEY", "VALUE", "SOURCE"):
        table.add_column(title, overflow="fold")
    for row in found:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)
