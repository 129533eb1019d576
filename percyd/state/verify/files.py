"""One file of the state tree, judged by itself: name, mode, bytes, record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Annotated, Any, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

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
#: A file with another one of these is not just a later version of the same record.
_NAMES = frozenset({"id", "plan", "format"})
#: The members that are canonical for certain: a plain text, a short number, a constant.
_PLAIN = re.compile(
    rb'[a-z_]+": (?:"[ !#-\[\]-~]*"|0|-?[1-9][0-9]{0,15}|null|true|false|\[\]|\{\}),'
)
#: So many of the files that came last are kept split into their members.
_SPLIT = 1000
#: A number that is written in one of several ways, or is no JSON.
_OTHER_NUMBER = re.compile(rb'(?:": |\n +)-?(?:[0-9.]+[eE]|NaN|Infinity)')
_ANY: TypeAdapter[Any] = TypeAdapter(Any)
_NESTED = frozenset({dict, list})
#: So many files are read ahead.
_CHUNK = 200

Known: TypeAlias = Task | Plan | Agent | FormatMarker


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
    """Decodes files; remembers each that is sound, to compare the next ones with.

    A commit changes a few members of a record. Where all others are, byte by byte, those
    of a file without any flaw, only these few are looked into.
    """

    def __init__(self) -> None:
        self._sound: dict[str, tuple[bytes, Known]] = {}
        self._split: dict[str, list[bytes]] = {}

    def decode(
        self, path: str, content: bytes | None
    ) -> tuple[Entry | None, list[str]]:
        """The entry in a file, None if there is none in it; and what is wrong."""
        if content is None:
            return None, ["cannot be read"]
        members = _members(content)
        record = self._moved_on(path, members)
        if record is not None:
            self._remember(path, content, record, members)
            return record, []
        try:
            entry = codec.decode(path, content)
        except StateRefused as error:
            return None, [error.message.removeprefix(f"{path}: ")]
        if not isinstance(entry, Known):
            return entry, []
        problems = list(_flaws(entry, content))
        if not problems:
            self._remember(path, content, entry, members)
        return entry, problems

    def _remember(
        self, path: str, content: bytes, record: Known, members: list[bytes]
    ) -> None:
        self._sound[path] = content, record
        self._split.pop(path, None)
        self._split[path] = members
        if len(self._split) > _SPLIT:
            del self._split[next(iter(self._split))]

    def _moved_on(self, path: str, members: list[bytes]) -> Known | None:
        """The record of these members, if it is certain that nothing is wrong with it."""
        earlier = self._sound.get(path)
        if earlier is None:
            return None
        changed = _changed(self._split.get(path) or _members(earlier[0]), members)
        if not changed:
            return None
        others = [member for member in changed if not _PLAIN.fullmatch(member)]
        if others and not _is_canonical(_document(others)):
            return None
        return _with_members(earlier[1], _document(changed))


def _flaws(record: Record, content: bytes) -> Iterator[str]:
    if not _is_canonical(content):
        yield "is not in canonical form: sorted keys, indent 1, a newline at the end"
    missing = sorted(_missing(record))
    if missing:
        yield f"lacks the keys {', '.join(missing)}"
    fields = record.__dict__
    for key in _TIMES:
        if _is_wrong_time(fields.get(key)):
            yield f"{key} is {fields[key]!r}, not YYYY-MM-DDTHH:MM:SSZ"


def _is_wrong_time(time: str | None) -> bool:
    return time is not None and not _TIME.fullmatch(time)


def _members(content: bytes) -> list[bytes]:
    """What stands between the quotes that begin members, each with its comma."""
    if not content.endswith(_END):
        return []
    return (content[: -len(_END)] + b",").split(_MEMBER)


def _document(members: list[bytes]) -> bytes:
    return b"{" + _MEMBER + _MEMBER.join(members)[:-1] + _END


def _changed(before: list[bytes], after: list[bytes]) -> list[bytes] | None:
    """The members that differ; None if not all keys are the same, in the same order.

    Where the document of ``before`` is canonical, the one of ``after`` is if and only
    if each of these is.
    """
    if len(before) != len(after):
        return None
    changed = []
    for old, new in zip(before, after, strict=True):
        if old == new:
            continue
        key = old.partition(b'"')[0]
        is_same_key = key == new.partition(b'"')[0] and b"\\" not in key
        if not is_same_key or not new.endswith(b","):
            return None
        changed.append(new)
    return changed


def _with_members(record: Known, document: bytes) -> Known | None:
    """A record with other members, none of which may have a flaw or name the record."""
    model = type(record)
    try:
        found = _some_of(model).model_validate_json(document, strict=True)
    except ValidationError:
        return None
    keys, fields = found.model_fields_set, found.__dict__
    if found.model_extra or not keys.isdisjoint(_NAMES):
        return None
    for key in _keys(model)[1] & keys:
        if fields[key] and any(True for _ in _missing_in(fields[key], key)):
            return None
    if any(_is_wrong_time(fields[key]) for key in _TIMES if key in keys):
        return None
    return record.model_copy(update={key: fields[key] for key in keys})


@cache
def _some_of(model: type[Record]) -> type[BaseModel]:
    """A model of any of a record's members, each as it is in the record itself."""
    # `Annotated` needs something to say; None says nothing.
    fields: dict[str, Any] = {
        key: (Annotated[info.annotation, None, *info.metadata], None)
        for key, info in model.model_fields.items()
    }
    return create_model(
        f"SomeOf{model.__name__}", __config__=ConfigDict(extra="allow"), **fields
    )


def _is_canonical(content: bytes) -> bool:
    try:
        return _is_surely_canonical(content) or content == _encoded(content)
    except (ValueError, RecursionError):
        return False


def _encoded(content: bytes) -> bytes:
    """What the format says that a document looks like."""
    value = json.loads(content, parse_constant=_refuse)
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False)
    return f"{text}\n".encode()


def _is_surely_canonical(content: bytes) -> bool:
    """The same in a tenth of the time; where this says no, it is not certain.

    pydantic writes JSON as the standard library does, but for the order of keys, for
    numbers with an exponent and for what is no JSON; and it lets the last of equal keys
    win, so that the others are missed in what it writes.
    """
    try:
        value = _ANY.validator.validate_json(content)
    except ValidationError:
        return False
    return (
        content == _ANY.serializer.to_json(value, indent=1) + b"\n"
        and _is_in_order(value)
        and not _OTHER_NUMBER.search(content)
    )


def _is_in_order(value: Any) -> bool:
    """Whether the keys of every object in a value are sorted."""
    if type(value) is dict:
        if [*value] != sorted(value):
            return False
        value = value.values()
    elif type(value) is not list:
        return True
    return all(_is_in_order(item) for item in value if type(item) in _NESTED)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _missing(record: Record, prefix: str = "") -> Iterator[str]:
    """Keys that are not there: readers take them as null, writers must write them."""
    keys, inner = _keys(type(record))
    if not keys <= record.model_fields_set:
        yield from (prefix + key for key in keys - record.model_fields_set)
    fields = record.__dict__
    for key in inner:
        if fields[key]:
            yield from _missing_in(fields[key], f"{prefix}{key}.")


def _missing_in(value: object, prefix: str) -> Iterator[str]:
    """The keys that are not there in the records that a value is or holds."""
    for item in value if isinstance(value, tuple) else (value,):
        if isinstance(item, Record):
            yield from _missing(item, prefix)


@cache
def _keys(model: type[Record]) -> tuple[frozenset[str], frozenset[str]]:
    """A record's keys, and those of them under which there may be records."""
    inner = [
        key
        for key, info in model.model_fields.items()
        if any(
            _is_record(part) for part in (info.annotation, *get_args(info.annotation))
        )
    ]
    return frozenset(model.model_fields), frozenset(inner)


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
