"""TOML: the values from the standard library, their lines from a scan of our own.

The scan comes first and bounds what the library would recurse on.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from percyd.core.document.nodes import (
    MAX_DEPTH,
    MAX_VALUES,
    Builder,
    Node,
    join,
    number_problem,
    too_deep,
    too_many,
)
from percyd.core.document.problems import Report, Unreadable

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r"(?P<space>[ \t]++|\#[^\n]*+)"
    r"|(?P<newline>\n)"
    r'|(?P<long>"""[^"\\]*+(?:(?:\\.|"{1,2}(?!"))[^"\\]*+)*+"{3,5}'
    r"|'''[^']*+(?:'{1,2}(?!')[^']*+)*+'{3,5})"
    r'|(?P<text>"[^"\\\n]*+(?:\\[^\n][^"\\\n]*+)*+"|\'[^\'\n]*+\')'
    r"|(?P<word>[A-Za-z0-9_+-]++)"
    r"|(?P<mark>[][{}=,.:])",
    re.DOTALL,
)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_NUMBER_LENGTH = 40


def read_toml(text: str, report: Report) -> Node | None:
    """The tree of a TOML document.

    Raises:
        Unreadable: The text is no TOML.
    """
    scan = _Scan(text)
    scan.run()
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _fault(text, scan, error) from error
    except RecursionError as error:  # pragma: no cover
        raise Unreadable(1, f"is nested too deep; {MAX_DEPTH} are allowed") from error
    build = Builder(report)
    _add(build, values, (), scan.lines)
    return build.root


def _fault(text: str, scan: _Scan, error: ValueError) -> Unreadable:
    found = _PLACE.search(str(error))
    last = text.rstrip("\n").count("\n") + 1
    line = int(found[1]) if found and found[1] else last
    if scan.repeated and scan.repeated[1] <= line:
        path, line = scan.repeated
        what = f"is given twice, first in line {scan.lines[path]}; keep one"
        return Unreadable(line, what, _name(path))
    return Unreadable(line, f"is not valid TOML: {_PLACE.sub('', str(error))}")


def _name(path: Path) -> str:
    name = ""
    for part in path:
        name = join(name, part)
    return name


def _add(build: Builder, value: Any, path: Path, lines: dict[Path, int]) -> None:
    """Add a value of the library to the tree; as deep as the scan allowed."""
    line = _line(path, lines)
    if isinstance(value, dict):
        build.open({}, line)
        for key, item in value.items():
            build.key(key, _line((*path, key), lines))
            _add(build, item, (*path, key), lines)
        build.close()
    elif isinstance(value, list):
        build.open([], line)
        for index, item in enumerate(value):
            _add(build, item, (*path, index), lines)
        build.close()
    elif isinstance(value, bool | str):
        build.value(value, line)
    elif isinstance(value, int | float):
        problem = number_problem(value)
        if problem:
            build.bad(line, problem)
        else:
            build.value(value, line)
    else:
        build.bad(line, "is a date or time; put it in quotes")


def _line(path: Path, lines: dict[Path, int]) -> int:
    """The line of a value, else of what it is in."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


@dataclass(slots=True)
class _Frame:
    """An open list or inline table."""

    path: Path
    line: int
    #: The place of the item in a list; None: this is a table.
    index: int | None
    in_key: bool = False


class _Scan:
    """Finds the line of every key, and of list items that are not on their key's.

    It keeps to TOML's tokens but not to its grammar: what is wrong in a text that gets
    past it, the library finds. Where it meets what is no piece it stops, since the
    library reads no further either.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines: dict[Path, int] = {}
        self.repeated: tuple[Path, int] | None = None
        self.line = 1
        self.table: Path = ()
        self.counts: dict[Path, int] = {}
        self.keys: list[str] = []
        self.frames: list[_Frame] = []
        #: Where in a statement: "key", "header", "value" or "done".
        self.state = "key"
        self.place = 0
        self.values = 0

    def run(self) -> None:
        """Scan the text.

        Raises:
            Unreadable: It is deeper or larger than is allowed.
        """
        for found in _TOKEN.finditer(self.text):
            if found.start() != self.place:
                return
            self.place = found.end()
            kind, piece = found.lastgroup, found.group()
            if kind == "newline":
                self.line += 1
                if not self.frames and self.keys and self.state in ("key", "header"):
                    return
                if not self.frames:
                    self.state, self.keys = "key", []
            elif kind != "space":
                self._take(kind or "", piece)
                self.line += piece.count("\n") if kind == "long" else 0

    def _take(self, kind: str, piece: str) -> None:
        if self.frames:
            self._in_frame(self.frames[-1], kind, piece)
        elif self.state == "header":
            self._in_header(kind, piece)
        elif self.state == "value":
            self._in_value(self.table + tuple(self.keys), kind, piece)
        elif self.state == "key" and piece == "[" and not self.keys:
            self.state = "header"
        elif self.state == "key":
            self._in_key(self.table, kind, piece)

    def _in_key(self, parent: Path, kind: str, piece: str) -> bool:
        """Take a part of a key; whether the key is complete."""
        if piece == "=":
            self._record((*parent, *self.keys))
            self.state = "value"
            return True
        if kind != "mark":
            self._part(kind, piece)
        return False

    def _part(self, kind: str, piece: str) -> None:
        quotes = {"word": 0, "text": 1, "long": 3}[kind]
        self.keys.append(piece[quotes : len(piece) - quotes])
        if len(self.keys) > MAX_DEPTH:
            too_deep(self.line)

    def _record(self, path: Path) -> None:
        if path in self.lines:
            self.repeated = self.repeated or (path, self.line)
        self.lines.setdefault(path, self.line)

    def _in_header(self, kind: str, piece: str) -> None:
        if piece == "]":
            is_list = self.text.startswith("]", self.place)
            self.table = self._table(is_list=is_list)
            self.lines.setdefault(self.table, self.line)
            self.state = "done"
        elif kind != "mark":
            self._part(kind, piece)

    def _table(self, *, is_list: bool) -> Path:
        """The path of a header's table: the newest of each list on the way."""
        path: Path = ()
        for number, key in enumerate(self.keys, 1):
            path = (*path, key)
            if is_list and number == len(self.keys):
                self.counts[path] = self.counts.get(path, 0) + 1
                self.lines.setdefault(path, self.line)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _in_value(self, path: Path, kind: str, piece: str) -> None:
        """Take a token of the value at ``path``."""
        if kind == "word" and len(piece) > _NUMBER_LENGTH:
            text = f"a number of {len(piece):,} characters; 64 bits are allowed"
            raise Unreadable(self.line, text, _name(path))
        if piece not in ("[", "{"):
            return
        if len(self.frames) >= MAX_DEPTH:
            too_deep(self.line)
        is_list = piece == "["
        index = 0 if is_list else None
        self.frames.append(_Frame(path, self.line, index, in_key=not is_list))
        self.keys = []

    def _in_frame(self, frame: _Frame, kind: str, piece: str) -> None:
        self.values += 1
        if self.values > 2 * MAX_VALUES:
            too_many(self.line)
        if piece in ("]", "}"):
            self.frames.pop()
        elif frame.index is None:
            self._in_inline(frame, kind, piece)
        elif piece == ",":
            frame.index += 1
        else:
            path = (*frame.path, frame.index)
            if self.line != frame.line:
                self.lines.setdefault(path, self.line)
            self._in_value(path, kind, piece)

    def _in_inline(self, frame: _Frame, kind: str, piece: str) -> None:
        if piece == ",":
            frame.in_key, self.keys = True, []
        elif frame.in_key:
            frame.in_key = not self._in_key(frame.path, kind, piece)
        else:
            self._in_value((*frame.path, *self.keys), kind, piece)
