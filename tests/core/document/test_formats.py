"""The four syntaxes: values, lines, and what each refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.core.document import yamltree
from percyd.core.document.formats import MAX_BYTES, decode, extension_of, read
from percyd.core.document.jsontree import read_json
from percyd.core.document.nodes import MAX_VALUES, Bad, Node
from percyd.core.document.problems import (
    MAX_PROBLEMS,
    Problem,
    Report,
    Unreadable,
    escaped,
)
from percyd.core.document.tomltree import read_toml
from percyd.core.document.yamltree import read_yaml

READERS = {"json": read_json, "yaml": read_yaml, "toml": read_toml}
fuzz = settings(derandomize=True, deadline=None, max_examples=200)


def plain(node: Node | None) -> Any:
    """The values without their lines."""
    if node is None:
        return None
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return "BAD" if isinstance(node.value, Bad) else node.value


def found_in(extension: str, text: str) -> list[str]:
    """What is wrong with a text, one line each."""
    report = Report(f"f.{extension}")
    try:
        READERS[extension](text, report)
    except Unreadable as fault:
        report.stop(fault)
    return [str(problem) for problem in report.problems]


def line_of(root: Node | None, *path: str | int) -> tuple[int, int]:
    """The line of a key, and of its value."""
    node = root
    for step in path:
        assert node is not None
        if isinstance(node.value, dict):
            node = node.value[str(step)]
        else:
            assert isinstance(node.value, list)
            assert isinstance(step, int)
            node = node.value[step]
    assert node is not None
    return node.key_line, node.line


@pytest.mark.parametrize(
    ("name", "data", "extension"),
    [
        ("a.md", b"{}", "md"),
        ("a.b.json", b"# x", "json"),
        (".percy/plans/a.yml", b"{}", "yml"),
        ("a.toml", b"", "toml"),
        ("-", b' \n {"title": 1}', "json"),
        ("-", b"---\ntitle: x\n---\n", "md"),
        ("-", b"# Title\n", "md"),
        ("-", b"title: x\n", "yaml"),
        ("-", b"", "yaml"),
        ("json", b"title: x\n", "yaml"),
        ("a.txt", b"# Title\n", "md"),
    ],
)
def test_the_format_is_told_by_the_name_else_by_the_start(
    name: str, data: bytes, extension: str
) -> None:
    assert extension_of(name, data) == extension


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"\xef\xbb\xbftitle: x", 1, "byte order mark"),
        (b"a\nb\nc \xff d", 3, "byte 0xff is not UTF-8"),
        (b"a\r\n\xed\xa0\x80", 2, "byte 0xed is not UTF-8"),
        (b"\xff\xfea\0", 1, "byte 0xff is not UTF-8"),
        (b" " * (MAX_BYTES + 1), 1, "4,194,305 bytes; 4,194,304 (4 MiB) are allowed"),
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes, line: int, what: str) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(data)

    assert caught.value.line == line
    assert what in caught.value.text


JSON = """{
  "title": "x",
  "list": [
    1, -2.5e1,

    true, {"deep": null}],
\t"text": "a\\n\\ud83d\\ude00\\/ b",
  "empty": [{}, []]
}
"""


def test_json_values_and_lines() -> None:
    root = read_json(JSON, Report("f.json"))

    assert plain(root) == json.loads(JSON)
    assert line_of(root, "title") == (2, 2)
    assert line_of(root, "list", 1) == (0, 4)
    assert line_of(root, "list", 3, "deep") == (6, 6)
    assert line_of(root, "text") == (7, 7)
    assert line_of(root, "empty", 1) == (0, 8)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f.json:1: document: is empty; JSON needs a value here"),
        ("{\n\n", "f.json:3: document: ends too early; JSON needs a key or '}' here"),
        (
            '{"a": 1,\n "a": 2}',
            "f.json:2: a: is given twice, first in line 1; keep one",
        ),
        ('{\n"a": NaN}', "f.json:2: a: NaN is not allowed; give a finite number"),
        ('{"a": [0,\n-Infinity]}', "f.json:2: a[1]: -Infinity is not allowed; "),
        ('{"a": 1e999}', "f.json:1: a: NaN and infinity are not allowed; "),
        ('{"a": ' + "9" * 5000 + "}", "f.json:1: a: a number of 5,000 characters; 64"),
        ('{"a": ' + "9" * 20 + "}", "f.json:1: a: a number is too large; 64 bits are"),
        ('{"a":\n"\\ud800"}', "f.json:2: a: holds half a surrogate pair; "),
        (
            '{"a": 1}\n{',
            "f.json:2: document: is not valid JSON at '{'; it needs nothing",
        ),
        (
            '{"a": 01}',
            "f.json:1: document: is not valid JSON at '01}'; it needs a value",
        ),
        (
            '{"a": 1.}',
            "f.json:1: document: is not valid JSON at '1.}'; it needs a value",
        ),
        ('{"a" 1}', "f.json:1: document: is not valid JSON at '1'; it needs ':' here"),
        ('{"a": 1,}', "f.json:1: document: is not valid JSON at '}'; it needs a key"),
        ("{'a': 1}", "f.json:1: document: is not valid JSON at ''a': 1}'; it needs a"),
        ("[1,\n]", "f.json:2: document: is not valid JSON at ']'; it needs a value"),
        (
            "[1 2]",
            "f.json:1: document: is not valid JSON at '2'; it needs ',' or the end",
        ),
        (
            "[1}",
            "f.json:1: document: is not valid JSON at '}'; it needs ',' or the end",
        ),
        (
            '["a\nb"]',
            "f.json:1: document: is not valid JSON at '\"a'; it needs a value",
        ),
        ('["\\x"]', "f.json:1: document: is not valid JSON at '\"\\x\"'; it needs a"),
        ('["a]', "f.json:1: document: is not valid JSON at '\"a]'; it needs a value"),
        (
            "// x\n{}",
            "f.json:1: document: is not valid JSON at '// x'; it needs a value",
        ),
        ("[tru]", "f.json:1: document: is not valid JSON at 'tru]'; it needs a value"),
        (":", "f.json:1: document: is not valid JSON at ':'; it needs a value"),
    ],
)
def test_json_that_is_refused(text: str, problem: str) -> None:
    (found,) = found_in("json", text)

    assert found.startswith(problem)


def test_json_goes_on_after_a_bad_value() -> None:
    text = '{"a": NaN,\n"b": {"c": 1,\n"c": [{"d": 2}]},\n"e": Infinity}'

    assert [line.split(":")[1:3] for line in found_in("json", text)] == [
        ["1", " a"],
        ["3", " b.c"],
        ["4", " e"],
    ]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@fuzz
@given(json_values, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_read_as_the_library_reads_it(
    value: object, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    assert plain(read_json(text, Report("f.json"))) == value


@fuzz
@given(st.text(st.sampled_from('[]{}:,"\\ 01.eE-+ntrueNaN\n')))
def test_what_json_takes_the_library_takes_too(text: str) -> None:
    report = Report("f.json")
    try:
        root = read_json(text, report)
    except Unreadable:
        return
    if not report.problems:
        assert plain(root) == json.loads(text)


YAML = """\
# comment
title: x
list:
  - 1
  - deep: ~
    quoted: "1"
flow: [a,
  {b: 2.5}]
block: |
  one

  two
after: yes
tagged: !!str 5
"""


def test_yaml_values_and_lines() -> None:
    root = read_yaml(YAML, Report("f.yaml"))

    assert plain(root) == yaml.safe_load(YAML)
    assert line_of(root, "title") == (2, 2)
    assert line_of(root, "list") == (3, 4)
    assert line_of(root, "list", 1, "quoted") == (6, 6)
    assert line_of(root, "flow", 1, "b") == (8, 8)
    assert line_of(root, "block") == (9, 9)
    assert line_of(root, "after") == (13, 13)


@pytest.mark.parametrize("breaks", ["\u2028", "\x85", "\u2029"])
def test_lines_are_those_that_editors_count(breaks: str) -> None:
    root = read_yaml(f"a: 'x{breaks}y'\nb: 1\n", Report("f.yaml"))

    assert line_of(root, "b") == (2, 2)


def test_yaml_without_the_fast_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamltree, "_Loader", yaml.SafeLoader)

    root = read_yaml(YAML, Report("f.yaml"))

    assert plain(root) == yaml.safe_load(YAML)
    assert line_of(root, "after") == (13, 13)
    assert found_in("yaml", "a: 1\nb: \x01")[0].startswith("f.yaml:2: document: is not")


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("TRUE", True),
        ("yes", True),
        ("off", False),
        ("n", "n"),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        # Other readers disagree on these, so they are nothing but text.
        ("010", "010"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("'yes'", "yes"),
        ("!!int '5'", 5),
    ],
)
def test_yaml_scalars(scalar: str, value: object) -> None:
    report = Report("f.yaml")
    got = plain(read_yaml(f"a: {scalar}\n", report))["a"]

    assert (got, type(got)) == (value, type(value))
    assert not report.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\n\na: 2", "f.yaml:3: a: is given twice, first in line 1; keep one"),
        ("x: 1\na: &b 2", "f.yaml:2: a: has the anchor '&b'; anchors are not allowed"),
        ("- &b {}", "f.yaml:1: [0]: has the anchor '&b'; anchors are not allowed"),
        ("a:\n - *b", "f.yaml:2: a[0]: is an alias; write the value out"),
        (
            "a:\n  !!python/object:os.system x",
            "f.yaml:2: a: has the tag 'tag:yaml.org,2002:python/object:os.system'; tags",
        ),
        (
            "a: !!python/object/apply:os.system [x]",
            "f.yaml:1: a: has the tag 'tag:yaml",
        ),
        ("a: !mine x", "f.yaml:1: a: has the tag '!mine'; tags are not allowed"),
        (
            "a: !!timestamp 2026-01-01",
            "f.yaml:1: a: has the tag 'tag:yaml.org,2002:tim",
        ),
        ("!!python/name:os.x a: 1", "f.yaml:1: a: has the tag 'tag:yaml.org,2002:py"),
        ("a: !!int x", "f.yaml:1: a: 'x' is no int; correct it"),
        ("a: .nan", "f.yaml:1: a: .nan is not allowed; give a finite number"),
        ("a: -.INF", "f.yaml:1: a: -.INF is not allowed; give a finite number"),
        ("a: 1e999", "f.yaml:1: a: NaN and infinity are not allowed; give a finite"),
        ("a: " + "9" * 5000, "f.yaml:1: a: a number of 5,000 characters; 64 bits are"),
        ("? [a]\n: b", "f.yaml:1: document: has a list, mapping or alias for a key"),
        ("a: 1\n---\nb: 2", "f.yaml:2: document: is a second YAML document; one in a"),
        ("a: 1\nb: c: d", "f.yaml:2: document: is not valid YAML: mapping values are"),
        ("a: 1\n\tb: 2", "f.yaml:2: document: is not valid YAML: found a tab char"),
        ("a:\n\t- b: 2", "f.yaml:2: document: is not valid YAML: found character"),
        ("a: [1,\n", "f.yaml:2: document: is not valid YAML: did not find expected"),
        ("é: 1\nb: \x01", "f.yaml:2: document: is not valid YAML: control characters"),
        ('a: "\\ud800"', "f.yaml:1: document: is not valid YAML: found invalid"),
        ("%YAML 9.9\n---\na: 1", "f.yaml:1: document: is not valid YAML: found incomp"),
    ],
)
def test_yaml_that_is_refused(text: str, problem: str) -> None:
    (found,) = found_in("yaml", text)

    assert found.startswith(problem)


@pytest.mark.parametrize("text", ["a: 1\n\tb: 2", "é:\n\t- b: 2", "\ta: 1"])
def test_a_tab_in_yaml_gets_advice_of_its_own(text: str) -> None:
    (found,) = found_in("yaml", text)

    assert found.endswith("YAML allows no tabs for indentation; put spaces there")


def test_a_yaml_bomb_stays_small() -> None:
    text = "a: &a [x, x]\n" + "".join(
        f"{chr(c)}: &{chr(c)} [*{chr(c - 1)}, *{chr(c - 1)}]\n"
        for c in range(ord("b"), ord("z"))
    )

    found = found_in("yaml", text)

    assert len(found) == 24 * 3 + 1
    assert "f.yaml:2: b[1]: is an alias; write the value out" in found


TOML = '''\
title = "x" # comment [[[
long = """
a "quoted" \\
  b""\"""
other = 1

[defaults]
"runner" = 'r'
deep.er.key = [1.5,
  2]

[[tasks]]
id = "a"
depends_on = [
  # why
  "b",
  "c", { x = 1, y = [
    true] }
]
[[tasks]]
id = 'b'
[tasks.sub]
z = -1
'''


def test_toml_values_and_lines() -> None:
    root = read_toml(TOML, Report("f.toml"))

    assert plain(root)["tasks"][1] == {"id": "b", "sub": {"z": -1}}
    assert line_of(root, "title") == (1, 1)
    assert line_of(root, "long") == (2, 2)
    assert line_of(root, "other") == (5, 5)
    assert line_of(root, "defaults") == (7, 7)
    assert line_of(root, "defaults", "runner") == (8, 8)
    assert line_of(root, "defaults", "deep", "er", "key", 1) == (0, 10)
    assert line_of(root, "tasks") == (12, 12)
    assert line_of(root, "tasks", 0, "depends_on", 0) == (0, 16)
    assert line_of(root, "tasks", 0, "depends_on", 2, "y", 0) == (0, 18)
    assert line_of(root, "tasks", 1) == (0, 20)
    assert line_of(root, "tasks", 1, "id") == (21, 21)
    assert line_of(root, "tasks", 1, "sub", "z") == (23, 23)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\n\na = 2", "f.toml:3: a: is given twice, first in line 1; keep one"),
        ("[[t]]\na = 1\na = 2", "f.toml:3: t[0].a: is given twice, first in line 2"),
        ("a = 1\nb = {c = 1, c = 2}", "f.toml:2: b.c: is given twice, first in line 2"),
        (
            "[a]\n[a]",
            "f.toml:2: document: is not valid TOML: Cannot declare ('a',) twic",
        ),
        ("a = 1\nb = nan", "f.toml:2: b: NaN and infinity are not allowed; give a fin"),
        ("a = [1,\n-inf]", "f.toml:2: a[1]: NaN and infinity are not allowed; give a"),
        ("a = " + "9" * 5000, "f.toml:1: a: a number of 5,000 characters; 64 bits are"),
        ("a = 99999999999999999999", "f.toml:1: a: a number is too large; 64 bits are"),
        ("a = 1\nb = 2026-01-01", "f.toml:2: b: is a date or time; put it in quotes"),
        ("a = 07:32:00", "f.toml:1: a: is a date or time; put it in quotes"),
        ("a = 1\nb", "f.toml:2: document: is not valid TOML: Expected '='"),
        ("a = 1\nb = 'x\n", "f.toml:2: document: is not valid TOML: "),
        ('a = """x\n\n', "f.toml:1: document: is not valid TOML: "),
        ("a = [1,\n", "f.toml:1: document: is not valid TOML: "),
        ("a = 1 \x01", "f.toml:1: document: is not valid TOML: "),
        ('a = "\\ud800"', "f.toml:1: document: is not valid TOML: "),
        ("[a\nb = 1", "f.toml:1: document: is not valid TOML: Expected ']'"),
    ],
)
def test_toml_that_is_refused(text: str, problem: str) -> None:
    (found,) = found_in("toml", text)

    assert found.startswith(problem)


def test_equal_keys_after_the_real_mistake_are_not_blamed() -> None:
    (found,) = found_in("toml", "a = 1\nb = = 2\na = 1\n")

    assert found.startswith("f.toml:2: document: is not valid TOML: Invalid value")


@pytest.mark.parametrize(
    ("extension", "text"),
    [
        ("json", "[" * 200_000),
        ("json", '{"a":' * 200_000),
        ("yaml", "[" * 200_000),
        ("yaml", "a: " + "{a: " * 200_000),
        ("yaml", "- " * 200_000),
        ("toml", "a = " + "[" * 200_000),
        ("toml", "a = " + "{a = " * 200_000),
        ("toml", "a." * 200_000 + "b = 1"),
        ("toml", "[" + "a." * 200_000 + "b]"),
    ],
)
def test_depth_is_refused_at_once(extension: str, text: str) -> None:
    (found,) = found_in(extension, text)

    assert found == (
        f"f.{extension}:1: document: is nested too deep; 50 levels are allowed"
    )


@pytest.mark.parametrize(
    ("extension", "start"), [("json", ""), ("yaml", ""), ("toml", "a = ")]
)
def test_fifty_levels_are_allowed(extension: str, start: str) -> None:
    most = 50 if extension != "toml" else 49

    assert not found_in(extension, f"{start}{'[' * most}{']' * most}")
    assert found_in(extension, f"{start}{'[' * (most + 1)}{']' * (most + 1)}")


@pytest.mark.parametrize(
    ("extension", "start"), [("json", "["), ("yaml", "["), ("toml", "a = [")]
)
def test_the_number_of_values_is_bounded(extension: str, start: str) -> None:
    (found,) = found_in(extension, start + "0," * MAX_VALUES + "0]")

    assert found == (
        f"f.{extension}:1: document: holds too many values; 500,000 are allowed"
    )


def test_the_number_of_problems_is_bounded() -> None:
    found = found_in("json", "[" + "NaN," * 5_000 + "0]")

    assert len(found) == MAX_PROBLEMS + 1
    assert "there are more than 1,000 problems" in found[-1]


def test_markdown_is_split_with_the_right_lines() -> None:
    report = Report("f.md")
    root = read("md", b"---\nstatus: draft\n---\n\n# Head #\n\nText.\n\n", report)

    assert plain(root) == {
        "status": "draft",
        "title": "Head",
        "description": "# Head #\n\nText.",
    }
    assert line_of(root, "status") == (2, 2)
    assert line_of(root, "title") == (5, 5)
    assert line_of(root, "description")[0] == 4
    assert not report.problems


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ("# One\n# Two", "One"),
        ("text\n\n### Deep ###\n", "Deep"),
        ("#no heading\n## Yes", "Yes"),
        ("```sh\n# comment\n```\n# Yes", "Yes"),
        ("~~~\n```\n# no\n~~~\n# Yes", "Yes"),
        ("#\n# \n# Yes", "Yes"),
        ("# C#", "C#"),
        ("    # code\n# Yes", "Yes"),
        ("####### seven\n# Yes", "Yes"),
    ],
)
def test_the_title_is_the_first_heading(body: str, title: str) -> None:
    assert plain(read("md", body.encode(), Report("f.md")))["title"] == title


texts = st.text(st.characters(codec="utf-8"))
marks = [*""":-[]{},"'#=.&*!|>\\1abé \n\t\r""", '"""', "'''", "---", ": ", "- "]
pieces = st.lists(st.sampled_from(marks)).map("".join)


@fuzz
@given(st.sampled_from(list(READERS)), texts | pieces)
def test_no_text_raises_anything_else(extension: str, text: str) -> None:
    for line in found_in(extension, text):
        assert len(line) < 300
        assert line.isascii()
        assert line.isprintable()
        assert 1 <= int(line.split(":")[1]) <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("plain", 80, "plain"),
        ("a\x1b[31m\n\0", 80, "a\\x1b[31m\\n\\x00"),
        ("é\u202e\U0001f600", 80, "\\xe9\\u202e\\U0001f600"),
        ("x" * 81, 80, "x" * 77 + "..."),
        ("x" * 80, 80, "x" * 80),
        ("\u202e" * 30, 20, "\\u202e\\u202e..."),
    ],
)
def test_what_is_shown_is_escaped_and_cut(text: str, limit: int, shown: str) -> None:
    assert escaped(text, limit) == shown


def test_a_problem_is_one_short_printable_line() -> None:
    problem = Problem("d\n/" * 500, 9_999_999, "\x1b" * 500, "\u202e" * 5_000)

    assert len(str(problem)) < 300
    assert str(problem).isprintable()
    assert str(Problem("a.md", 3, "title", "missing")) == "a.md:3: title: missing"
