"""``percyd status``: one look, or many; also while the remote is down or refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, finish_read, print_json
from percyd.cli.refusal import say_refused
from percyd.errors import PercydError, RemoteUnreachable, StateRefused
from percyd.state.kept import uncollected
from percyd.views.digest import ROWS
from percyd.views.status import cluster_status

if TYPE_CHECKING:
    from rich.console import Console

    from percyd.core.snapshot import Snapshot
    from percyd.session import Percyd
    from percyd.state.follower import State


class StatusPage:
    """What one command shows."""

    def __init__(
        self, options: Options, percyd: Percyd, plan: str | None, *, whole: bool
    ) -> None:
        self._options = options
        self._percyd = percyd
        self._plan = plan
        self._settled_too = whole or options.json
        self._archived_too = whole and not options.json
        self._left_out = 0
        self._live: Snapshot | None = None

    def show(self, *, watch: bool) -> None:
        """Show the newest state; else the last known one, and why it is that."""
        try:
            state = self._percyd.look()
        except (RemoteUnreachable, StateRefused) as error:
            self._show_known(error)
            return
        if watch:
            from percyd.cli.watch import watch as follow

            # A name that is not there is an error at once, not a page without end.
            self._document(state)
            follow(self._options, self._percyd, state, self._document, self._page)
            return
        warnings = [] if self._options.json else self._percyd.warnings()
        self._show(state, warnings)

    def _show(self, state: State, warnings: Sequence[str]) -> None:
        with uncollected():
            document = self._document(state)
            if self._options.json:
                print_json(document)
                return
            from percyd.cli.common import console

            self._page(console(), document, warnings)

    def _show_known(self, error: RemoteUnreachable | StateRefused) -> None:
        """The last good state, above what is wrong with the remote's."""
        state = self._last_good(error)
        if state is None or (self._options.json and isinstance(error, StateRefused)):
            raise error
        self._show(state, ())
        if isinstance(error, RemoteUnreachable):
            finish_read(state, error)
        # The time is that of a reader: workers of this clone leave none.
        when = f", read {state.read_at:%F %T} UTC" if state.read_at.timestamp() else ""
        click.echo(f"above is the last good state{when}; it is not used:", err=True)
        say_refused(error)
        raise click.exceptions.Exit(error.exit_code)

    def _last_good(self, error: PercydError) -> State | None:
        try:
            return self._percyd.last_look()
        except PercydError:
            # What is wrong may be our own copy: then there is nothing to show.
            raise error from None

    def _document(
        self, state: State, seen: dict[str, float] | None = None
    ) -> dict[str, Any]:
        snapshot = self._snapshot(state)
        self._live = state.snapshot
        found = cluster_status(
            state.tip,
            state.read_at,
            snapshot,
            self._plan,
            closed=self._settled_too,
            dump=self._percyd.kept.dump,
            seen=seen,
        )
        if self._plan is None:
            self._left_out = len(snapshot.plans) - len(found["plans"])
        return found

    def _snapshot(self, state: State) -> Snapshot:
        """The live plans, and of those in the archive what is asked for."""
        from percyd.views.archived import with_all_archived, with_archived

        reader = self._percyd.hub.reader
        if self._plan is None and self._archived_too:
            return with_all_archived(reader, state)
        return with_archived(reader, state, self._plan)

    def _page(
        self,
        console: Console,
        document: dict[str, Any],
        warnings: Sequence[str],
        limit: int = ROWS,
    ) -> None:
        from percyd.cli.status import render_status

        found = [*warnings]
        if self._live is not None:
            found += self._gone(self._live)
            found += self._parked()
            found += self._spent(self._live)
            found += self._percyd.not_taken_in(self._live)
        render_status(console, document, found, self._left_out, limit)

    def _gone(self, snapshot: Snapshot) -> list[str]:
        """Agents of this clone that the state has alive, and whose process is gone."""
        return [
            f"the process of {agent.id} is gone: percyd serve or worker, started here, "
            "takes its tasks up at once; others do after its lease of "
            f"{agent.lease_s:g} s"
            for agent in self._percyd.own_agents(snapshot)[1]
        ]

    def _parked(self) -> list[str]:
        """Runners of this clone whose providers have no more to give for now."""
        from datetime import UTC

        from percyd.parking import Parking

        parked = Parking(self._percyd.home.parked, self._percyd.clock).parked()
        return [
            f"{name} rests here until {until.astimezone(UTC):%F %T} UTC, as its provider "
            "has no more to give; its tasks go to other agents, or wait"
            for name, until in sorted(parked.items())
        ]

    def _spent(self, snapshot: Snapshot) -> list[str]:
        """The budget of the day, once it is used up."""
        daily = self._percyd.effective.config.budget.record()
        if daily is None:
            return []
        from percyd.core.budget import day_used_up

        found = day_used_up(daily, snapshot, self._percyd.clock.now())
        return (
            [f"the budget is used up, {found}: nothing more is begun"] if found else []
        )
