"""What every page of the command line is made of.

Text out of records goes through `plain`: plans and agents come from anybody who can
push, and a terminal obeys what it is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from percyd.core.words import counted
from percyd.views.inert import plain as plain

Json = Mapping[str, Any]

_STYLES = {
    "executing": "bold cyan",
    "working": "cyan",
    "assigned": "cyan",
    "input_required": "bold yellow",
    "paused": "bold yellow",
    "completed": "green",
    "done": "bold green",
    "failed": "bold red",
    "lost": "red",
    "cancelled": "magenta",
    "ready": "blue",
    "submitted": "blue",
    "idle": "green",
    "offline": "dim",
    "draft": "dim",
}
_LABEL_WIDTH = 12
#: Narrower than this, wrapping would leave one word on a line.
_LEAST_WIDTH = 20


def styled(text: object, style: str = "") -> Text:
    """``text``, made inert, in one style."""
    return Text(plain(text), style)


def word(status: object) -> Text:
    """A status in its colour; the word itself always stands there."""
    return styled(str(status).replace("_", " "), _STYLES.get(str(status), ""))


def joined(parts: Iterable[Text], between: str = "  ") -> Text:
    """The parts that are not empty, one after the other."""
    return Text(between).join(part for part in parts if part)


def line(console: Console, text: Text, indent: int = 0) -> None:
    """Print one line, cut at the console's width."""
    text = Text(" " * indent) + text
    text.rstrip()
    _print(console, cut(console, text, console.width))


def cut(console: Console, text: Text, width: int) -> Text:
    """``text``, or as much of it as fits, with a mark that says so."""
    if text.cell_len > width:
        mark = "..." if console.options.ascii_only else "…"
        text.truncate(width - len(mark))
        text.append(mark)
    return text


def wrapped(
    console: Console, text: Text, indent: int = 0, first: Text | None = None
) -> None:
    """Print a text on as many lines as it needs.

    Args:
        console: Where to print.
        text: One paragraph.
        indent: Spaces before each line.
        first: What stands before the first line in their place.
    """
    width = max(console.width - indent, _LEAST_WIDTH)
    for number, part in enumerate(text.wrap(console, width, overflow="fold")):
        before = first if first and number == 0 else Text(" " * indent)
        part.rstrip()
        _print(console, before + part)


def _print(console: Console, text: Text) -> None:
    console.print(text, no_wrap=True, overflow="ignore", crop=False)


def paragraphs(console: Console, text: str, indent: int = 0) -> None:
    """Print a text of several lines; its line ends are the only ones that act."""
    for row in text.strip().split("\n"):
        wrapped(console, styled(row.expandtabs().rstrip("\r")), indent)


def facts(console: Console, rows: Iterable[tuple[str, Text]], indent: int = 2) -> None:
    """Print labels with what they stand for; one that stands for nothing is left out."""
    for label, text in rows:
        if text:
            first = Text(" " * indent) + Text(label.ljust(_LABEL_WIDTH), "dim")
            wrapped(console, text, indent + _LABEL_WIDTH, first)


def table(console: Console, rows: Sequence[Sequence[Text]], indent: int = 0) -> None:
    """Print rows in columns. The last one takes what is left.

    It is cut at the console's width; a text with ``overflow="fold"`` gets a second
    line. Other cells are never cut: one that is too wide pushes its own row only.
    """
    most = console.width * 2 // 5
    columns = list(zip(*rows, strict=True))[:-1]
    widths = [
        max((cell.cell_len for cell in column if cell.cell_len <= most), default=0)
        for column in columns
    ]
    for *cells, last in rows:
        before = Text(" " * indent)
        for cell, width in zip(cells, widths, strict=True):
            before.append_text(cell)
            before.append(" " * (max(width - cell.cell_len, 0) + 2))
        if last.overflow == "fold" and before.cell_len <= console.width // 2:
            _two_lines(console, before, last)
        else:
            line(console, before.append_text(last))


def _two_lines(console: Console, before: Text, text: Text) -> None:
    indent = before.cell_len
    lines = text.wrap(console, console.width - indent)
    if not lines:
        line(console, before)
        return
    line(console, before.append_text(lines[0]))
    if len(lines) > 1:
        # The rest in one piece, so that it is seen to be cut.
        rest = text.plain[len(lines[0].plain) :].strip()
        line(console, Text(rest, text.style), indent)


def few(names: Sequence[str], most: int = 2) -> str:
    """Names for a sentence: "a, b and 3 more"."""
    shown = [plain(name) for name in names[:most]]
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most:,} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def several(count: int, noun: str) -> str:
    """A count with its noun: "1 task", "1,200 tasks"."""
    return counted(count, noun)


def reason_text(why: Json | None) -> Text:
    """A reason code with its message."""
    if why is None:
        return Text()
    message = why.get("message")
    return styled(f"{why['code']}: {message}" if message else why["code"])


def moment(time: str | None) -> str:
    """A time of the records, with a space where JSON has a T."""
    return plain(time or "").replace("T", " ")


def brief(oid: str | None) -> str:
    """The first digits of a commit id."""
    return plain(oid or "")[:10]
