"""``percyd agent``: who works here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, common, pass_options, reading

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from percyd.session import Percyd

_ORDER = ("working", "idle", "offline")
#: ``agent list`` shows so many that are offline; ``--json`` has them all.
_OFFLINE_SHOWN = 5


@click.group(short_help="Show the agents on all machines.")
@common
def agent() -> None:
    """Show the agents: every percyd process that works, on any machine."""


@agent.command(name="list", short_help="List the agents, and what they do.")
@common
@pass_options
def list_(options: Options) -> None:
    """List the agents: what they are doing, where they run, what they can do.

    How long ago an agent was seen is known of those of this clone only: their process
    is here, or it is not. Of the others it is known that nobody has missed them yet.
    """
    from percyd.views.status import agents_json

    with reading(options) as (percyd, state, _):
        found = [_seen(percyd, agent) for agent in agents_json(state.snapshot)]
        found.sort(key=lambda agent: (_ORDER.index(agent["liveness"]), agent["id"]))
        options.show({"agents": found}, lambda c: _render(c, found))


def _seen(percyd: Percyd, agent: Mapping[str, Any]) -> dict[str, Any]:
    """The agent, with ``last_seen_s`` zero if its process is seen to be here."""
    from percyd.home import FileLock

    path = percyd.home.lock(agent["id"])
    here = agent["liveness"] != "offline" and path.exists()
    if here and FileLock(path).holder() is not None:
        return {**agent, "last_seen_s": 0}
    return dict(agent)


def _render(console: Console, agents: Sequence[Mapping[str, Any]]) -> None:
    from rich.text import Text

    from percyd.cli.status import NO_AGENTS
    from percyd.cli.tables import line, several, table

    offline = [agent for agent in agents if agent["liveness"] == "offline"]
    if len(offline) == len(agents):
        line(console, Text(NO_AGENTS))
    hidden = offline[_OFFLINE_SHOWN:]
    shown = [agent for agent in agents if agent not in hidden]
    table(console, [_cells(agent) for agent in shown])
    if hidden:
        line(console, Text(f"and {several(len(hidden), 'more agent')} offline", "dim"))


def _cells(agent: Mapping[str, Any]) -> list[Text]:
    from rich.text import Text

    from percyd.cli.tables import few, joined, moment, several, styled, word

    used = f"{len(agent['tasks'])} of {several(agent['slots'], 'slot')}"
    seen = agent["last_seen_s"]
    since = f"since {moment(agent['started_at'])}" if agent["started_at"] else ""
    ago = "" if seen is None else "seen now" if seen < 1 else f"seen {seen:.0f} s ago"
    status = word(agent["liveness"])
    if agent["status"] != "joined":
        status = joined([status, styled(agent["status"], "dim")], ", ")
        used = ""
    can = [*agent["runners"], *agent["capabilities"]]
    facts = [
        Text(few(agent["tasks"])),
        styled(f"on {agent['host']}"),
        styled(f"can {', '.join(can)}" if can else ""),
        styled(since, "dim"),
        styled(ago, "dim"),
    ]
    return [styled(agent["id"], "bold"), status, Text(used), joined(facts, ", ")]
