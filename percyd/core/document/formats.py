"""From the bytes of a plan file to a tree of values, in four syntaxes."""

from __future__ import annotations

import codecs
import re

from percyd.core.document.jsontree import read_json
from percyd.core.document.names import EXTENSIONS, Extension
from percyd.core.document.nodes import BAD, Node
from percyd.core.document.problems import Report, Unreadable
from percyd.core.document.tomltree import read_toml
from percyd.core.document.yamltree import read_yaml

MAX_BYTES = 4 * 1024 * 1024

_FENCE = "---"
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_CODE_FENCE = re.compile(r" {0,3}(```|~~~)")


def extension_of(name: str, data: bytes) -> Extension:
    """The format of a file by its name; without one, by how it starts."""
    ending = name.rpartition(".")[2]
    for extension in EXTENSIONS:
        if ending == extension and ending != name:
            return extension
    start = data.removeprefix(codecs.BOM_UTF8).lstrip()[:3]
    if start.startswith(b"{"):
        return "json"
    return "md" if start.startswith((b"---", b"#")) else "yaml"


def decode(data: bytes) -> str:
    """The text of a file, with bare line feeds.

    Raises:
        Unreadable: It is too large, or is no UTF-8.
    """
    if len(data) > MAX_BYTES:
        text = f"has {len(data):,} bytes; {MAX_BYTES:,} (4 MiB) are allowed"
        raise Unreadable(1, text)
    if data.startswith(codecs.BOM_UTF8):
        raise Unreadable(
            1, "starts with a byte order mark; UTF-8 without one is allowed"
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"byte {data[error.start]:#04x} is not UTF-8; UTF-8 is allowed"
        raise Unreadable(line, what) from error
    return text.replace("\r\n", "\n")


def read(extension: Extension, data: bytes, report: Report) -> Node:
    """The tree of a plan file: a mapping.

    Raises:
        Unreadable: There is no such tree in it.
    """
    text = decode(data)
    if extension == "md":
        return _markdown(text, report)
    if extension == "json":
        root = read_json(text, report)
    elif extension == "toml":
        root = read_toml(text, report)
    else:
        root = read_yaml(text, report)
    return _mapping(root, 1)


def _mapping(root: Node | None, line: int) -> Node:
    if root is None or root.value is None:
        raise Unreadable(line, "is empty; a title is required")
    if not isinstance(root.value, dict):
        raise Unreadable(root.line, "is no mapping; keys with values are allowed")
    return root


def _markdown(text: str, report: Report) -> Node:
    front, body, body_line = _split(text)
    root = Node({}, 1)
    if front is not None:
        root = read_yaml(front, report, first_line=2) or root
    if root.value is None:
        root.value = {}
    values = _mapping(root, 2).value
    assert isinstance(values, dict)  # noqa: S101
    body_text = body.strip("\n").rstrip()
    if body_text:
        _add_description(values, body_text, body_line, report)
    title = values.get("title")
    if title is None or title.value is None:
        values["title"] = _title(body, body_line, report)
    return root


def _split(text: str) -> tuple[str | None, str, int]:
    """Front matter (None: there is none), body, and the line the body starts in."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return None, text, 1
    for index, line in enumerate(lines[1:], 1):
        if line.rstrip() == _FENCE:
            front = "\n".join(lines[1:index])
            return front, "\n".join(lines[index + 1 :]), index + 2
    raise Unreadable(1, "has front matter without an end; end it with a line '---'")


def _add_description(
    values: dict[str, Node], body: str, line: int, report: Report
) -> None:
    given = values.get("description")
    if given is not None and given.value is not None:
        report.add(
            given.key_line,
            "description",
            "is given here and as the text below; one is allowed",
        )
        return
    values["description"] = Node(body, line, line)


def _title(body: str, line: int, report: Report) -> Node:
    """The first heading outside of code."""
    fence = ""
    for number, text in enumerate(body.split("\n"), line):
        code = _CODE_FENCE.match(text)
        if code and fence in ("", code[1]):
            fence = "" if fence else code[1]
        heading = None if fence else _HEADING.match(text)
        if heading and heading[1].strip(" \t#"):
            title = re.sub(r"(?:^|[ \t])#+[ \t]*$", "", heading[1]).strip()
            return Node(title, number, number)
    report.add(1, "title", "missing; give the document a heading")
    return Node(BAD, 1, 1)
