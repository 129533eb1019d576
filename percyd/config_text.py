"""The text of a configuration file: read with line numbers, and written by ``init``.

tomllib does not say where a key stands, so a scanner finds the keys again in texts
that tomllib has accepted: it need not judge them.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from percyd.settings import (
    BudgetConfig,
    Config,
    LeaseConfig,
    LimitsConfig,
    WatchConfig,
    WorkerConfig,
)

FILE_BYTES = 1024 * 1024

Lines = Mapping[tuple[str, ...], int]

_WORD = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_PATH = rf"{_WORD}(?:[ \t]*\.[ \t]*{_WORD})*"
_TABLE = re.compile(rf"[ \t]*\[\[?[ \t]*({_PATH})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_PATH})[ \t]*=")
#: What matters inside a value: strings hide brackets, brackets hide keys.
_TOKEN = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*\''''
    r"""|\#[^\n]*|[\[\]{}]|\n""",
    re.DOTALL,
)


def _words(path: str) -> tuple[str, ...]:
    return tuple(word.strip("\"'") for word in re.findall(_WORD, path))


def _value_end(text: str, start: int) -> int:
    """The position after the newline that ends the value at ``start``."""
    depth = 0
    for token in _TOKEN.finditer(text, start):
        mark = token.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        elif mark == "\n" and depth <= 0:
            return token.end()
    return len(text)


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of every table and key in ``text``, by its full path."""
    text = text.replace("\r\n", "\n")
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    position, line = 0, 1
    while position < len(text):
        end = len(text)
        if header := _TABLE.match(text, position):
            table = _words(header.group(1))
            lines.setdefault(table, line)
            end = text.find("\n", header.end()) + 1 or end
        elif key := _KEY.match(text, position):
            lines.setdefault((*table, *_words(key.group(1))), line)
            end = _value_end(text, key.end())
        else:
            end = text.find("\n", position) + 1 or end
        line += text.count("\n", position, end)
        position = end
    return lines


def line_of(lines: Lines, path: tuple[str, ...]) -> int:
    """The line of ``path`` or of what holds it; 1 if nothing does."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    below = [line for key, line in lines.items() if key[: len(path)] == path]
    return min(below, default=1)


def parse(data: bytes) -> tuple[dict[str, Any], Lines]:
    """The document and the line of each key.

    Raises:
        ValueError: ``LINE: what is wrong``.
    """
    if len(data) > FILE_BYTES:
        raise ValueError(f"1: is larger than {FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
        return tomllib.loads(text), key_lines(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(_broken(data, error)) from error


def _broken(data: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        line = data.count(b"\n", 0, error.start) + 1
        return f"{line}: is not UTF-8"
    if isinstance(error, RecursionError):
        return "1: is nested too deeply"
    text = str(error)
    at = re.search(r" \(at line (\d+), column (\d+)\)$", text)
    if at:
        return f"{at[1]}: is not TOML: {text[: at.start()]} (column {at[2]})"
    last = data.rstrip().count(b"\n") + 1 if "at end of document" in text else 1
    return f"{last}: is not TOML: {text}"


_HEAD = """\
# percyd's configuration. Committed: what shapes a plan is read from the plan's commit.
# Settings of one machine go into .percy/local.toml, which git ignores.
# A line that starts with '#' shows the default, or an example.
"""
_RUNNER_HELP = """
# A runner is a program that does tasks, in the worktree of its task. claude, codex,
# gemini, opencode and aider are known by name; any other gets its prompt on standard
# input and in PERCY_PROMPT_FILE.
# [runners.claude]
# model = "opus"               # in its own words; default: its own
# permission_mode = "acceptEdits"  # what it may do unasked, in its own words
# args = []       # added to the command
# env = {}        # set for the program
# env_allow = []  # credentials to let through, beside those of its own
# env_deny = []   # variables to take away
# [runners.mytool]
# command = ["mytool", "--flag"]
"""


def template(
    base: str,
    runners: Mapping[str, Sequence[str]],
    project: str | None = None,
    runner: str | None = None,
) -> str:
    """The text of a new ``.percy/config.toml``.

    Args:
        base: the base branch, written as a setting.
        runners: commands of the runners to set up, by name.
        project: the project's name, if it shall differ from the default.
        runner: the default runner; the first of ``runners`` if not given.
    """
    given: dict[str, object] = {"project": project, "base": base}
    given["runner"] = runner or next(iter(runners), None)
    lines = [_HEAD, *_settings(Config, given)]
    for name, section in _SECTIONS.items():
        lines += ["", f"[{name}]", *_settings(section, {})]
    lines.append(_RUNNER_HELP)
    for name, command in runners.items():
        lines += [f"[runners.{name}]", f"command = {toml_value(list(command))}", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


_SECTIONS: Mapping[str, type[BaseModel]] = {
    "worker": WorkerConfig,
    "lease": LeaseConfig,
    "watch": WatchConfig,
    "limits": LimitsConfig,
    "budget": BudgetConfig,
}


def _settings(
    model: type[BaseModel], given: Mapping[str, object | None]
) -> Iterator[str]:
    for key, field in model.model_fields.items():
        if field.description is None:
            continue
        value = given.get(key)
        shown = (
            field.default if field.default is not None else (field.examples or [""])[0]
        )
        text = (
            f"# {key} = {toml_value(shown)}"
            if value is None
            else f"{key} = {toml_value(value)}"
        )
        yield f"{text}  # {field.description}"


def toml_value(value: object) -> str:
    """A string, number, truth value or list of these in TOML's notation."""
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if isinstance(value, tuple | list):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    # JSON's escapes are TOML's, but for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
