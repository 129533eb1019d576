"""``percyd status``, ``log`` and ``config``: looking, never changing."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from percyd.session import Percyd
    from percyd.state.follower import State
    from percyd.views.history import Event

#: Between two looks of ``log -f``, seconds.
_FOLLOW_S = 1.0


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
@click.argument("what", required=False, metavar="[PLAN|TASK]")
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens next.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Only the newest events.")
@common
@pass_options
def log(options: Options, what: str | None, follow: bool, limit: int | None) -> None:
    """Print the history of percy/state as events, oldest first."""
    from percyd.cli.history import render_event
    from percyd.views.show import plan_show, task_show

    out = console()
    with reading(options, in_workspace=True) as (percyd, state, _):
        plan = task = None
        if what is not None and "." in what:
            task = task_show(state.snapshot, what)["id"]
        elif what is not None:
            plan = plan_show(state.snapshot, what)["id"]
        found = _events(percyd, state, None, limit, plan=plan, task=task)
        if options.json and not follow:
            print_json({"events": [event.as_json() for event in found]})
            found = []
        while found or follow:
            for event in found:
                if options.json:
                    print_json(event.as_json())
                else:
                    render_event(out, event.as_json())
            if not follow:
                break
            seen = state.tip
            while state.tip == seen:
                percyd.clock.wait(threading.Event(), _FOLLOW_S)
                state = percyd.look()
            found = _events(percyd, state, seen, None, plan=plan, task=task)


def _events(
    percyd: Percyd,
    state: State,
    after: str | None,
    limit: int | None,
    *,
    plan: str | None,
    task: str | None,
) -> list[Event]:
    """The events up to a state, oldest first."""
    from percyd.views.history import events

    found = events(
        percyd.hub.git, state.tip, plan=plan, task=task, limit=limit, after=after
    )
    return list(found)[::-1]


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
