"""JSON, read without recursion, with the line of every value.

The standard library's reader keeps the last of two equal keys, takes NaN, knows no
lines and recurses.
"""

from __future__ import annotations

import json
import re
from typing import NoReturn

from percyd.core.document.nodes import Builder, Node, shown
from percyd.core.document.problems import Report, Unreadable

_SPACE = re.compile(r"[ \t\n\r]*+")
_TOKEN = re.compile(
    r'(?P<text>"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?)(?![-+.\w])"
    r"|(?P<odd>NaN|-?Infinity)\b"
    r"|(?P<word>true|false|null)\b"
    r"|(?P<mark>[][{}:,])"
)
_WORDS = {"true": True, "false": False, "null": None}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read_json(text: str, report: Report) -> Node | None:
    """The tree of one JSON value.

    Raises:
        Unreadable: From some place on the text is no JSON.
    """
    return _Reader(text, report).read()


class _Reader:
    """Reads token by token; ``expect`` names what may come next."""

    def __init__(self, text: str, report: Report) -> None:
        self.text = text
        self.build = Builder(report)
        self.line = 1
        self.place = 0
        self.expect = "a value"

    def read(self) -> Node | None:
        take = {
            "a value": self._value,
            "a value or ']'": self._value,
            "a key": self._key,
            "a key or '}'": self._key,
            "':'": self._colon,
            "',' or the end": self._separator,
        }
        while piece := self._next():
            if self.expect == "nothing more":
                self._refuse(piece[1])
            take[self.expect](*piece)
        if self.expect != "nothing more":
            found = "ends too early" if self.text.strip() else "is empty"
            raise Unreadable(self.line, f"{found}; JSON needs {self.expect} here")
        return self.build.root

    def _next(self) -> tuple[str, str] | None:
        """Step over the next token: its kind and text, or None at the end."""
        start = self.place
        space = _SPACE.match(self.text, start)
        self.place = space.end() if space else start
        self.line += self.text.count("\n", start, self.place)
        if self.place == len(self.text):
            return None
        found = _TOKEN.match(self.text, self.place)
        if found is None:
            self._refuse(self.text[self.place : self.place + 30].split("\n")[0])
        self.place = found.end()
        return found.lastgroup or "", found.group()

    def _refuse(self, piece: str) -> NoReturn:
        text = f"is not valid JSON at {shown(piece[:40])}; it needs {self.expect} here"
        raise Unreadable(self.line, text)

    def _value(self, kind: str, piece: str) -> None:
        if piece == "]" and self.expect == "a value or ']'":
            self._close()
        elif piece == "[":
            self.build.open([], self.line)
            self.expect = "a value or ']'"
        elif piece == "{":
            self.build.open({}, self.line)
            self.expect = "a key or '}'"
        elif kind == "mark":
            self._refuse(piece)
        else:
            self._scalar(kind, piece)
            self._after_value()

    def _scalar(self, kind: str, piece: str) -> None:
        if kind == "number":
            self.build.number(piece, self.line)
        elif kind == "word":
            self.build.value(_WORDS[piece], self.line)
        elif kind == "odd":
            text = f"{piece} is not allowed; give a finite number"
            self.build.bad(self.line, text)
        else:
            text = self._text(piece)
            if _SURROGATE.search(text):
                self.build.bad(
                    self.line, "holds half a surrogate pair; give whole characters"
                )
            else:
                self.build.value(text, self.line)

    def _key(self, kind: str, piece: str) -> None:
        if piece == "}" and self.expect == "a key or '}'":
            self._close()
        elif kind == "text":
            self.build.key(self._text(piece), self.line)
            self.expect = "':'"
        else:
            self._refuse(piece)

    def _colon(self, kind: str, piece: str) -> None:
        if piece != ":":
            self._refuse(piece)
        self.expect = "a value"

    def _separator(self, kind: str, piece: str) -> None:
        if piece == ("}" if self.build.in_mapping else "]"):
            self._close()
        elif piece == ",":
            self.expect = "a key" if self.build.in_mapping else "a value"
        else:
            self._refuse(piece)

    def _close(self) -> None:
        self.build.close()
        self._after_value()

    def _after_value(self) -> None:
        self.expect = "',' or the end" if self.build.depth else "nothing more"

    def _text(self, piece: str) -> str:
        if "\\" not in piece:
            return piece[1:-1]
        try:
            return str(json.loads(piece))
        except ValueError:
            self._refuse(piece)
