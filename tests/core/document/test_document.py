"""Plan documents: one meaning in four syntaxes, and every problem with its line."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.core.document.names import is_plan_file, plan_id_of
from percyd.core.document.parse import Document, Parsed, json_schema, parse
from percyd.core.document.reading import NOT_YET
from percyd.core.graph import topological

fuzz = settings(derandomize=True, deadline=None, max_examples=150)

YAML = """\
title: Shop
description: |-
  # The shop

  Sells *things*.
status: draft
base: release/1.0
verify: make test
land: manual
review_plan: false
defaults:
  runner: claude
  specialization: Python
  timeout_s: 600
  max_attempts: 2
  review: false
  verify: no
tasks:
  - id: api
    title: Add the API
    description: "It lists é."
    type: feature
    specialization: [python, c++]
    paths: [src/api/, "*.toml"]
    priority: -5
    timeout_s: 0.5
    max_attempts: 100
    verify: false
  - id: web
    title: Add the page
    type: bug
    run: npm run build
    depends_on: [api]
    review: false
    allow_empty: true
"""
MARKDOWN = (
    "---\n"
    + YAML.replace("description: |-\n  # The shop\n\n  Sells *things*.\n", "", 1)
    + "---\n\n# The shop\n\nSells *things*.\n\n"
)
JSON = """\
{"title": "Shop", "description": "# The shop\\n\\nSells *things*.",
 "status": "draft", "base": "release/1.0", "verify": "make test", "land": "manual",
 "review_plan": false, "budget": null,
 "defaults": {"runner": "claude", "specialization": ["python"], "timeout_s": 600.0,
   "max_attempts": 2, "review": false, "verify": false},
 "tasks": [
 \t{"id": "api", "title": "Add the API", "description": "It lists \\u00e9.",
   "type": "implement", "specialization": ["python", "c++"], "runner": null,
   "paths": ["src/api/", "*.toml"], "priority": -5, "timeout_s": 5e-1,
   "max_attempts": 100, "verify": false},
  {"id": "web", "title": "Add the page", "type": "bugfix", "run": "npm run build",
   "depends_on": ["api"], "review": false, "allow_empty": true}]}
"""
TOML = """\
title = "Shop"
description = '''
# The shop

Sells *things*.'''
status = "draft"
base = "release/1.0"
verify = "make test"
land = "manual"
review_plan = false

[defaults]
runner = "claude"
specialization = ["PYTHON"]
timeout_s = 600
max_attempts = 2
review = false
verify = false
[[tasks]]
id = "api"
title = "Add the API"
description = "It lists \\u00e9."
specialization = ["python", "c++"]
paths = ["src/api/", "*.toml"]
priority = -5
timeout_s = 0.5
max_attempts = 100
verify = false
[[tasks]]
id = "web"
title = "Add the page"
type = "fix"
run = "npm run build"
depends_on = ["api"]
review = false
allow_empty = true
"""
FILES = {
    "s.yaml": YAML,
    "s.yml": YAML,
    "s.md": MARKDOWN,
    "s.json": JSON,
    "s.toml": TOML,
}


def problems(name: str, text: str | bytes) -> list[str]:
    """The problems of a document, each checked to be one short printable line."""
    data = text if isinstance(text, bytes) else text.encode()
    parsed = parse(name, data)
    assert (parsed.document is None) == bool(parsed.problems)
    lines = [str(problem) for problem in parsed.problems]
    assert all(len(line) < 300 for line in lines)
    assert all(line.isascii() and line.isprintable() for line in lines)
    return lines


def document(name: str, text: str) -> Document:
    """The document in a text without problems."""
    parsed = parse(name, text.encode())
    assert parsed.document is not None, [str(problem) for problem in parsed.problems]
    return parsed.document


@pytest.mark.parametrize("name", FILES)
def test_one_document_in_every_syntax(name: str) -> None:
    read = document(name, FILES[name])

    assert read == document("s.json", JSON)
    assert document(name, FILES[name].replace("\n", "\r\n")) == read


def test_what_a_document_says() -> None:
    read = document("s.json", JSON)

    assert read.tasks is not None
    assert read.defaults is not None
    api, web = read.tasks
    assert (read.status, read.verify, read.defaults.verify) == (
        "draft",
        "make test",
        False,
    )
    assert read.defaults.specialization == ("python",)
    assert (api.type, web.type) == ("implement", "fix")
    assert (api.verify, web.verify) == (False, None)
    assert (api.specialization, web.specialization) == (("python", "c++"), None)
    assert (api.priority, web.priority) == (-5, 0)
    assert web.depends_on == ("api",)


def test_documents_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        document("s.json", JSON).title = "other"  # type: ignore[misc]


def test_the_format_of_a_stream_is_told_by_its_start() -> None:
    assert parse("-", JSON.encode()).extension == "json"
    assert parse("-", MARKDOWN.encode()).extension == "md"
    assert parse("-", YAML.encode()).extension == "yaml"
    assert {parse("-", FILES[n].encode()).document for n in ("s.json", "s.md")} == {
        document("s.yaml", YAML)
    }


def test_prose_is_a_plan_without_tasks() -> None:
    text = "\nHello.\n\n## Do *it* ##\n\nPlease.\n"
    read = document("p.md", text)

    assert read.title == "Do *it*"
    assert read.description == "Hello.\n\n## Do *it* ##\n\nPlease."
    assert read.tasks is None


def test_front_matter_may_leave_the_title_to_the_heading() -> None:
    read = document("p.md", "---\nstatus: draft\n---\n# Do it\n")

    assert (read.title, read.status) == ("Do it", "draft")


def test_a_title_in_front_matter_goes_before_the_heading() -> None:
    assert document("p.md", "---\ntitle: A\n---\n# B\n").title == "A"


# One problem each: (text after "title: x\n", line, field, start of the text).
BAD_DOCUMENT = [
    ("titel: y", 2, "titel", "is no known key; did you mean title?"),
    ("qqq: y", 2, "qqq", "is no known key; known are title, description, status, base"),
    ("<<: {}", 2, "<<", "is no known key; known are"),
    ('"a\\e[31m": 1', 2, "a\\x1b[31m", "is no known key"),
    ("title: z", 2, "title", "is given twice, first in line 1; keep one"),
    ("status: done", 2, "status", "'done' is not allowed; give ready, draft"),
    ("status: [draft]", 2, "status", "a list is not allowed; give ready, draft"),
    ("description: 5", 2, "description", "5 is not allowed; give text, in quotes if"),
    ('description: "a\\0b"', 2, "description", "'a\\x00b' holds NUL"),
    ("verify: yes", 2, "verify", "true is not allowed; give a shell command, or false"),
    ("verify: ' '", 2, "verify", "' ' is empty; give a shell command"),
    ('verify: "a\\0"', 2, "verify", "'a\\x00' holds NUL; give a shell command"),
    ("verify: [make, test]", 2, "verify", "a list is not allowed; give a shell"),
    ("tasks: []", 2, "tasks", "is empty; list tasks, or remove it for a plan in prose"),
    ("tasks:", 2, "tasks", "is empty; list tasks, or remove it for a plan in prose"),
    ("tasks: {}", 2, "tasks", "a mapping is not allowed; give a list of tasks"),
    ("tasks: [a]", 2, "tasks[0]", "'a' is not allowed; give a mapping of id, title"),
    ("tasks:\n  - null", 3, "tasks[0]", "null is not allowed; give a mapping of id"),
    ("defaults: 5", 2, "defaults", "5 is not allowed; give a mapping of runner"),
    ("defaults: {run: x}", 2, "defaults.run", "is no known key; did you mean runner?"),
    ("defaults: {timeout_s: -1}", 2, "defaults.timeout_s", "-1 is not allowed; give"),
    # Not in this version.
    ("review_plan: true", 2, "review_plan", "reviews of plans are not supported by"),
    ("budget: {cost_usd: 0}", 2, "budget.cost_usd", "0 is not allowed"),
    ("budget: {tokens: 1.5}", 2, "budget.tokens", "1.5 is not allowed"),
    ("budget: {dollars: 5}", 2, "budget.dollars", "is no known key"),
    ("defaults: {review: true}", 2, "defaults.review", "reviews are not supported by"),
]
# One problem each: (keys of a task on lines of their own, from line 5).
BAD_TASK = [
    ("status: draft", 5, "status", "is no known key"),
    ("dependsOn: []", 5, "dependsOn", "is no known key; did you mean depends_on?"),
    ("type: implemnt", 5, "type", "'implemnt' is not allowed; give implement, test"),
    ("type: land", 5, "type", "'land' is not allowed; give implement"),
    ("type: plan", 5, "type", "'plan' is not allowed; give implement"),
    ("review: true", 5, "review", "reviews are not supported by this version; remove"),
    ("review: 1", 5, "review", "1 is not allowed; give true or false"),
    ("allow_empty: 'no'", 5, "allow_empty", "'no' is not allowed; give true or false"),
    ("run: x\nrunner: y", 5, "run", "excludes runner; one of them is allowed"),
    ("run: ''", 5, "run", "'' is empty; give a shell command"),
    ('run: "a\\0b"', 5, "run", "'a\\x00b' holds NUL; give a shell command"),
    ("run: true", 5, "run", "true is not allowed; give text, in quotes if need be"),
    ("runner: [claude]", 5, "runner", "a list is not allowed; give text"),
    ("runner: a b", 5, "runner", "'a b' is no runner's name"),
    ("runner: --x", 5, "runner", "'--x' is no runner's name"),
    ("runner: ../x", 5, "runner", "'../x' is no runner's name"),
    ("priority: 1001", 5, "priority", "1001 is not allowed; give a whole number from"),
    ("priority: -1001", 5, "priority", "-1001 is not allowed; give a whole number"),
    ("priority: true", 5, "priority", "true is not allowed; give a whole number"),
    ("priority: 1.0", 5, "priority", "1.0 is not allowed; give a whole number from"),
    ("priority: 1e308", 5, "priority", "1e+308 is not allowed; give a whole number"),
    ("priority: high", 5, "priority", "'high' is not allowed; give a whole number"),
    ("timeout_s: 0", 5, "timeout_s", "0 is not allowed; give seconds above 0, up to 6"),
    ("timeout_s: -5", 5, "timeout_s", "-5 is not allowed; give seconds above 0"),
    ("timeout_s: 604801", 5, "timeout_s", "604801 is not allowed; give seconds above"),
    ("timeout_s: 1:30", 5, "timeout_s", "'1:30' is not allowed; give seconds above 0"),
    ("timeout_s: true", 5, "timeout_s", "true is not allowed; give seconds above 0"),
    ("timeout_s: .inf", 5, "timeout_s", ".inf is not allowed; give a finite number"),
    ("max_attempts: 0", 5, "max_attempts", "0 is not allowed; give a whole number fr"),
    ("max_attempts: 101", 5, "max_attempts", "101 is not allowed; give a whole number"),
    ("max_attempts: 2.5", 5, "max_attempts", "2.5 is not allowed; give a whole number"),
    ("depends_on: b", 5, "depends_on", "'b' is not allowed; give a list, such as [ot"),
    ("depends_on: [1]", 5, "depends_on[0]", "1 is not allowed; give text, in quotes"),
    ("depends_on:\n - no", 6, "depends_on[0]", "false is not allowed; give text"),
    ("depends_on: [null]", 5, "depends_on[0]", "null is not allowed; give text"),
    (
        "depends_on:\n - zzz",
        6,
        "depends_on[0]",
        "'zzz' is no task of this plan; ids of",
    ),
    ("depends_on: [a]", 5, "depends_on[0]", "'a' is the task itself; other tasks of"),
    ("depends_on: [shop.b]", 5, "depends_on[0]", "'shop.b' is no task of this plan; d"),
    ("paths: src", 5, "paths", "'src' is not allowed; give a list, such as [src/]"),
    ("paths: ['']", 5, "paths[0]", "'' is empty; patterns from the repository's root"),
    ("paths:\n - a\n - /etc", 7, "paths[1]", "'/etc' starts with '/'; patterns from"),
    ("paths: [../x]", 5, "paths[0]", "'../x' holds '..'; patterns from the"),
    ("paths: [a/../b]", 5, "paths[0]", "'a/../b' holds '..'; patterns from the"),
    ("paths: ['!a']", 5, "paths[0]", "'!a' starts with '!'; patterns from the"),
    ('paths: ["a\\0b"]', 5, "paths[0]", "'a\\x00b' holds NUL or a line break"),
    ('paths: ["a\\nb"]', 5, "paths[0]", "'a\\nb' holds NUL or a line break"),
    ("specialization: [a b]", 5, "specialization[0]", "'a b' is no capability; up to"),
    ("specialization: ''", 5, "specialization", "'' is no capability; up to 48"),
    ("specialization: 5", 5, "specialization", "5 is not allowed; give a list, such"),
    ("description: [a]", 5, "description", "a list is not allowed; give text"),
    ("verify: true", 5, "verify", "true is not allowed; give a shell command, or"),
]


def expected(name: str, line: int, field: str, text: str) -> str:
    return f"{name}:{line}: {field}: {text}"


@pytest.mark.parametrize(("text", "line", "field", "start"), BAD_DOCUMENT)
def test_what_a_document_may_not_say(
    text: str, line: int, field: str, start: str
) -> None:
    (found,) = problems("p.yaml", f"title: x\n{text}\n")
    assert found.startswith(expected("p.yaml", line, field, start))

    (found,) = problems("p.md", f"---\ntitle: x\n{text}\n---\n")
    start = start.replace(f"line {line - 1}", f"line {line}")
    assert found.startswith(expected("p.md", line + 1, field, start))


@pytest.mark.parametrize(("text", "line", "field", "start"), BAD_TASK)
def test_what_a_task_may_not_say(text: str, line: int, field: str, start: str) -> None:
    keys = text.replace("\n", "\n   ")
    tasks = f"tasks:\n - id: a\n   title: A\n   {keys}\n - {{id: b, title: B}}\n"

    (found,) = problems("p.yaml", f"title: x\n{tasks}")

    assert found.startswith(expected("p.yaml", line, f"tasks[0].{field}", start))


def spread(value: Any) -> str:
    """JSON with every key and item on a line of its own."""
    return json.dumps(value, indent=1)


SYNTAXES = {
    "json": (
        '{{"title": "x",\n"tasks": [\n{{"id": "a", "title": "A",\n{key}: {json}}},\n'
        '{{"id": "b", "title": "B"}}]}}'
    ),
    "toml": (
        'title = "x"\n[[tasks]]\nid = "a"\n{key} = {json}\ntitle = "A"\n'
        '[[tasks]]\nid = "b"\ntitle = "B"'
    ),
    "yaml": (
        "title: x\ntasks:\n- id: a\n  {key}: {json}\n  title: A\n- {{id: b, title: B}}"
    ),
    "md": (
        "---\ntasks:\n- id: a\n  {key}: {json}\n  title: A\n- {{id: b, title: B}}\n---\n# x"
    ),
}


@pytest.mark.parametrize("extension", SYNTAXES)
@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("priority", "1e308", "priority"),
        ("priority", "true", "priority"),
        ("priority", "9" * 5000, "priority"),
        ("timeout_s", "-1", "timeout_s"),
        ("timeout_s", "1e999", "timeout_s"),
        ("depends_on", '"b"', "depends_on"),
        ("depends_on", '["a"]', "depends_on[0]"),
        ("depends_on", '["c"]', "depends_on[0]"),
        ("paths", '["b", "/x"]', "paths[1]"),
        ("titel", '"x"', "titel"),
        ("review", "true", "review"),
        ("verify", "true", "verify"),
        ("run", '"a\\u0000b"', "run"),
        ("description", '["\\u202e"]', "description"),
    ],
)
def test_the_same_mistake_in_every_syntax(
    extension: str, key: str, value: str, field: str
) -> None:
    shown = f'"{key}"' if extension == "json" else key
    text = SYNTAXES[extension].format(key=shown, json=value)

    (found,) = problems(f"p.{extension}", text)

    assert found.startswith(expected(f"p.{extension}", 4, f"tasks[0].{field}", ""))


HOSTILE_IDS = [
    *["--upload-pack=touch x", "-x", "--help"],
    *["../../etc/x", "/abs", "a/b", ".git", "..", "."],
    *["a\nb", "a\0b", "a\tb", "a\rb", "a\x1b[31mb", "a\u202eb", "a\u200bb", "ab\n"],
    *["x.lock", "a..b", "@{", "HEAD", "a~1", "a:b", "*", "A", "é", ""],
    *["a" * 49, "a" * 300, "a" * 1_000_000],
    *["state", "percy", "con", "index", "land-1"],
]


@pytest.mark.parametrize("name", HOSTILE_IDS, ids=lambda name: ascii(name)[:24])
def test_hostile_ids_are_refused_shown_escaped_and_replaced(name: str) -> None:
    text = json.dumps({"title": "x", "tasks": [{"id": name, "title": "A"}]})

    (found,) = problems("p.json", text)

    assert found.startswith("p.json:1: tasks[0].id: '")
    assert "; for example '" in found
    offer = found.rpartition("for example '")[2].rstrip("'")
    assert not problems("p.json", text.replace(json.dumps(name), f'"{offer}"'))


@pytest.mark.parametrize(
    ("title", "start"),
    [
        ("", "'' is empty; 1 to 200 characters are allowed"),
        ("  ", "'  ' is empty; 1 to 200 characters are allowed"),
        ("x" * 201, f"'{'x' * 77}...' has 201 characters; 1 to 200 are allowed"),
        ("a\nb", "'a\\nb' has several lines; one is allowed"),
        ("a\x1b[31m", "'a\\x1b[31m' holds U+001B; visible characters are allowed"),
        ("a\tb", "'a\\tb' holds U+0009; visible"),
        ("a\x9bb", "'a\\x9bb' holds U+009B; visible"),
        ("a\u202eb", "'a\\u202eb' holds U+202E; visible"),
        ("a\u2066b", "'a\\u2066b' holds U+2066; visible"),
        ("a\u200bb", "'a\\u200bb' holds U+200B; visible"),
        ("a\u2028b", "'a\\u2028b' holds U+2028; visible"),
        ("a\ufeffb", "'a\\ufeffb' holds U+FEFF; visible"),
        (5, "5 is not allowed; give text, in quotes if need be"),
        (None, "missing; it is required"),
    ],
)
def test_titles_that_are_refused(title: object, start: str) -> None:
    (found,) = problems("p.json", spread({"title": title}))
    assert found.startswith(f"p.json:2: title: {start}")

    tasks = [{"id": "a", "title": title}]
    (found,) = problems("p.json", spread({"title": "x", "tasks": tasks}))
    assert found.startswith(f"p.json:6: tasks[0].title: {start}")


@pytest.mark.parametrize("title", ["x", "é 漢字 \U0001f600", "x" * 200, "<b>", " x "])
def test_titles_that_are_allowed(title: str) -> None:
    assert document("p.json", spread({"title": title})).title == title.strip()


@pytest.mark.parametrize(
    "base",
    [
        *["-x", "--upload-pack=x", "main; rm -rf", "$(x)", ":/regex", "@{-1}", "a@{1}"],
        *["HEAD^{/x}", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[b", "a\\b", "a b"],
        *["a\x7fb", "a\nb", "a\u202eb", "", "/a", "a/", "a//b", "a/.b", ".a", "a."],
        *["a.lock", "a.lock/b", "@", "HEAD", "refs/heads/main", "percy/state"],
        *["percy/plan/x", "agent/a/b", "percy", "agent", "`x`", "a|b", "x" * 201],
        *["0" * 40, "f" * 64, 5, True, ["main"]],
    ],
)
def test_base_branches_that_are_refused(base: object) -> None:
    (found,) = problems("p.json", spread({"title": "x", "base": base}))

    assert found.startswith("p.json:3: base: ")
    assert "allowed" in found


@pytest.mark.parametrize(
    "base",
    ["main", "release/1.0", "feature/#12-a_b", "percys/x", "é", "a@b", "x" * 200],
)
def test_base_branches_that_are_allowed(base: str) -> None:
    assert document("p.json", spread({"title": "x", "base": base})).base == base


def yaml_tasks(**needs: str) -> str:
    lines = [
        f" - {{id: {name}, title: T, depends_on: [{need}]}}\n"
        for name, need in needs.items()
    ]
    return "title: x\ntasks:\n" + "".join(lines)


def test_an_unknown_dependency_offers_the_nearest_task() -> None:
    (found,) = problems("p.yaml", yaml_tasks(build="", deploy="biuld"))

    assert found == (
        "p.yaml:4: tasks[1].depends_on[0]: 'biuld' is no task of this plan; "
        "did you mean 'build'?"
    )


def test_a_cycle_is_shown_once_and_at_its_shortest() -> None:
    (found,) = problems("p.yaml", yaml_tasks(z="a", a="b", b="c, d", c="a", d="b"))

    assert found == (
        "p.yaml:5: tasks[2].depends_on: is a cycle: b -> d -> b; "
        "tasks cannot wait for each other"
    )


def test_a_long_cycle_is_shown_short() -> None:
    ring = {f"t{'x' * 40}{i}": f"t{'x' * 40}{(i + 1) % 500}" for i in range(500)}

    (found,) = problems("p.yaml", yaml_tasks(**ring))

    assert "(497 more)" in found


def test_a_dependency_on_a_task_with_a_problem_is_no_second_problem() -> None:
    (found,) = problems("p.yaml", yaml_tasks(Bad="", good="Bad"))

    assert found.startswith("p.yaml:3: tasks[0].id: 'Bad' must be")


def test_an_id_that_is_there_twice_names_both_lines() -> None:
    text = "title: x\ntasks:\n- id: a\n  title: A\n- title: B\n  id: a\n"

    assert problems("p.yaml", text) == [
        "p.yaml:6: tasks[1].id: 'a' is the id of line 3 too; each id once"
    ]


def test_what_is_missing_is_said_where_it_is_missing() -> None:
    assert problems("p.yaml", "tasks:\n- title: A\n-\n  id: b\n- {}\n") == [
        "p.yaml:1: title: missing; it is required",
        "p.yaml:2: tasks[0].id: missing; it is required",
        "p.yaml:4: tasks[1].title: missing; it is required",
        "p.yaml:5: tasks[2].id: missing; it is required",
        "p.yaml:5: tasks[2].title: missing; it is required",
    ]


def test_every_problem_is_found_at_once_in_the_order_of_the_lines() -> None:
    text = (
        "tasks:\n- id: A\n  title: ''\n  prio: 1\n  prio: 2\n  timeout_s: .nan\n"
        "  depends_on: [b, &x c]\n- *x\nstatus: !!python/none x\nland: now\n"
    )

    assert [line.split(": ")[:2] for line in problems("p.yaml", text)] == [
        ["p.yaml:1", "title"],
        ["p.yaml:2", "tasks[0].id"],
        ["p.yaml:3", "tasks[0].title"],
        ["p.yaml:4", "tasks[0].prio"],
        ["p.yaml:5", "tasks[0].prio"],
        ["p.yaml:6", "tasks[0].timeout_s"],
        ["p.yaml:7", "tasks[0].depends_on[1]"],
        ["p.yaml:7", "tasks[0].depends_on[0]"],
        ["p.yaml:8", "tasks[1]"],
        ["p.yaml:9", "status"],
        ["p.yaml:10", "land"],
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("p.md", "no heading", "p.md:1: title: missing; give the document a heading"),
        ("p.md", "", "p.md:1: title: missing; give the document a heading"),
        ("p.md", "---\nx: 1\n", "p.md:1: document: has front matter without an end"),
        ("p.md", "---\n- x\n---\n# x", "p.md:2: document: is no mapping; keys with"),
        ("p.md", "---\na: [\n---\n# x", "p.md:2: document: is not valid YAML: "),
        ("p.md", "\n# a\u202e", "p.md:2: title: 'a\\u202e' holds U+202E; visible"),
        (
            "p.md",
            "---\n\ndescription: x\n---\n# x",
            "p.md:3: description: is given here and as the text below; one is allowed",
        ),
        ("p.yaml", "", "p.yaml:1: document: is empty; a title is required"),
        ("p.yaml", "# x\n", "p.yaml:1: document: is empty; a title is required"),
        (
            "p.yaml",
            "\njust text",
            "p.yaml:2: document: is no mapping; keys with values",
        ),
        ("p.json", "\n[]", "p.json:2: document: is no mapping; keys with values are"),
        ("p.json", "null", "p.json:1: document: is empty; a title is required"),
        ("p.toml", "", "p.toml:1: title: missing; it is required"),
        ("p.json", "\ufeff{}", "p.json:1: document: starts with a byte order mark"),
        ("-", "[", "-:1: document: is not valid YAML: "),
    ],
)
def test_what_is_no_plan_at_all(name: str, text: str, problem: str) -> None:
    (found,) = problems(name, text)

    assert found.startswith(problem)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"\xef\xbb\xbftitle", 1, "starts with a byte order mark"),
        (b"title\n\xff", 2, "byte 0xff is not UTF-8"),
        (b" " * (4 * 1024 * 1024 + 1), 1, "has 4,194,305 bytes; 4,194,304 (4 MiB) are"),
    ],
)
def test_bytes_that_are_no_text(name: str, data: bytes, line: int, what: str) -> None:
    (found,) = problems(name, data)

    assert found.startswith(f"{name}:{line}: document: {what}")


def chain(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"t{i}", "title": f"T {i}", "depends_on": [f"t{i - 1}"] if i else []}
        for i in range(count)
    ]


def as_yaml(tasks: list[dict[str, Any]]) -> str:
    return "title: x\ntasks:\n" + "".join(f"- {json.dumps(task)}\n" for task in tasks)


def as_toml(tasks: list[dict[str, Any]]) -> str:
    return 'title = "x"\n' + "".join(
        f"[[tasks]]\n{''.join(f'{k} = {json.dumps(v)}{chr(10)}' for k, v in task.items())}"
        for task in tasks
    )


@pytest.mark.parametrize("extension", ["json", "yaml", "toml"])
def test_a_chain_of_ten_thousand_tasks_is_accepted(extension: str) -> None:
    tasks = chain(10_000)
    text = {
        "json": json.dumps({"title": "x", "tasks": tasks}, indent=1),
        "yaml": as_yaml(tasks),
        "toml": as_toml(tasks),
    }[extension]

    read = document(f"p.{extension}", text)

    assert read.tasks is not None
    graph = {task.id: task.depends_on for task in read.tasks}
    assert len(topological(graph)) == 10_000


@pytest.mark.parametrize(
    ("tasks", "problem"),
    [
        (
            [{"id": f"t{i}", "title": "T"} for i in range(20_001)],
            "tasks: has 20,001 tasks; 20,000 are allowed",
        ),
        (
            [
                {
                    "id": "a",
                    "title": "T",
                    "depends_on": [f"t{i}" for i in range(100_000)],
                }
            ],
            "tasks[0].depends_on: has 100,000 items; 20,000 are allowed",
        ),
        ([0] * 1_000_000, "document: holds too many values; 500,000 are allowed"),
    ],
)
def test_limits_are_named(tasks: list[Any], problem: str) -> None:
    assert problems("p.json", json.dumps({"title": "x", "tasks": tasks})) == [
        f"p.json:1: {problem}"
    ]


def test_thousands_of_problems_are_cut_short() -> None:
    tasks = [
        {"id": f"task-{i}", "title": "T", "depends_on": ["x"]} for i in range(5_000)
    ]

    found = problems("p.json", spread({"title": "x", "tasks": tasks}))

    assert len(found) == 1_001
    assert any("there are more than 1,000 problems" in line for line in found)


@pytest.mark.parametrize("extension", ["json", "yaml", "toml", "md"])
@pytest.mark.parametrize("mark", ["[", "{"])
def test_two_hundred_thousand_brackets(extension: str, mark: str) -> None:
    for before in ("", "title: ", '{"title": ', "title = ", "---\ntitle: "):
        assert len(problems(f"p.{extension}", before + mark * 200_000)) == 1


def test_a_runner_may_be_missing() -> None:
    text = (
        "title: x\ntasks:\n- {id: a, title: A}\n- {id: b, title: B, run: make}\n"
        "- {id: c, title: C, runner: mine}\n-\n  id: d\n  title: D\n"
    )
    parsed = parse("p.yaml", text.encode())

    assert [
        str(p).split(": missing, and no")[0] for p in parsed.missing_runner(None)
    ] == [
        "p.yaml:3: tasks[0].runner",
        "p.yaml:7: tasks[3].runner",
    ]
    assert parsed.missing_runner("claude") == []
    defaults = parse("p.yaml", f"{text}defaults: {{runner: mine}}\n".encode())
    assert defaults.missing_runner(None) == []


def test_prose_waits_for_an_agent_that_plans_whatever_is_configured() -> None:
    parsed = parse("p.md", b"# Title\n\ntext")

    assert parsed.document is not None
    assert parsed.missing_runner(None) == []


def test_a_document_with_problems_has_no_missing_runner() -> None:
    assert parse("p.md", b"").missing_runner(None) == []


def test_callers_can_add_problems_with_a_line() -> None:
    parsed = parse("p.yaml", YAML.encode())

    assert str(parsed.problem_at("is no such branch", "base")) == (
        "p.yaml:7: base: is no such branch"
    )
    assert parsed.problem_at("x", "tasks", 1, "run").line == 32
    assert parsed.problem_at("x", "tasks", 1, "runner").line == 29
    assert parsed.problem_at("x", "tasks", 9, "runner").line == 19
    assert parsed.problem_at("x", "land", "more").line == 9


@pytest.mark.parametrize(
    ("name", "plan_id"),
    [
        ("shop.md", "shop"),
        ("shop.plan.yaml", "shop"),
        (".percy/plans/shop.plan.json", "shop"),
        ("shop-2_x.toml", "shop-2_x"),
        ("shop", "shop"),
        ("shop.plan", "shop"),
    ],
)
def test_the_id_is_the_name_of_the_file(name: str, plan_id: str) -> None:
    assert plan_id_of(name) == (plan_id, None)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("My Shop.md", "'My Shop' must be a-z, 0-9, '-' and '_', and start with a"),
        ("état.md", "'\\xe9tat' must be"),
        ("a.b.md", "'a.b' must be"),
        ("state.md", "'state' is a reserved word; name the file 'state-1' instead"),
        ("land-1.md", "'land-1' is reserved for"),
        (".md", "'' is empty; name the file 'plan-1' instead"),
        ("-x.md", "'-x' must be"),
        (f"{'x' * 300}.md", f"'{'x' * 77}...' has 300 characters; 48 are allowed"),
        ("a\x1bb.md", "'a\\x1bb' must be"),
        ("a.MD", "'a.MD' must be"),
    ],
)
def test_an_illegal_name_is_told_a_legal_one(name: str, problem: str) -> None:
    plan_id, found = plan_id_of(name)

    assert found is not None
    assert found.startswith(problem)
    offer = found.partition("name the file '")[2].partition("'")[0]
    assert plan_id_of(f"{offer}.md") == (offer, None)
    assert plan_id != offer


@pytest.mark.parametrize(
    ("name", "is_plan"),
    [
        ("a.md", True),
        ("a.yaml", True),
        ("a.yml", True),
        ("a.json", True),
        ("a.toml", True),
        ("My Plan.md", True),
        ("a.txt", False),
        ("a", False),
        ("md", False),
        (".md", False),
        (".a.md", False),
        ("a.md~", False),
        ("a.md.swp", False),
        ("README.md", False),
        ("README-plans.yaml", False),
        ("readme.md", False),
        ("readme-update.md", True),
        ("sub/a.md", False),
        (".gitkeep", False),
        ("", False),
    ],
)
def test_which_files_are_plans(name: str, is_plan: bool) -> None:
    assert is_plan_file(name) is is_plan


def properties(schema: dict[str, Any], *path: str) -> dict[str, Any]:
    for step in path:
        schema = schema["properties"][step]
        schema = schema.get("items", schema)
    return dict(schema["properties"])


def test_the_schema_has_every_key_of_the_models() -> None:
    schema = json_schema()

    assert set(properties(schema)) == set(Document.model_fields)
    read = document("s.json", JSON)
    assert read.defaults is not None
    assert read.tasks is not None
    assert set(properties(schema, "defaults")) == set(type(read.defaults).model_fields)
    assert set(properties(schema, "tasks")) == set(type(read.tasks[0]).model_fields)
    assert json.loads(json.dumps(schema)) == schema


def test_the_schema_and_the_parser_agree() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())

    assert validator.is_valid(json.loads(JSON))
    for bad in (
        {},
        {"title": "x", "tasks": []},
        {"title": "x", "tasks": None},
        {"title": "x", "titel": 1},
        {"title": "x", "land": "now"},
        {"title": "x", "review_plan": True},
        {"title": "x", "budget": {"cost_usd": 0}},
        {"title": "x", "verify": True},
        {"title": "x", "tasks": [{"id": "A", "title": "A"}]},
        {"title": "x", "tasks": [{"id": "a", "title": "A", "priority": 1001}]},
    ):
        assert not validator.is_valid(bad), bad
        assert problems("p.json", json.dumps(bad)), bad


def test_what_is_not_there_yet_is_refused_by_name() -> None:
    assert set(NOT_YET) == {"review", "review_plan"}
    assert all("not supported by this version" in row.text for row in NOT_YET.values())


def check(name: str, data: bytes) -> None:
    parsed = parse(name, data)

    assert isinstance(parsed, Parsed)
    for line in problems(name, data):
        assert 1 <= int(line.split(":")[1]) <= data.count(b"\n") + 1


names = st.sampled_from([*FILES, "-"])


@fuzz
@given(names, st.binary(max_size=200))
def test_no_bytes_raise(name: str, data: bytes) -> None:
    check(name, data)


@fuzz
@given(names, st.text(max_size=200))
def test_no_text_raises(name: str, text: str) -> None:
    check(name, text.encode("utf-8", "surrogatepass"))


@fuzz
@given(
    names,
    st.sampled_from(list(FILES.values())),
    st.lists(
        st.tuples(
            st.integers(0, 1_200),
            st.integers(0, 30),
            st.sampled_from(
                ["", "[", "{", "]", "}", '"', "'", ": ", "\n", "- ", "null", "1e999"]
            )
            | st.binary(max_size=5).map(lambda data: data.decode("latin-1")),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_no_mutated_document_raises(
    name: str, text: str, changes: list[tuple[int, int, str]]
) -> None:
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]

    check(name, text.encode("utf-8", "replace"))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "main", "land-1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [*Document.model_fields, *properties(json_schema(), "tasks"), "other"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@fuzz
@given(st.sampled_from(["p.json", "p.yaml"]), json_values)
def test_no_values_raise(name: str, value: object) -> None:
    check(name, json.dumps({"title": "x", "tasks": [value]}).encode())
    check(name, json.dumps(value).encode())
