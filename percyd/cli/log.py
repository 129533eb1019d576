"""``percyd log``: the history of ``percy/state`` as events."""

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
from percyd.cli.names import any_ids

if TYPE_CHECKING:
    from rich.console import Console

    from percyd.cli.following import Watch
    from percyd.repo.runner import Git
    from percyd.session import Percyd
    from percyd.state.follower import State
    from percyd.views.history import Event

#: Between two looks of ``log -f``, seconds.
_FOLLOW_S = 1.0
_LONGEST_LINE = 100_000


@click.command()
@click.argument("what", required=False, metavar="[PLAN|TASK]", shell_complete=any_ids)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens next.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Only the newest N events.",
)
@common
@pass_options
def log(options: Options, what: str | None, follow: bool, limit: int | None) -> None:
    """Print the history of percy/state as events, oldest first.

    One line is one event. With -f it goes on until it is ended; a remote that is down
    is waited for, and a state that is refused ends it with exit code 4.
    """
    from percyd.cli.following import Watch, until_interrupted

    if follow:
        with opened(options, in_workspace=True) as percyd, until_interrupted():
            watch = Watch(percyd, options.say)
            _follow(options, percyd, watch, what, limit)
        return
    with reading(options, in_workspace=True) as (percyd, state, _):
        found = _Wanted(percyd, state, what).events(percyd.hub.git, state, limit=limit)
        if options.json:
            print_json({"events": [event.as_json() for event in found]})
        else:
            _print(options, _lines(), found)


def _follow(
    options: Options,
    percyd: Percyd,
    watch: Watch,
    what: str | None,
    limit: int | None,
) -> None:
    out = _lines()
    state = watch.first()
    wanted = _Wanted(percyd, state, what)
    _print(options, out, wanted.events(percyd.hub.git, state, limit=limit))
    while True:
        percyd.clock.wait(threading.Event(), _FOLLOW_S)
        newer = watch.look()
        if newer is not None and newer.tip != state.tip:
            found = wanted.events(percyd.hub.git, newer, after=state.tip)
            _print(options, out, found)
            state = newer


class _Wanted:
    """Which events are asked for."""

    def __init__(self, percyd: Percyd, state: State, what: str | None) -> None:
        from percyd.views.archived import with_archived
        from percyd.views.show import plan_show, task_show

        snapshot = with_archived(percyd.hub.reader, state, what)
        self._plan = self._task = None
        if what is not None and "." in what:
            self._task = task_show(snapshot, what)["id"]
        elif what is not None:
            self._plan = plan_show(snapshot, what)["id"]

    def events(
        self,
        git: Git,
        state: State,
        *,
        after: str | None = None,
        limit: int | None = None,
    ) -> list[Event]:
        """The events up to a state, oldest first."""
        from percyd.views.history import events

        found = events(
            git, state.tip, plan=self._plan, task=self._task, limit=limit, after=after
        )
        return list(found)[::-1]


def _lines() -> Console:
    """Standard output; one that is no terminal gets an event on one line."""
    out = console()
    if not out.is_terminal:
        out.width = _LONGEST_LINE
    return out


def _print(options: Options, out: Console, found: list[Event]) -> None:
    """One event a line, or one document a line."""
    from percyd.cli.history import render_event

    for event in found:
        if options.json:
            print_json(event.as_json())
        else:
            render_event(out, event.as_json())
