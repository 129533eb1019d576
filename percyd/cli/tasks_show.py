"""``percyd task list`` and ``percyd task show`` for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from percyd.cli.tables import (
    Json,
    brief,
    cut,
    facts,
    few,
    joined,
    line,
    paragraphs,
    plain,
    reason_text,
    several,
    styled,
    table,
    word,
)
from percyd.core.ids import short_of, short_ref

NO_TASKS = "no tasks: commit a plan file to .percy/plans, then run percyd serve"
#: From this width on, titles have a column of their own.
WIDE = 120
_TITLE_WIDTH = 50

_WAITS = {
    "paths": "waits for the paths of {}",
    "no_agent": "waits for an agent with {}",
    "paused": "its plan is paused",
    "draft": "its plan is a draft",
    "backoff": "rests after {}",
    "budget": "the plan's budget is used up: {}",
    "landing": "waits to land after {}",
}
#: So many more lines of a command than the first are shown.
RUN_LINES = 20
#: What a task that waits for other tasks need not say as well.
_LATER = frozenset({"paths", "paused", "draft"})
_ORDER = (
    *("working", "assigned", "input_required", "failed"),
    *("submitted", "blocked", "cancelled"),
)

#: What they say must be read: it gets a second line, and comes before the title.
_EXPLAINED = frozenset({"failed", "input_required"})


def waits_text(blocked_by: Sequence[Json], most: int = 2) -> str:
    """Why a task waits, as a sentence; a long list of names is cut."""
    by_code: dict[str, list[str]] = {}
    for wait in blocked_by:
        by_code.setdefault(wait["code"], []).append(wait["what"])
    # All in the same plan: their short ids do.
    needs = [short_of(name) or name for name in by_code.pop("dependency", [])]
    said = [f"waits for {few(needs, most)}"] if needs else []
    for code, whats in by_code.items():
        if not (needs and code in _LATER):
            said.append(_wait(code, few(whats, most)))
    return "; ".join(said)


def _wait(code: str, what: str) -> str:
    if code == "no_agent" and what.startswith(("any agent", "an agent ")):
        return f"waits for {what}"
    if code == "backoff" and " rests until " in what:
        return f"waits: {plain(what)}"
    if code in _WAITS:
        return _WAITS[code].format(what)
    return f"waits: {plain(code)} {what}"


def count_words(counts: Mapping[str, int]) -> Text:
    """How many tasks are in each status but ``completed``, in words."""
    return joined(
        [
            joined([Text(f"{counts[status]:,}"), word(status)], " ")
            for status in _ORDER
            if counts.get(status)
        ],
        ", ",
    )


def detail(task: Json) -> Text:
    """What there is to say of a task beside its status."""
    waits = waits_text(task["blocked_by"])
    match task["status"]:
        case "working" | "assigned":
            who = f"{plain(task['assigned_to'])}, attempt {task['attempt']}"
            return Text(f"{who}; {waits}" if waits else who)
        case "blocked" | "submitted":
            return Text(waits or "ready, waits for a free slot")
        case "completed":
            return _verdict((task["result"] or {}).get("verdict"))
        case _:
            return reason_text(task["reason"])


def _verdict(verdict: Json | None) -> Text:
    if verdict is None:
        return Text()
    if verdict["status"] == "none":
        return Text("no gate", "yellow")
    return joined([Text("gate"), word(verdict["status"])], " ")


def task_cells(console: Console, task: Json, *, full: bool = False) -> list[Text]:
    """A task's row: id, status, why, and the title where there is room."""
    name = task["id"] if full else short_of(task["id"])
    cells = [styled(name), word(task["status"])]
    said, title = detail(task), styled(task["title"], "dim")
    if task["status"] in _EXPLAINED:
        said.overflow = "fold"
    if console.width >= WIDE:
        return [*cells, cut(console, title, _TITLE_WIDTH), said]
    if said.overflow:
        return [*cells, said]
    return [*cells, joined([said, title])]


def render_task_list(console: Console, tasks: Sequence[Json]) -> None:
    """Show the ``tasks`` of a `cluster_status`, one line each."""
    if not tasks:
        line(console, Text(NO_TASKS))
    table(console, [task_cells(console, task, full=True) for task in tasks])


def render_task(console: Console, task: Json) -> None:
    """Show a `task_show`: everything that is known of one task."""
    title = [styled(task["id"], "bold"), word(task["status"]), styled(task["title"])]
    line(console, joined(title))
    facts(console, _facts(task))
    if task["description"]:
        console.print()
        paragraphs(console, task["description"], 2)
    _render_messages(console, task["messages"])
    if task["attempts"]:
        console.print()
        line(console, Text("ended attempts", "bold"))
    for attempt in task["attempts"]:
        _render_attempt(console, attempt, _kept_in(task, attempt))


def _facts(task: Json) -> Iterator[tuple[str, Text]]:
    if task["assigned_to"]:
        yield "agent", styled(f"{task['assigned_to']}, attempt {task['attempt']}")
    yield "waiting", Text(waits_text(task["blocked_by"], most=10))
    yield "reason", reason_text(task["reason"])
    yield "type", styled(task["type"])
    first, *others = (task["run"] or task["runner"] or "").splitlines() or [""]
    yield "runs", styled(first)
    for row in others[:RUN_LINES]:
        yield "", styled(row or " ")
    if len(others) > RUN_LINES:
        yield "", Text(f"and {len(others) - RUN_LINES} more lines", "dim")
    yield "needs", styled(" or ".join(task["specialization"]))
    yield "after", Text(few([short_of(name) for name in task["depends_on"]], 10))
    yield "before", Text(few([short_of(name) for name in task["dependents"]], 10))
    yield "paths", styled(", ".join(task["paths"]))
    yield "gate", styled(task["verify"] or "none")
    yield "from", Text(brief(task["base"]))
    yield from _result_facts(task["result"])


def _result_facts(result: Json | None) -> Iterator[tuple[str, Text]]:
    if result is None:
        return
    yield "branch", styled(result["branch"] or "")
    yield "commit", Text(brief(result["commit"]))
    yield "merged as", Text(brief(result["integration_commit"]))
    yield "verdict", _verdict(result["verdict"])
    yield "summary", styled(result["summary"] or "")
    yield "used", usage_text(result["usage"])


def usage_text(usage: Json | None) -> Text:
    """What an attempt used: tokens, money, time."""
    if usage is None:
        return Text()
    known = [
        (f"{usage[key]:,} {word}")
        for key, word in (("input_tokens", "tokens in"), ("output_tokens", "out"))
        if usage.get(key) is not None
    ]
    if usage.get("cost_usd") is not None:
        known.append(f"${usage['cost_usd']:.4f}")
    if usage.get("turns") is not None:
        known.append(several(usage["turns"], "turn"))
    if usage.get("duration_s") is not None:
        known.append(f"{usage['duration_s']:.0f} s")
    return Text(", ".join(known))


def _render_messages(console: Console, messages: Sequence[Json]) -> None:
    if messages:
        console.print()
        line(console, Text("messages", "bold"))
    for message in messages:
        by = f" by {message['by']}" if message["by"] else ""
        line(console, styled(f"{message['kind']}{by}", "bold yellow"), 2)
        paragraphs(console, message["text"], 4)


def _kept_in(task: Json, attempt: Json) -> str:
    """The ref with its work; the record does not know of one that came later."""
    if attempt["outcome"] == "completed":
        return ""
    found = task.get("kept", {}).get(str(attempt["number"]))
    return found or attempt["rescue"] or ""


def _render_attempt(console: Console, attempt: Json, kept_in: str) -> None:
    parts = [Text(f"{attempt['number']}"), word(attempt["outcome"])]
    line(console, joined([*parts, styled(f"by {attempt['agent']}")]), 2)
    rows = [
        ("reason", reason_text(attempt["reason"])),
        ("verdict", _verdict(attempt["verdict"])),
        ("commit", Text(brief(attempt["commit"]))),
        ("kept in", styled(short_ref(kept_in))),
        ("summary", styled(attempt["summary"] or "")),
        ("used", usage_text(attempt["usage"])),
    ]
    facts(console, rows, 4)
