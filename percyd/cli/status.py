"""``percyd status`` for people, and the list of agents."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from percyd.cli.plans_show import NO_PLANS, OVER, heading, pause, render_progress
from percyd.cli.tables import (
    Json,
    brief,
    few,
    joined,
    line,
    moment,
    plain,
    reason_text,
    several,
    styled,
    table,
    word,
    wrapped,
)
from percyd.cli.tasks_show import count_words, task_cells
from percyd.views.advice import first_mend
from percyd.views.digest import ROWS, Block, Kind, digest

NO_AGENTS = "no agent is online: run percyd serve, or percyd worker on any machine"
NOTHING_OPEN = "every plan is landed or cancelled: commit another to .percy/plans"
_AGENTS_SHOWN = 50
_MINUTE_S = 60
#: Left out where nobody has watched.
_SEEN_CELL = 3


def render_status(
    console: Console,
    status: Json,
    warnings: Sequence[str] = (),
    settled: int = 0,
    limit: int = ROWS,
) -> None:
    """Show a `cluster_status`: a block for each plan, the agents, then warnings.

    Args:
        console: Where to print.
        status: What there is to show.
        warnings: What else a person should know.
        settled: So many plans were left out of ``status``.
        limit: So many rows of plans and tasks at most.
    """
    shown = digest(status, limit)
    if not shown.blocks:
        line(console, Text(NOTHING_OPEN if settled else NO_PLANS))
    for number, block in enumerate(shown.blocks):
        # Finished plans are one line each, and stand together.
        if number and not (_is_short(block) and _is_short(shown.blocks[number - 1])):
            console.print()
        _render_block(console, block)
    if shown.hidden_plans:
        line(console, Text(f"and {several(shown.hidden_plans, 'more plan')}", "dim"))
    if settled:
        count = several(settled, "plan")
        line(console, Text(f"{count} landed or cancelled: percyd status --all", "dim"))
    console.print()
    render_agent_list(console, status["agents"])
    _render_hints(console, shown.blocks)
    console.print()
    for warning in warnings:
        wrapped(console, styled(warning), 9, Text("warning: ", "bold yellow"))
    read = f"percy/state at {brief(status['tip'])}, read {moment(status['read_at'])}"
    line(console, Text(read, "dim"))


def _first_failed(block: Block) -> Json | None:
    rows = (row for row in block.rows if row.kind is Kind.FAILED)
    return next((row.task for row in rows), None)


def _is_short(block: Block) -> bool:
    return block.plan["status"] in OVER


def _render_block(console: Console, block: Block) -> None:
    plan = block.plan
    line(console, heading(plan, block.counts))
    if not _is_short(block):
        render_progress(console, block.counts)
    # What has failed says why in its own row.
    reason = None if _first_failed(block) else plan["reason"]
    for why in filter(None, (pause(plan), reason)):
        wrapped(console, reason_text(why), 2)
    table(console, [task_cells(console, row.task) for row in block.rows], 2)
    if block.hidden:
        total = sum(block.hidden.values())
        more = f"and {total:,} more:" if block.rows else "not shown:"
        line(console, joined([Text(more), count_words(block.hidden)], " "), 2)


def render_agent_list(console: Console, agents: Sequence[Json]) -> None:
    """Show the agents: liveness, slots in use, tasks; offline ones are only counted."""
    online = [agent for agent in agents if agent["liveness"] != "offline"]
    if not online:
        line(console, Text(NO_AGENTS))
    online.sort(key=lambda agent: (agent["liveness"] != "working", agent["id"]))
    rows = [_agent_cells(agent) for agent in online[:_AGENTS_SHOWN]]
    if not any(cells[_SEEN_CELL] for cells in rows):
        rows = [[*cells[:_SEEN_CELL], *cells[_SEEN_CELL + 1 :]] for cells in rows]
    table(console, rows)
    if len(online) > _AGENTS_SHOWN:
        line(console, Text(f"and {len(online) - _AGENTS_SHOWN:,} more agents", "dim"))
    offline = len(agents) - len(online)
    if offline:
        line(console, Text(f"{several(offline, 'agent')} offline", "dim"))


def _agent_cells(agent: Json) -> list[Text]:
    used = f"{len(agent['tasks'])} of {several(agent['slots'], 'slot')}"
    return [
        styled(agent["id"], "bold"),
        word(agent["liveness"]),
        Text(used),
        Text(_seen(agent["last_seen_s"]), "dim"),
        Text(few(agent["tasks"])),
    ]


def _seen(last_seen_s: float | None) -> str:
    """When somebody who watches has last seen an agent beat."""
    if last_seen_s is None:
        return ""
    if last_seen_s < _MINUTE_S:
        return f"seen {last_seen_s:.0f} s ago"
    return f"seen {last_seen_s / _MINUTE_S:.0f} min ago"


def _render_hints(console: Console, blocks: Sequence[Block]) -> None:
    """What a person can do about what has failed, asks, or is to be landed."""
    hints = []
    rows = [row for block in blocks for row in block.rows]
    if asking := [row.task for row in rows if row.kind is Kind.ASKING]:
        hints.append(f"what it asks:  percyd task show {plain(asking[0]['id'])}")
    for block in blocks:
        if task := _first_failed(block):
            hints += _after_failure(task, block.plan)
            break
    for block in blocks:
        name = plain(block.plan["id"])
        if block.plan["status"] == "failed" and not _first_failed(block):
            hints.append(f"to do it anew: percyd plan rerun {name}")
            hints.append(f"to give it up: percyd plan cancel {name}")
            break
    if paused := [b.plan for b in blocks if pause(b.plan)]:
        hints.append(f"to go on:      percyd plan resume {plain(paused[0]['id'])}")
    done = [b.plan for b in blocks if b.plan["status"] == "done"]
    if to_land := [p for p in done if not (p["result"] or {}).get("landed_into")]:
        hints.append(f"to land it:    percyd plan land {plain(to_land[0]['id'])}")
    if hints:
        console.print()
    for hint in hints:
        line(console, Text(hint))


def _after_failure(task: Json, plan: Json) -> list[str]:
    name, first = plain(task["id"]), first_mend(task, plan)
    return [
        f"why it failed: percyd task show {name}",
        *([f"first of all:  {plain(first)}"] if first else []),
        f"to try again:  percyd task retry {name}",
    ]
