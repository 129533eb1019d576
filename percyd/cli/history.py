"""``percyd log`` for people: one event after the other."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from percyd.cli.tables import Json, brief, joined, moment, styled, wrapped

_STYLES = {
    **dict.fromkeys(("complete", "close", "land"), "green"),
    **dict.fromkeys(("fail", "lost", "reject"), "red"),
    **dict.fromkeys(("claim", "work", "turn"), "cyan"),
    **dict.fromkeys(("ask", "pause", "release", "requeue"), "yellow"),
    **dict.fromkeys(("cancel",), "magenta"),
}


def render_event(console: Console, event: Json) -> None:
    """Show an `Event.as_json`: commit, time, and the words of the operation."""
    head = [Text(brief(event["commit"]), "dim"), Text(moment(event["time"]))]
    first = joined(head) + Text("  ")
    subject = styled(event["subject"])
    operation = event["operation"]
    if operation and event["subject"].startswith(f"{operation}:"):
        subject.stylize(_STYLES.get(operation, "bold"), 0, len(operation))
    wrapped(console, subject, first.cell_len, first)
