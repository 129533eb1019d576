"""``percyd plan list`` and ``percyd plan show`` for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from percyd.cli.tables import (
    Json,
    brief,
    facts,
    joined,
    line,
    paragraphs,
    reason_text,
    several,
    styled,
    table,
    word,
    wrapped,
)
from percyd.cli.tasks_show import WIDE, count_words, task_cells
from percyd.core.ids import plan_branch, short_ref

NO_PLANS = "no plans yet: commit a plan file to .percy/plans, then run percyd serve"

#: Of a plan in these nothing goes on, unless somebody runs it again.
OVER = ("done", "cancelled")

#: So many tasks `render_plan` shows; ``task list`` shows them all.
TASKS_SHOWN = 200

#: Done, running, ended badly, still open. The glyphs tell them apart without colour.
_BAR = {False: "█▓×░", True: "#=x."}
_BAR_STYLES = ("green", "cyan", "red", "dim")
_BAR_WIDTHS = (16, 32)


def heading(plan: Json, counts: Mapping[str, int]) -> Text:
    """A plan's id, status and title; of a finished one also what it has come to."""
    parts = [styled(plan["id"], "bold"), word(plan["status"])]
    if pause(plan):
        parts.append(word("paused"))
    if plan["status"] in OVER:
        parts.append(Text(f"{counts['completed']:,}/{counts['total']:,}"))
    return joined([*parts, _where(plan), styled(plan["title"])])


def pause(plan: Json) -> Json | None:
    """Why a plan is paused; one that is over is no longer."""
    why: Json | None = plan["paused"]
    return why if plan["status"] not in OVER else None


def _where(plan: Json) -> Text:
    """Where the work of a plan that is done can be found."""
    landed = (plan["result"] or {}).get("landed_into")
    if landed:
        return styled(f"landed in {landed}")
    if plan["status"] == "done":
        return styled(f"on {short_ref(plan_branch(plan['id']))}")
    return Text()


def render_progress(
    console: Console, counts: Mapping[str, int], indent: int = 2
) -> None:
    """A bar, how many tasks are completed, and where the others are."""
    if not counts["total"]:
        return
    done = Text(f"{counts['completed']:,}/{counts['total']:,} completed")
    words = joined([done, count_words(counts)], ", ")
    width = _BAR_WIDTHS[console.width >= WIDE]
    bar = Text(" " * indent) + progress_bar(console, counts, width) + Text("  ")
    wrapped(console, words, bar.cell_len, bar)


def progress_bar(console: Console, counts: Mapping[str, int], width: int) -> Text:
    """What is done, runs, has ended badly and is still open, as one bar.

    Whatever there is has one cell at least: one failed task of a thousand is seen,
    and the bar is full only when everything is completed.
    """
    bad = counts["failed"] + counts["cancelled"]
    running = counts["working"] + counts["assigned"]
    open_ = counts["total"] - counts["completed"] - running - bad
    parts = [counts["completed"], running, bad, open_]
    bar = Text()
    glyphs = _BAR[console.options.ascii_only]
    for glyph, style, cells in zip(
        glyphs, _BAR_STYLES, bar_cells(parts, width), strict=True
    ):
        bar.append(glyph * cells, style)
    return bar


def bar_cells(parts: Sequence[int], width: int) -> list[int]:
    """How many cells each part gets: its share of ``width``, but one if it is there."""
    total = sum(parts)
    if not total:
        return [0 for _ in parts]
    cells = [max(part * width // total, int(part > 0)) for part in parts]
    while (missing := width - sum(cells)) != 0:
        step = 1 if missing > 0 else -1
        able = [i for i, part in enumerate(parts) if part and cells[i] + step > 0]
        # The part that is furthest from its true share gives or takes.
        worst = max(able, key=lambda i: step * (parts[i] * width / total - cells[i]))
        cells[worst] += step
    return cells


def render_plan_list(
    console: Console, plans: Sequence[Json], tasks: Sequence[Json] | None = None
) -> None:
    """Show the ``plans`` of a `cluster_status`, one line each.

    With its ``tasks`` too, each line says how many of them are completed.
    """
    if not plans:
        line(console, Text(NO_PLANS))
    counts = {plan["id"]: Counter[str]() for plan in plans}
    for task in tasks or ():
        counts[task["plan"]][task["status"]] += 1
    rows = []
    for plan in plans:
        status = word("paused" if pause(plan) else plan["status"])
        about = joined([_where(plan), styled(plan["title"])])
        rows.append([styled(plan["id"], "bold"), status, about])
        if tasks is not None:
            rows[-1].insert(2, _completed(counts[plan["id"]]))
    table(console, rows)


def _completed(counts: Counter[str]) -> Text:
    return Text(f"{counts['completed']:,}/{counts.total():,}")


def render_plan(console: Console, plan: Json, missing: int = 0) -> None:
    """Show a `plan_show`: the plan, and its tasks in the order in which they can run.

    So many commits before that of the plan's file are ``missing`` in its base.
    """
    counts = plan["task_summary"]
    line(console, heading(plan, counts))
    render_progress(console, counts)
    facts(console, _facts(plan, missing))
    if plan["description"]:
        console.print()
        paragraphs(console, plan["description"], 2)
    console.print()
    tasks = plan["tasks"]
    table(console, [task_cells(console, task) for task in tasks[:TASKS_SHOWN]], 2)
    if len(tasks) > TASKS_SHOWN:
        more = f"and {len(tasks) - TASKS_SHOWN:,} more; percyd task list shows them all"
        line(console, Text(more, "dim"), 2)


def _facts(plan: Json, missing: int) -> Iterator[tuple[str, Text]]:
    source, result = plan["source"], plan["result"] or {}
    yield "paused", reason_text(pause(plan))
    yield "reason", reason_text(plan["reason"])
    yield "base", styled(f"{plan['base_branch']} at {brief(plan['base_commit'])}")
    if missing > 1:  # the plan's own commit may be one of them
        n = several(missing, "commit")
        yield (
            "",
            Text(f"without the last {n} up to the plan: not pushed by then", "yellow"),
        )
    yield "branch", styled(short_ref(plan_branch(plan["id"])))
    if result.get("commit"):
        yield "result", Text(brief(result["commit"]))
    if result.get("landed_into"):
        landed = f"{result['landed_into']} at {brief(result.get('landed_commit'))}"
        yield "landed in", styled(landed)
    yield "gate", styled(plan["verify"] or "none")
    yield "landing", styled(plan["land"])
    if plan["landing"]:
        yield "its turn", styled(plan["landing"]["task"])
    at = f" at {brief(source['commit'])}" if source["commit"] else ""
    yield "source", styled(f"{source['path'] or source['kind']}{at}")
