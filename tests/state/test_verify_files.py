"""The short ways through a file say what the long ones say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from percyd.core.records import Attempt, Plan, Task, TaskResult, Verdict, Why
from percyd.state import codec
from percyd.state.verify import files
from tests.support.state import plan, task

Json = Any

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e16, 1e-5, 1.5, -0.0, 1e300])
    | st.text(max_size=9)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
_PIECES = (
    *(" ", "\n", ",", "\\u00e9", "\x7f", "\ud800", "NaN", "-Infinity", "1E5", "-0"),
    *('"a": 1,', "{}", "[]", "\\/", "\\u001F", "1.50", "e+16", "\ufeff"),
)


def text_of(value: Json) -> str:
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"


@settings(max_examples=600, derandomize=True, deadline=None)
@given(
    st.dictionaries(st.text(max_size=4), _VALUES, max_size=4),
    st.lists(st.tuples(st.integers(0, 80), st.sampled_from(_PIECES)), max_size=1),
    st.booleans(),
)
@example({"a": 1e16}, [], True)
@example({"a": float("nan")}, [], True)
@example({"a": [float("inf"), {"b": 1, "a": 2}]}, [], False)
def test_what_is_surely_canonical_is_canonical(
    value: Json, edits: list[tuple[int, str]], is_sorted: bool
) -> None:
    text = json.dumps(value, sort_keys=is_sorted, indent=1, ensure_ascii=False) + "\n"
    for at, piece in edits:
        text = text[:at] + piece + text[at:]
    content = text.encode("utf-8", "surrogatepass")
    if files._is_surely_canonical(content):
        assert files._encoded(content) == content


def test_a_record_as_percyd_writes_it_is_surely_canonical() -> None:
    for record in (full_task(), plan("p")):
        assert files._is_surely_canonical(codec.encode(record))


def full_task() -> Task:
    verdict = Verdict(status="passed", duration_s=1.5)
    entry = Attempt(
        number=1,
        agent="box-000001",
        claim="c",
        outcome="failed",
        reason=Why(code="conflict", message="Ünklar\n"),
        verdict=verdict,
    )
    result = TaskResult(commit="c" * 40, verdict=verdict)
    return task("p", "a", attempts=(entry,), result=result, created_at=TIME)


TIME = "2026-01-02T03:04:05Z"
#: Right and wrong ones for most members.
_MEMBERS: tuple[Json, ...] = (
    *(None, True, 0, 1, -1001, 1.5, 1e16, "", "x", "p.b", TIME, "1 May", [], {}),
    *(["x"], ["p.b"], [1], [None], {"code": "conflict", "message": ""}),
    *({"code": "conflict"}, {"code": "odd", "message": ""}, {"later": 1}),
    *("working", "done", "box-000001", [{"kind": "say", "text": "hi"}], 10**20),
    [{"attempt": None, "by": None, "kind": "say", "text": "hi"}],
    {"message": "", "code": "conflict"},
)


@pytest.mark.parametrize("model", [Task, Plan])
def test_a_file_is_judged_alike_with_and_without_an_earlier_version(
    model: type[Task | Plan],
) -> None:
    record = full_task() if model is Task else plan("p")
    path, first = codec.path_of(record), codec.encode(record)
    fields = json.loads(first)
    for key in fields:
        for value in _MEMBERS:
            text = json.dumps(
                {**fields, key: value}, indent=1, ensure_ascii=False
            ).encode()
            primed, fresh = files.Files(), files.Files()
            assert primed.decode(path, first)[1] == []
            entry, problems = primed.decode(path, text + b"\n")
            assert (entry, problems) == fresh.decode(path, text + b"\n"), (key, value)
            if entry is not None and isinstance(entry, Task | Plan):
                found = fresh.decode(path, text + b"\n")[0]
                assert isinstance(found, Task | Plan)
                assert entry.model_fields_set == found.model_fields_set


def test_an_unknown_member_is_kept_through_later_versions() -> None:
    record = task("p", "a", later={"b": 1})
    path, first = codec.path_of(record), codec.encode(record)
    known = files.Files()
    assert known.decode(path, first) == (record, [])
    moved = record.model_copy(update={"title": "Other"})
    assert known.decode(path, codec.encode(moved)) == (moved, [])
    newer = task("p", "a", later={"b": 2})
    assert known.decode(path, codec.encode(newer)) == (newer, [])


def test_a_version_behind_an_unsound_one_is_judged_by_itself() -> None:
    record = task("p", "a")
    path, first = codec.path_of(record), codec.encode(record)
    wrong = first.replace(b' "title"', b'  "title"')
    known = files.Files()
    assert known.decode(path, wrong)[1] != []
    other = first.replace(b"Task a", b"Task b").replace(b' "title"', b'  "title"')
    assert known.decode(path, other)[1] != []
    assert known.decode(path, first) == (record, [])
