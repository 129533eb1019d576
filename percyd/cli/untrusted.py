"""Output of programs that nobody vouches for, on its way to a terminal or into JSON.

It is passed on as it comes: however much there is, little is held in memory.
"""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections.abc import Callable, Iterable

import click

from percyd.cli.tables import plain

#: A line that is longer is passed on in parts.
_ROW_CHARS = 64 * 1024
_ENDS = re.compile(r"\r\n|\n|\r")
#: Colours, and what only clears the rest of a line.
_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")


class Rows:
    """Cuts a stream of bytes into lines of text.

    ``pass_on`` gets each line without its end, and whether it has come to its end.
    """

    def __init__(self, pass_on: Callable[[str, bool], None]) -> None:
        self._pass_on = pass_on
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._open = ""

    def feed(self, data: bytes) -> None:
        """Take the next piece of the stream."""
        text = self._open + self._decoder.decode(data)
        # A line feed that belongs to it may be about to come.
        held = "\r" if text.endswith("\r") else ""
        *whole, self._open = _ENDS.split(text.removesuffix(held))
        for row in whole:
            self._pass_on(row, True)
        self._open += held
        if len(self._open) > _ROW_CHARS:
            self.flush()

    def flush(self) -> None:
        """Pass on what there is of the last line; it goes on with the next piece."""
        if self._open:
            row, self._open = self._open, ""
            self._pass_on(row.removesuffix("\r"), row.endswith("\r"))


def inert(row: str) -> str:
    """A line of output with everything escaped, but tabs, that acts on a terminal."""
    if row.isprintable():
        return row
    return "\t".join(plain(part) for part in _COLOURS.sub("", row).split("\t"))


def write_raw(data: bytes) -> None:
    """Pass bytes on as they are."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def echo_json_text(pieces: Iterable[bytes]) -> None:
    """Print a JSON string of all pieces together, piece by piece."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    click.echo('"', nl=False)
    for piece in pieces:
        click.echo(json.dumps(decoder.decode(piece))[1:-1], nl=False)
    click.echo(json.dumps(decoder.decode(b"", final=True))[1:-1] + '"', nl=False)
