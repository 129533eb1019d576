"""YAML, read from the parser's events, with the line of every value.

Composing nodes would recurse with the depth of the document and follow aliases. The
scalars are those of YAML's core schema, and ``yes, no, on, off``, which people use for
booleans; what other readers take for dates or octal numbers stays text.
"""

from __future__ import annotations

import re

import yaml

from percyd.core.document.nodes import BAD, Builder, Node, Scalar, shown
from percyd.core.document.problems import Report, Unreadable

_Loader: type[yaml.CSafeLoader] | type[yaml.SafeLoader]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CORE = "tag:yaml.org,2002:"
_WORDS: dict[str, Scalar] = {
    form: value
    for word, value in {
        "null": None,
        **dict.fromkeys(("true", "yes", "on"), True),
        **dict.fromkeys(("false", "no", "off"), False),
    }.items()
    for form in (word, word.title(), word.upper())
}
_WORDS |= {"": None, "~": None}
_NUMBER = re.compile(
    r"[-+]?(?:0|[1-9][0-9]*+)"
    r"|0o[0-7]++|0x[0-9a-fA-F]++"
    r"|[-+]?(?:\.[0-9]++|[0-9]++(?:\.[0-9]*+(?:[eE][-+]?[0-9]++)?|[eE][-+]?[0-9]++))"
)
_ODD = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def read_yaml(text: str, report: Report, first_line: int = 1) -> Node | None:
    """The tree of one YAML document; None if it is empty.

    Args:
        text: The document.
        report: Where problems go.
        first_line: The line of the file in which ``text`` starts.

    Raises:
        Unreadable: From some place on the text is no YAML.
    """
    reader = _Reader(text, report, first_line)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            reader.take(event)
    except yaml.YAMLError as error:
        raise reader.fault(error) from error
    return reader.build.root


class _Reader:
    def __init__(self, text: str, report: Report, first_line: int) -> None:
        self.text = text
        self.build = Builder(report)
        self.first_line = first_line
        self.line = first_line
        self.place = 0
        self.documents = 0

    def take(self, event: yaml.Event) -> None:
        """One event of the parser, in the order of the text."""
        # YAML counts more characters as line breaks than editors do.
        index = event.start_mark.index if event.start_mark else self.place
        self.line += self.text.count("\n", self.place, index)
        self.place = max(self.place, index)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.build.close()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse_complex_key()
            self.build.bad(self.line, "is an alias; write the value out")
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                text = "is a second YAML document; one in a file is allowed"
                raise Unreadable(self.line, text)

    def fault(self, error: yaml.YAMLError) -> Unreadable:
        """The problem that the parser has met."""
        what = getattr(error, "problem", None) or getattr(error, "reason", None)
        mark = getattr(error, "problem_mark", None)
        offset = getattr(error, "position", None)
        line = self.line
        if mark is not None:
            line = self.first_line + self.text.count("\n", 0, mark.index)
        elif isinstance(offset, int):
            line = self.first_line + self.text.encode()[:offset].count(b"\n")
        hint = "put text with ': ', '#' or other marks in quotes"
        if mark is not None and self.text[mark.index : mark.index + 1] == "\t":
            hint = "YAML allows no tabs for indentation; put spaces there"
        return Unreadable(line, f"is not valid YAML: {what or 'error'}; {hint}")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if self.build.wants_key:
            self.build.key(event.value, self.line)
            self._decorations(event.anchor, event.tag)
        elif self._decorations(event.anchor, event.tag):
            self.build.value(BAD, self.line)
        elif event.implicit[0] or (event.tag and event.tag != f"{_CORE}str"):
            self._plain(event.value, event.tag)
        else:
            self.build.value(event.value, self.line)

    def _plain(self, text: str, tag: str | None) -> None:
        if text in _WORDS:
            self.build.value(_WORDS[text], self.line)
        elif _NUMBER.fullmatch(text):
            self.build.number(text, self.line)
        elif _ODD.fullmatch(text):
            self.build.bad(self.line, f"{text} is not allowed; give a finite number")
        elif tag:
            self.build.bad(
                self.line, f"{shown(text)} is no {tag.removeprefix(_CORE)}; correct it"
            )
        else:
            self.build.value(text, self.line)

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        self._refuse_complex_key()
        self._decorations(event.anchor, event.tag)
        is_list = isinstance(event, yaml.SequenceStartEvent)
        self.build.open([] if is_list else {}, self.line)

    def _refuse_complex_key(self) -> None:
        if self.build.wants_key:
            text = "has a list, mapping or alias for a key; keys are words"
            raise Unreadable(self.line, text)

    def _decorations(self, anchor: str | None, tag: str | None) -> bool:
        """Refuse anchors, and tags that make more than plain values."""
        if anchor is not None:
            text = f"has the anchor {shown('&' + anchor)}; anchors are not allowed"
            self.build.problem(self.line, text)
        odd = bool(tag) and tag not in _TAGS
        if odd:
            self.build.problem(
                self.line, f"has the tag {shown(tag)}; tags are not allowed"
            )
        return odd or anchor is not None


_TAGS = frozenset(
    _CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")
)
