"""What may be set, where it may be set, and what is said of mistakes."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percyd.config import COMMITTED, LOCAL, Config, load, rows, shaping, template
from percyd.config_text import key_lines
from percyd.core.records import Limits
from percyd.errors import InvalidConfig
from percyd.settings import LATER


def config(
    committed: str | None = None,
    local: str | None = None,
    environ: dict[str, str] | None = None,
    **flags: object,
) -> Config:
    return effective(committed, local, environ, **flags)[0]


def effective(
    committed: str | None = None,
    local: str | None = None,
    environ: dict[str, str] | None = None,
    **flags: object,
) -> tuple[Config, dict[str, str]]:
    found = load(
        None if committed is None else committed.encode(),
        None if local is None else local.encode(),
        environ or {},
        {key.replace("__", "."): value for key, value in flags.items()},
    )
    return found.config, dict(found.sources)


def problems(
    committed: str | bytes = "",
    local: str | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> list[str]:
    data = committed if isinstance(committed, bytes) else committed.encode()
    with pytest.raises(InvalidConfig) as caught:
        load(
            data, None if local is None else local.encode(), environ or {}, flags or {}
        )
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


# Values


def test_nothing_set_is_the_defaults() -> None:
    found, sources = effective()
    assert found == Config()
    assert found.gate is None
    assert (found.worker.slots, found.worker.grace_s) == (2, 30)
    assert (found.lease.beat_s, found.lease.lease_s, found.lease.idle_beat_s) == (
        20,
        90,
        300,
    )
    assert set(sources.values()) == {"default"}


def test_the_default_limits_are_those_of_the_records() -> None:
    assert Config().limits.record() == Limits()
    later = {"max_depth"}
    assert set(type(Config().limits).model_fields) == set(Limits.model_fields) - later


def test_every_value_arrives() -> None:
    found = config(
        """
        project = "shop"
        remote = "upstream"
        base = "release/1.x"
        trigger = "push"
        runner = "mytool"
        verify = '''
        make
        test'''
        land = "manual"
        worker = { name = "big", slots = 64, capabilities = ["gpu", "go"], grace_s = 0 }
        lease.beat_s = 1
        lease.lease_s = 4
        [limits]
        timeout_s = 1.5
        log_bytes = 1_000
        [runners.mytool]
        type = "command"
        command = ["mytool", "--flag"]
        args = [""]
        env = { LANG = "C", "ODD NAME" = "" }
        env_allow = ["MYTOOL_API_KEY"]
        env_deny = ["HOME"]
        """
    )
    assert (found.project, found.remote, found.base) == (
        "shop",
        "upstream",
        "release/1.x",
    )
    assert found.gate is not None
    assert found.gate.split() == ["make", "test"]
    assert found.worker.capabilities == ("gpu", "go")
    assert (found.limits.timeout_s, found.limits.log_bytes) == (1.5, 1000)
    runner = found.runners["mytool"]
    assert runner.command == ("mytool", "--flag")
    assert runner.env == {"LANG": "C", "ODD NAME": ""}
    assert (runner.env_allow, runner.env_deny) == (("MYTOOL_API_KEY",), ("HOME",))


def test_a_false_gate_is_no_gate() -> None:
    assert config("verify = false").gate is None


# Order and sources


def test_later_layers_win_key_by_key_and_sources_say_so() -> None:
    found, sources = effective(
        'project = "a"\n\n[worker]\nname = "a"\nslots = 3\ngrace_s = 3\n',
        '[worker]\nslots = 4\nname = "b"\ncapabilities = ["x"]\n',
        {"PERCYD_WORKER__SLOTS": "5", "PERCYD_PROJECT": "p", "PERCYD_STATE_DIR": "/s"},
        worker__slots=6,
        worker__name=None,
    )
    assert (found.worker.slots, found.worker.name, found.worker.grace_s) == (6, "b", 3)
    assert sources["worker.slots"] == "flag"
    assert sources["worker.name"] == f"{LOCAL}:3"
    assert sources["worker.grace_s"] == f"{COMMITTED}:6"
    assert sources["project"] == "PERCYD_PROJECT"
    assert sources["lease.beat_s"] == "default"


def test_a_runner_may_be_put_together_from_two_files() -> None:
    found, sources = effective(
        '[runners.a]\ncommand = ["a"]\n', '[runners.a]\nenv_allow = ["A_API_KEY"]\n'
    )
    assert found.runners["a"].command == ("a",)
    assert found.runners["a"].env_allow == ("A_API_KEY",)
    assert sources["runners.a.command"] == f"{COMMITTED}:2"
    assert sources["runners.a.env_allow"] == f"{LOCAL}:2"


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("PERCYD_WORKER__SLOTS", "7", "worker.slots", 7),
        ("PERCYD_WORKER__GRACE_S", "0.5", "worker.grace_s", 0.5),
        ("PERCYD_WORKER__NAME", "7", "worker.name", "7"),
        ("PERCYD_WORKER__CAPABILITIES", "a, b", "worker.capabilities", ("a", "b")),
        ("PERCYD_WORKER__CAPABILITIES", '["a,b"]', "worker.capabilities", ("a,b",)),
        ("PERCYD_WORKER__CAPABILITIES", "", "worker.capabilities", ()),
        ("PERCYD_REMOTE", "origin", "remote", "origin"),
        ("PERCYD_TRIGGER", "push", "trigger", "push"),
        (
            "PERCYD_RUNNERS__A__COMMAND",
            '["a", "b c"]',
            "runners.a.command",
            ("a", "b c"),
        ),
    ],
)
def test_variables_are_read_by_the_type_of_their_key(
    name: str, text: str, key: str, value: object
) -> None:
    found, sources = effective(environ={name: text})
    node: Any = found
    for part in key.split("."):
        node = node[part] if isinstance(node, dict) else getattr(node, part)
    assert node == value
    assert sources[key] == name


@pytest.mark.parametrize(
    "name",
    ["PERCYD_STATE_DIR", "PERCYD_FAILPOINT", "PERCYD_", "PERCY_BASE", "PERCYD_A__B"],
)
def test_variables_that_are_no_settings_are_ignored(name: str) -> None:
    assert config(environ={name: "x"}) == Config()


# Mistakes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bas = 1", "1: bas: is no key; did you mean 'base'?"),
        ("\n[worker]\nslotz = 1", "3: worker.slotz: is no key; did you mean 'slots'?"),
        ("[lease]\nx = 1", "2: lease.x: is no key; the keys are beat_s, lease_s, "),
        ("worker = 3", "1: worker: is 3; must be a table: [worker]"),
        ("[[worker]]\nslots = 1", "1: worker: is [{'slots': 1}]; must be a table"),
        (
            "[worker]\nslots = 0",
            "2: worker.slots: is 0; must be greater than or equal ",
        ),
        (
            "[worker]\nslots = 65",
            "2: worker.slots: is 65; must be less than or equal to",
        ),
        ('[worker]\nslots = "2"', "2: worker.slots: is '2'; must be a valid integer"),
        ("[worker]\nslots = true", "2: worker.slots: is True; must be a valid integer"),
        (
            "[worker]\ngrace_s = inf",
            "2: worker.grace_s: is inf; must be a finite number",
        ),
        ("[worker]\ngrace_s = nan", "2: worker.grace_s: is nan; must be "),
        (
            "[worker]\nname = ''",
            "2: worker.name: is ''; must have at least 1 character",
        ),
        (
            "[worker]\ncapabilities = [\n'a',\n3]",
            "2: worker.capabilities: [1] is 3; must be a valid string",
        ),
        ("trigger = 'pull'", "1: trigger: is 'pull'; must be 'commit' or 'push'"),
        ("remote = '--x'", "1: remote: is '--x'; must not start with '-'"),
        (
            "base = 'refs/heads/main'",
            "1: base: is 'refs/heads/main'; must be a short branch name: 'main'",
        ),
        (
            "base = 'percy/state'",
            "1: base: is 'percy/state'; must not be a branch of percyd's own",
        ),
        ("base = 'agent/a/b'", "1: base: is 'agent/a/b'; must not be a branch of"),
        ("verify = true", "1: verify: must be a shell command, or false for no gate"),
        ("verify = ''", "1: verify: must be a shell command, or false for no gate"),
        ("land = 'now'", "1: land: is 'now'; must be 'manual' or 'auto'"),
        ("[limits]\nmax_attempts = 0", "2: limits.max_attempts: is 0; must be greater"),
        (
            "[lease]\nlease_s = 79",
            "2: lease.lease_s: is 79; must be at least 4 x lease.beat_s (20)",
        ),
        (
            "[lease]\nbeat_s = 23",
            "2: lease.lease_s: is 90; must be at least 4 x lease.beat_s (23)",
        ),
        ("[runners]\na = 1", "2: runners.a: must be a table: [runners.a]"),
        (
            "[runners.A]\ncommand = ['a']",
            "1: runners.A: must be named with a-z, 0-9, '-' and '_', 48 at most",
        ),
        (
            "[runners.a]",
            '1: runners.a.command: is missing; give a list like ["mytool"]',
        ),
        (
            "[runners.a]\ncommand = []",
            '2: runners.a.command: is empty; give a list like ["mytool"]',
        ),
        (
            "[runners.a]\ncommand = 'a b'",
            "2: runners.a.command: is 'a b'; must be a valid tuple",
        ),
        (
            "[runners.a]\nmodel = 'm'",
            "1: runners.a.command: is missing",
        ),
        ("[runners.claude]\nmodel = ''", "2: runners.claude.model: "),
        ("[runners.claude]\ncost_usd = 0", "2: runners.claude.cost_usd: is 0"),
        ("[budget]\ncost_usd = -1", "2: budget.cost_usd: is -1"),
        ("[budget]\ntokens = 1.5", "2: budget.tokens: is 1.5"),
        ("[sandbox]\nkind = 'x'", "1: sandbox: not supported by this version"),
        ("\n[[notify]]\non = []", "2: notify: not supported by this version"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, problem: str) -> None:
    first = problems(text)[0]
    assert first.startswith(f"{COMMITTED}:{problem}")


def test_values_of_a_runners_environment_are_never_printed() -> None:
    text = "[runners.a]\ncommand = ['a']\nenv = { A = 12345, PERCY_X = 'secret' }"
    assert problems(text) == [
        f"{COMMITTED}:3: runners.a.env: ['A'] must be a valid string"
    ]
    text = "[runners.a]\ncommand = ['a']\nenv = { PERCY_X = 'secret' }"
    assert problems(text)[0].endswith(
        "runners.a.env: 'PERCY_X' must not be set; PERCY_* is percyd's to set"
    )


def test_every_problem_is_told_in_the_order_of_the_lines() -> None:
    text = "[worker]\nslots = 0\nx = 1\n[web]\nhttp = 1\n[lease]\nbeat_s = 0\n"
    assert [line.split(":")[1] for line in problems(text)] == ["2", "3", "4", "7"]


def test_at_most_fifty_problems_are_told() -> None:
    found = problems("".join(f"k{n} = 1\n" for n in range(60)))
    assert len(found) == 51
    assert found[-1] == "and 10 more"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a = 1\nb = '\xff'\n", "2: is not UTF-8"),
        (b"a = 1\nb =\n", "2: is not TOML: Invalid value (column 4)"),
        (b"a = 1\na = 2\n", "2: is not TOML: Cannot overwrite a value"),
        (b"a = 1\n[x", "2: is not TOML: "),
        (b"a = " + b"[" * 100_000, "1: is nested too deeply"),
        (b"#" * 2_000_000, "1: is larger than 1048576 bytes"),
        (b"\xef\xbb\xbfa = 1\n", "1: is not TOML: Invalid statement (column 1)"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_the_line(
    data: bytes, problem: str
) -> None:
    found = problems(data)
    assert len(found) == 1
    assert found[0].startswith(f"{COMMITTED}:{problem}")


@pytest.mark.parametrize(
    "text", ["base = 'x'", "verify = 'x'", "land = 'manual'", "runner = 'x'"]
)
def test_what_shapes_a_plan_is_refused_outside_the_commit(text: str) -> None:
    key = text.split()[0]
    because = f"{key}: shapes a plan; set it in {COMMITTED}"
    assert problems(local=text) == [f"{LOCAL}:1: {because}"]
    name = f"PERCYD_{key.upper()}"
    assert problems(environ={name: "x"}) == [f"{name}: {because}"]


def test_limits_are_refused_outside_the_commit() -> None:
    because = f"shapes a plan; set it in {COMMITTED}"
    assert problems(local="[limits]\nidle_s = 3") == [
        f"{LOCAL}:2: limits.idle_s: {because}"
    ]
    assert problems(environ={"PERCYD_LIMITS__IDLE_S": "3"}) == [
        f"PERCYD_LIMITS__IDLE_S: limits.idle_s: {because}"
    ]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("PERCYD_WORKER__SLOTZ", "worker.slotz: is no key; did you mean 'slots'?"),
        ("PERCYD_WROKER__SLOTS", "wroker.slots: is no section; did you mean 'worker'?"),
        ("PERCYD_WORKER__SLOTS", "worker.slots: is 'x'; must be a valid integer"),
        ("PERCYD_WEB__HTTP", "web.http: not supported by this version"),
        (
            "PERCYD_RUNNERS__A",
            "runners.a: is no key; write PERCYD_RUNNERS__<NAME>__<KEY>",
        ),
        ("PERCYD_WORKER__A__B", "worker.a.b: is no key; "),
        ("PERCYD_BUDGET__TOKENS", "budget.tokens: shapes a plan; set it in"),
    ],
)
def test_a_mistake_in_a_variable_is_named(name: str, problem: str) -> None:
    found = problems(environ={name: "x"})
    assert len(found) == 1
    assert found[0].startswith(f"{name}: {problem}")


def test_a_mistake_in_a_flag_is_named() -> None:
    assert problems(flags={"worker.slots": 0})[0].startswith("--slots is 0; must be")
    assert problems(flags={"worker.slost": 1})[0].startswith("flag: worker.slost: is")


def test_every_key_of_a_later_version_is_refused_as_such() -> None:
    said = "not supported by this version"
    assert problems("[limits]\nmax_depth = 2") == [
        f"{COMMITTED}:2: limits.max_depth: {said}"
    ]
    for key in LATER - {"limits.max_depth"}:
        assert problems(f"[{key}]") == [
            f"{COMMITTED}:1: {key}: not supported by this version"
        ]


def test_shaping_reads_the_committed_file_alone() -> None:
    assert shaping(None) == Config()
    assert shaping(b'base = "main"\n[limits]\nidle_s = 5').limits.idle_s == 5
    with pytest.raises(InvalidConfig):
        shaping(b"x = 1")


FULL = template("main", {"a": ["a", "-x"]}, "shop").replace("# ", "", 40)


@given(st.data())
def test_no_damage_to_a_file_causes_anything_but_a_refusal(data: st.DataObject) -> None:
    lines = FULL.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        word = data.draw(st.sampled_from(DAMAGE) | st.text(max_size=4))
        cut = data.draw(st.integers(0, len(lines[at])))
        lines[at] = (
            lines[at][:cut] + word + lines[at][cut + data.draw(st.integers(0, 9)) :]
        )
    text = "\n".join(lines)
    try:
        load(
            text.encode("utf-8", "surrogatepass"),
            text.encode("utf-8", "replace"),
            {},
            {},
        )
    except InvalidConfig as error:
        for line in error.message.splitlines():
            assert re.match(r"\.percy/(config|local)\.toml:\d+: \S|and \d+ more", line)


DAMAGE = [
    "[",
    "]",
    "[[",
    "]]",
    "{}",
    "= 1",
    "'",
    '"',
    "'''",
    "#",
    "\n",
    ".",
    "1979-05-27",
]
DAMAGE += ["[runners]\n", "runners = 1\n", "inf", "nan", "-1", "1e400", "true", "\x00"]


@given(
    st.dictionaries(
        st.sampled_from(["PERCYD_WORKER__SLOTS", "PERCYD_RUNNERS__A__ENV"])
        | st.from_regex(
            r"PERCYD_(WORKER|LEASE|RUNNERS|X)?(__[A-Z]{0,3}){0,4}", fullmatch=True
        ),
        st.sampled_from(DAMAGE) | st.text(max_size=9),
        max_size=3,
    )
)
def test_no_variable_causes_anything_but_a_refusal(environ: dict[str, str]) -> None:
    try:
        load(None, None, environ, {})
    except InvalidConfig as error:
        for line in error.message.splitlines():
            assert line.split(":")[0] in {*environ, "default"}


# Line numbers


def test_lines_of_keys_are_found_whatever_the_values_hold() -> None:
    text = '''# "
a = """
b = 1
[no]
"""
"quoted key" = '#' # ]
c = [ # [
  "]", { x = 1 },

]
d.e . f = { g = """
""" }
[t . 'u']
h = 1\t
[[v]]
i = \'\'\'
[w]
\'\'\'\'
j = "\\"["
'''
    tomllib.loads(text)
    lines = key_lines(text)
    assert lines == {
        ("a",): 2,
        ("quoted key",): 6,
        ("c",): 7,
        ("d", "e", "f"): 11,
        ("t", "u"): 13,
        ("t", "u", "h"): 14,
        ("v",): 15,
        ("v", "i"): 16,
        ("v", "j"): 19,
    }
    assert key_lines(text.replace("\n", "\r\n")) == lines


# For people


def test_rows_tell_value_and_source_and_hide_the_environment_of_runners() -> None:
    text = (
        'base = "main"\n[runners.a]\ncommand = ["a b", "c"]\nenv = { K = "secret" }\n'
    )
    shown = {
        key: (value, source)
        for key, value, source in rows(load(text.encode(), None, {}, {}))
    }
    assert shown["base"] == ('"main"', f"{COMMITTED}:1")
    assert shown["remote"] == ("", "default")
    assert shown["verify"] == ("false", "default")
    assert shown["worker.grace_s"] == ("30", "default")
    assert shown["runners.a.command"] == ('["a b", "c"]', f"{COMMITTED}:3")
    assert shown["runners.a.env"] == ('{ "K" = "..." }', f"{COMMITTED}:4")


def test_the_template_sets_the_base_and_leaves_every_default_alone() -> None:
    found = config(template("trunk", {}))
    assert found == Config(base="trunk")


def test_the_template_sets_up_the_runners_that_were_found() -> None:
    text = template("main", {"b": ["b", 'say "x"'], "a": ["a"]}, "shop", "a")
    found = config(text)
    assert (found.project, found.runner) == ("shop", "a")
    assert found.runners["b"].command == ("b", 'say "x"')
    assert config(template("main", {"b": ["b"]})).runner == "b"


def test_every_comment_of_the_template_is_a_setting_that_is_accepted() -> None:
    lines = template("main", {}).splitlines()
    settings = [
        line.removeprefix("# ") for line in lines if " = " in line or "[" in line
    ]
    found, sources = effective("\n".join(settings))
    assert "default" not in {
        sources[key] for key, _, _ in rows(load(None, None, {}, {}))
    }
    changed = {"project", "remote", "runner", "runners", "base", "worker", "budget"}
    assert found.model_dump(exclude=changed) == Config().model_dump(exclude=changed)
