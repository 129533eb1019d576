"""What a coding program has printed, as people like to read it."""

from __future__ import annotations

from collections.abc import Iterator

from percyd.runners.base import Reader
from percyd.runners.events import (
    Began,
    Called,
    Ended,
    Event,
    Said,
    Trouble,
    object_of,
)
from percyd.work.output import Lines, Listener, readable


class Transcript:
    """Turns a program's output into rows: what was said, one row for each tool call."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rows: list[str] = []
        self._lines = Lines(Listener(self._line))

    def feed(self, data: bytes) -> list[str]:
        """The rows that a piece of the output comes to."""
        self._lines.feed(data)
        return self._taken()

    def flush(self) -> list[str]:
        """The rows of a last line without an end."""
        self._lines.flush()
        return self._taken()

    def _taken(self) -> list[str]:
        rows, self._rows = self._rows, []
        return rows

    def _line(self, line: bytes) -> None:
        events = list(self._reader.read(line))
        if not events and object_of(line) is None:
            self._rows += readable(line).splitlines()  # what it said beside its events
        for event in events:
            self._rows += rows_of(event)


def rows_of(event: Event) -> Iterator[str]:
    """The rows of one event."""
    match event:
        case Began(session, model):
            yield f"[session {session or 'without a name'}, {model or 'its own model'}]"
        case Said(text):
            yield from text.strip().splitlines()
        case Called(tool, detail):
            yield f"  > {tool} {detail}".rstrip()
        case Trouble(text):
            yield f"  ! {text}"
        case Ended(_, cost):
            yield f"[end, ${cost:.4f}]" if cost is not None else "[end]"
