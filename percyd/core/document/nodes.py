"""Values that know their line.

The readers of the four syntaxes build these trees; the document is read from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NoReturn

from percyd.core.document.problems import Report, Unreadable, escaped

MAX_DEPTH = 50
#: Far above any document of 20,000 tasks; bounds the memory that 4 MiB can ask for.
MAX_VALUES = 500_000
_NUMBER_LENGTH = 40


class Bad:
    """Stands for a value whose problem is reported already."""


BAD: Final = Bad()

Scalar = str | bool | int | float | None | Bad
Value = Scalar | list["Node"] | dict[str, "Node"]


@dataclass(slots=True)
class Node:
    """A value and its line; ``key_line`` is that of its key, 0 without one."""

    value: Value
    line: int
    key_line: int = 0


def shown(value: Value) -> str:
    """A value as it is shown in a problem: escaped and cut."""
    if isinstance(value, str):
        return f"'{escaped(value)}'"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def number_problem(value: float) -> str | None:
    """Say why no document may hold this number, or None."""
    if isinstance(value, float):
        fine = math.isfinite(value)
        return (
            None if fine else "NaN and infinity are not allowed; give a finite number"
        )
    if -(2**63) <= value < 2**63:
        return None
    return "a number is too large; 64 bits are allowed"


def join(path: str, key: str | int) -> str:
    """The name of a field inside the field ``path``."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


@dataclass(slots=True)
class _Frame:
    node: Node
    items: list[Node] | dict[str, Node]
    key: str | None = None
    key_line: int = 0
    #: The key was given before: what is read now is dropped.
    dropped: bool = False


@dataclass(slots=True)
class Builder:
    """Builds a tree from the events of a syntax, and checks its size on the way."""

    report: Report
    root: Node | None = None
    _frames: list[_Frame] = field(default_factory=list)
    _values: int = 0

    @property
    def depth(self) -> int:
        """How many lists and mappings are open."""
        return len(self._frames)

    @property
    def in_mapping(self) -> bool:
        """Whether the innermost open value is a mapping."""
        return bool(self._frames) and isinstance(self._frames[-1].items, dict)

    @property
    def wants_key(self) -> bool:
        """Whether a key comes next."""
        return self.in_mapping and self._frames[-1].key is None

    def key(self, text: str, line: int) -> None:
        """The key of the value that comes next."""
        frame = self._frames[-1]
        frame.key, frame.key_line = text, line
        frame.dropped = text in frame.items
        if frame.dropped and isinstance(frame.items, dict):
            first = frame.items[text].key_line
            self.problem(line, f"is given twice, first in line {first}; keep one")

    def value(self, value: Scalar, line: int) -> None:
        """A scalar."""
        self._attach(Node(value, line))

    def number(self, literal: str, line: int) -> None:
        """A number, as it is written."""
        if len(literal) > _NUMBER_LENGTH:
            text = f"a number of {len(literal):,} characters; 64 bits are allowed"
            self.bad(line, text)
            return
        try:
            number: int | float = int(literal, 0)
        except ValueError:
            number = float(literal)
        problem = number_problem(number)
        if problem:
            self.bad(line, problem)
        else:
            self.value(number, line)

    def bad(self, line: int, text: str) -> None:
        """A value that is refused."""
        self.problem(line, text)
        self.value(BAD, line)

    def open(self, items: list[Node] | dict[str, Node], line: int) -> None:
        """The start of a list or mapping."""
        if len(self._frames) >= MAX_DEPTH:
            too_deep(line)
        node = Node(items, line)
        self._attach(node)
        self._frames.append(_Frame(node, items))

    def close(self) -> None:
        """The end of the innermost list or mapping."""
        self._frames.pop()
        if self._frames:
            self._frames[-1].key = None

    def problem(self, line: int, text: str) -> None:
        """Note a problem with what is read now."""
        self.report.add(line, self._field() or "document", text)

    def _field(self) -> str:
        path = ""
        for frame in self._frames:
            if isinstance(frame.items, dict):
                path = join(path, frame.key) if frame.key is not None else path
            else:
                # A list inside is attached when it is opened, not when it ends.
                inner = frame is not self._frames[-1]
                path = join(path, len(frame.items) - inner)
        return path

    def _attach(self, node: Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            too_many(node.line)
        if not self._frames:
            self.root = node
            return
        frame = self._frames[-1]
        if isinstance(frame.items, list):
            frame.items.append(node)
        elif frame.key is not None:
            node.key_line = frame.key_line
            if not frame.dropped:
                frame.items[frame.key] = node
            if not isinstance(node.value, list | dict):
                frame.key = None


def too_deep(line: int) -> NoReturn:
    """Refuse to read deeper."""
    text = f"is nested too deep; {MAX_DEPTH} levels are allowed"
    raise Unreadable(line, text)


def too_many(line: int) -> NoReturn:
    """Refuse to read more values."""
    text = f"holds too many values; {MAX_VALUES:,} are allowed"
    raise Unreadable(line, text)
