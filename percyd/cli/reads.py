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
    reading,
)


@click.command()
@click.argument("plan_id", required=False, metavar="[PLAN]")
@common
@pass_options
def status(options: Options, plan_id: str | None) -> None:
    """Show plans, what runs, what failed, and what waits for what."""
    from percyd.cli.status import render_status
    from percyd.views.status import cluster_status

    with reading(options) as (percyd, state, is_new):
        warnings = percyd.warnings() if is_new else []
        found = cluster_status(
            state.tip, state.read_at, state.snapshot, plan_id, dump=percyd.kept.dump
        )
        options.show(found, lambda c: render_status(c, found, warnings))


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
