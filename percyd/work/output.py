"""What a program prints: into the log as it arrives, and its end for people.

Keys are masked before anything is written; who reads the lines gets them as they are.
Memory stays flat whatever is printed: a bounded tail, a bounded line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from percyd.work.masking import Masker, masked

TAIL_BYTES = 16 * 1024
TAIL_LINES = 200
LINE_BYTES = 5 * 1024 * 1024

OnLine = Callable[[bytes], None]

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def readable(data: bytes) -> str:
    """``data`` as text without terminal sequences and control characters."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))


@dataclass(frozen=True, slots=True)
class Listener:
    """Who wants the lines of a stream; only those with ``marks`` in them, if there are.

    What says nothing then costs next to nothing: 5 GB without a mark are not cut up.
    """

    on_line: OnLine
    marks: bytes = b""


class Lines:
    """Cuts a stream into lines; of a longer one only the first 5 MiB are passed on."""

    def __init__(self, listener: Listener) -> None:
        self._on_line = listener.on_line
        self._marks = listener.marks
        self._line = bytearray()
        self._full = False

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        if self._marks and self._marks not in data and self._marks not in self._line:
            _, ended, data = data.rpartition(b"\n")
            if ended:
                self._line.clear()
                self._full = False
            self._extend(data)
            return
        first, *rest = data.split(b"\n")
        self._extend(first)
        for piece in rest:
            self.flush(even_empty=True)
            self._extend(piece)

    def flush(self, *, even_empty: bool = False) -> None:
        """Pass on the line so far."""
        if (even_empty or self._line) and not self._full:
            self._on_line(bytes(self._line))
        self._line.clear()
        self._full = False

    def _extend(self, piece: bytes) -> None:
        if self._full:
            return
        self._line += piece[: LINE_BYTES - len(self._line)]
        if len(self._line) == LINE_BYTES:
            self._on_line(bytes(self._line))
            self._line.clear()
            self._full = True


class Output:
    """Where the bytes of one run go; a context manager around the log file."""

    def __init__(
        self, log: Path | None, log_bytes: int, listener: Listener | None
    ) -> None:
        self.truncated = 0
        self.problem = ""
        self._path = log
        self._room = log_bytes
        self._log: BinaryIO | None = None
        self._tail = bytearray()
        self._lines = Lines(listener) if listener else None
        self._masker = Masker()

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # Appended to: the rounds of one attempt share one log and one bound.
                self._log = self._path.open("ab", buffering=0)
                self._room = max(0, self._room - self._path.stat().st_size)
            except OSError as error:
                self._complain(error)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._log is None:
            return
        self._keep(self._masker.flush())
        if self.truncated:
            note = f"\n[percyd: {self.truncated} more bytes were dropped]\n"
            self._write(note.encode())
        self._log.close()

    def feed(self, data: bytes) -> None:
        """Take the next piece of output."""
        self._tail += data[-TAIL_BYTES:]
        if len(self._tail) > 4 * TAIL_BYTES:
            del self._tail[:-TAIL_BYTES]
        if self._path is not None:
            # What the log does not take need not be looked at.
            self._keep(self._masker.feed(data) if self._room else data)
        if self._lines is not None:
            self._lines.feed(data)

    def _keep(self, data: bytes) -> None:
        """Put it into the log, as far as there is room."""
        kept = data[: self._room]
        self._room -= len(kept)
        if kept and not self._write(kept):
            self._room = 0
            self.truncated += len(kept)
        self.truncated += len(data) - len(kept)

    def end(self) -> None:
        """No more will come: pass on a last line without a newline, and what was held."""
        if self._path is not None:
            self._keep(self._masker.flush())
        if self._lines is not None:
            self._lines.flush()

    def tail(self) -> str:
        """The last lines, for people and for records."""
        # Masked whole: what is cut before may be a key without its head.
        text = readable(masked(bytes(self._tail))[-TAIL_BYTES:])
        return "\n".join(text.rstrip("\n").split("\n")[-TAIL_LINES:])

    def _write(self, data: bytes) -> bool:
        """Write all of ``data``; a full disk costs the log, never the run."""
        if self._log is None:
            return False
        try:
            while data:
                data = data[self._log.write(data) :]
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _complain(self, error: OSError) -> None:
        self.problem = f"the log could not be written: {error.strerror}"
