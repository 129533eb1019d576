"""One file of the state tree, judged by itself: name, mode, bytes, record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from json.encoder import encode_basestring
from typing import get_args

from percyd.core.ids import id_problem
from percyd.core.records import Agent, FormatMarker, Plan, Record, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import Entry
from percyd.errors import GitError, StateRefused
from percyd.repo.reader import ObjectReader
from percyd.state import codec
from percyd.state.verify.commits import FileChange, one_ahead

_MODE = "100644"
_TIMES = ("created_at", "updated_at", "started_at")
_TIME = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\dZ")
#: Between two members of a record, and behind the last.
_MEMBER = b'\n "'
_END = b"\n}\n"
#: So many files are read ahead.
_CHUNK = 200


@lru_cache(maxsize=1 << 15)
def kind_of(path: str) -> tuple[str, str] | None:
    """What the format has under this name, and of which id; None if nothing."""
    if path == codec.MARKER_PATH:
        return "marker", ""
    found = codec.removed(path)
    if found is None or found[0] == "agent":
        return found
    return None if any(map(id_problem, found[1].split("."))) else found


def is_read(file: FileChange) -> bool:
    """Whether a file's content is looked at."""
    if file.oid is None or file.mode != _MODE:
        return False
    found = kind_of(file.path)
    return found is not None and found[0] != "source"


def contents(reader: ObjectReader, oids: Sequence[Oid]) -> Iterator[bytes | None]:
    """The contents of blobs in order; None for what cannot be read."""
    for chunk in one_ahead(_chunks(reader, oids)):
        yield from chunk


def _chunks(reader: ObjectReader, oids: Sequence[Oid]) -> Iterator[list[bytes | None]]:
    for start in range(0, len(oids), _CHUNK):
        asked = oids[start : start + _CHUNK]
        try:
            yield list(reader.read_many(asked))
        except GitError:
            yield [_content(reader, oid) for oid in asked]


def _content(reader: ObjectReader, oid: Oid) -> bytes | None:
    try:
        found = reader.read(oid)
    except GitError:
        return None
    return None if found is None else found[2]


def name_problem(file: FileChange) -> str | None:
    """What is wrong with a file without a look into it."""
    if kind_of(file.path) is None:
        return "is no file of the format"
    if file.oid is not None and file.mode != _MODE:
        return f"has mode {file.mode}, not {_MODE}"
    return None


class Files:
    """Decodes files; remembers their canonical bytes to compare the next ones with."""

    def __init__(self) -> None:
        self._canonical: dict[str, bytes] = {}

    def decode(
        self, path: str, content: bytes | None
    ) -> tuple[Entry | None, list[str]]:
        """The entry in a file, None if there is none in it; and what is wrong."""
        if content is None:
            return None, ["cannot be read"]
        try:
            entry = codec.decode(path, content)
        except StateRefused as error:
            return None, [error.message.removeprefix(f"{path}: ")]
        if isinstance(entry, Task | Plan | Agent | FormatMarker):
            return entry, list(self._flaws(path, entry, content))
        return entry, []

    def _flaws(self, path: str, record: Record, content: bytes) -> Iterator[str]:
        kind = type(record).__name__
        earlier = self._canonical.get(path) or self._canonical.get(kind, b"")
        if _is_canonical(_news(earlier, content)):
            self._canonical[path] = self._canonical[kind] = content
        else:
            yield "is not in canonical form: sorted keys, indent 1, a newline at the end"
        missing = sorted(_missing(record))
        if missing:
            yield f"lacks the keys {', '.join(missing)}"
        fields = record.__dict__
        for key in _TIMES:
            time = fields.get(key)
            if time is not None and not _TIME.fullmatch(time):
                yield f"{key} is {time!r}, not YYYY-MM-DDTHH:MM:SSZ"


def _news(canonical: bytes, content: bytes) -> bytes:
    """A document of those members of ``content`` that another document has not.

    Encoding is what takes longest in a verification. Where the other document
    is canonical and has the same keys, ``content`` is canonical if and only if
    this one is, with its few members instead of forty.
    """
    before, after = canonical.split(_MEMBER), content.split(_MEMBER)
    if len(before) != len(after) or not content.endswith(_END):
        return content
    after[-1] = after[-1].removesuffix(_END) + b","
    before[-1] = before[-1].removesuffix(_END) + b","
    changed = []
    for old, new in zip(before, after, strict=True):
        if old != new:
            same_key = old.partition(b'"')[0] == new.partition(b'"')[0]
            if not same_key or not new.endswith(b","):
                return content
            changed.append(new)
    if not changed:
        return content
    return b"{" + _MEMBER + _MEMBER.join(changed)[:-1] + _END


def _is_canonical(content: bytes) -> bool:
    try:
        fields = json.loads(content, parse_constant=_refuse)
        return content == f"{_render(fields)}\n".encode()
    except (ValueError, RecursionError):
        return False


def _render(value: object, edge: str = "\n") -> str:
    """Canonical JSON; with an indent, the standard library's takes twice as long."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return encode_basestring(value)
    inner = f"{edge} "
    if isinstance(value, dict):
        rows = [
            f"{encode_basestring(key)}: {_render(item, inner)}"
            for key, item in sorted(value.items())
        ]
        return f"{{{inner}{f',{inner}'.join(rows)}{edge}}}" if rows else "{}"
    if isinstance(value, list):
        rows = [_render(item, inner) for item in value]
        return f"[{inner}{f',{inner}'.join(rows)}{edge}]" if rows else "[]"
    return json.dumps(value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _missing(record: Record, prefix: str = "") -> Iterator[str]:
    """Keys that are not there: readers take them as null, writers must write them."""
    keys, inner = _keys(type(record))
    if not keys <= record.model_fields_set:
        yield from (prefix + key for key in keys - record.model_fields_set)
    fields = record.__dict__
    for key in inner:
        value = fields[key]
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Record):
                yield from _missing(item, f"{prefix}{key}.")


@cache
def _keys(model: type[Record]) -> tuple[frozenset[str], tuple[str, ...]]:
    """A record's keys, and those of them under which there may be records."""
    inner = [
        key
        for key, info in model.model_fields.items()
        if any(
            _is_record(part) for part in (info.annotation, *get_args(info.annotation))
        )
    ]
    return frozenset(model.model_fields), tuple(inner)


def _is_record(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Record)


def archive_problem(content: bytes | None, kept: list[Record]) -> str | None:
    """What is wrong with an archive that has to hold these records, in this order."""
    try:
        lines = [json.loads(line) for line in (content or b"").splitlines()]
    except (ValueError, RecursionError):
        return "is not one JSON document a line"
    if lines != [record.model_dump(mode="json") for record in kept]:
        return "does not hold the plan and its tasks, by id, as they were"
    return None
