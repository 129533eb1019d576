"""Reading the configuration, and where each value came from (CLI 4).

``.percy/config.toml`` < ``.percy/local.toml`` < ``PERCYD_<SECTION>__<KEY>`` < flags.
Pure: reading the files and the environment is the caller's business.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError

from percyd.config_text import line_of, parse, template, toml_value
from percyd.errors import InvalidConfig
from percyd.settings import (
    LATER,
    SHAPING,
    BudgetConfig,
    Config,
    LeaseConfig,
    LimitsConfig,
    RunnerConfig,
    Section,
    WatchConfig,
    WorkerConfig,
    conflicts,
)

__all__ = [
    "COMMITTED",
    "LOCAL",
    "Config",
    "Effective",
    "RunnerConfig",
    "load",
    "rows",
    "shaping",
    "template",
]

COMMITTED: Final = ".percy/config.toml"
LOCAL: Final = ".percy/local.toml"
DEFAULT: Final = "default"
FLAG: Final = "flag"

PROBLEMS_SHOWN = 50

Path = tuple[str, ...]

_SECTIONS: Mapping[str, type[Section]] = {
    "worker": WorkerConfig,
    "lease": LeaseConfig,
    "watch": WatchConfig,
    "limits": LimitsConfig,
    "budget": BudgetConfig,
}
_TOP = [key for key in Config.model_fields if key not in {*_SECTIONS, "runners"}]
_TABLES = (*_SECTIONS, "runners")
#: What the keys that options of a command set are called there.
_OPTIONS: Mapping[str, str] = {
    "worker.slots": "--slots",
    "worker.name": "--name",
    "worker.capabilities": "--capability",
    "worker.grace_s": "--grace",
}
_RUNNER_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,47}\Z")
_MUST = re.compile(r"^(?:Value error, |[A-Z][a-z]+ should )")


@dataclass(frozen=True, slots=True)
class Effective:
    """The configuration in force, and the source of each dotted key."""

    config: Config
    sources: Mapping[str, str]


def load(
    committed: bytes | None,
    local: bytes | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
) -> Effective:
    """Put the layers together.

    Args:
        committed: the content of ``.percy/config.toml``, None if there is none.
        local: the content of ``.percy/local.toml``.
        environ: the environment; names without a known section are not ours.
        flags: values from the command line by dotted key; None means "not given".

    Raises:
        InvalidConfig: with every problem, one a line.
    """
    reader = _Reader()
    reader.file(COMMITTED, committed, may_shape=True)
    reader.file(LOCAL, local, may_shape=False)
    reader.environment(environ)
    reader.flags(flags)
    return reader.finish()


def shaping(data: bytes | None) -> Config:
    """The configuration in a plan's own commit: what shapes that plan."""
    return load(data, None, {}, {}).config


def rows(effective: Effective) -> list[tuple[str, str, str]]:
    """(key, value, source) of every setting; values of ``env`` are not shown."""
    return [
        (key, _shown(value), effective.sources[key])
        for key, value in _leaves(effective.config)
    ]


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        hidden = [f'{json.dumps(name)} = "..."' for name in value]
        return f"{{ {', '.join(hidden)} }}" if hidden else "{}"
    return toml_value(value)


def _leaves(config: Config) -> Iterator[tuple[str, object]]:
    for key in _TOP:
        yield key, getattr(config, key)
    for name in _SECTIONS:
        for key, value in getattr(config, name):
            yield f"{name}.{key}", value
    for name, runner in config.runners.items():
        for key, value in runner:
            yield f"runners.{name}.{key}", value


def _pattern(path: Path) -> str:
    """The name of ``path`` in the tables of keys."""
    return ".".join((path[0], "*", *path[2:]) if path[0] == "runners" else path)


def _model(path: Path) -> tuple[type[Section], list[str]]:
    """The model that ``path`` is a key of, and that model's keys."""
    if len(path) == 1:
        return Config, _TOP
    model = _SECTIONS.get(path[0], RunnerConfig)
    return model, list(model.model_fields)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1, 0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"the keys are {', '.join(known)}"


def _problem_with(path: Path, value: object) -> str | None:
    """What is wrong with one value, or None."""
    model, _ = _model(path)
    if path[-1] == "command" and value == []:
        return 'is empty; give a list like ["mytool"]'
    try:
        model.model_validate({path[-1]: value})
    except ValidationError as error:
        return _explain(path, error)
    return None


def _explain(path: Path, error: ValidationError) -> str:
    if path == ("verify",):
        return "must be a shell command, or false for no gate"
    first = error.errors(include_url=False)[0]
    inside = "".join(f"[{part!r}]" for part in first["loc"][1:])
    said = _MUST.sub("", first["msg"])
    must = said if said.startswith("must") or "must" in said else f"must {said}"
    # The values of a runner's environment may be secrets.
    if path[-1] == "env":
        return f"{inside} {must}".strip()
    shown = repr(first["input"])
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    return f"{inside} is {shown}; {must}".strip()


class _Reader:
    """Collects values and problems, layer by layer."""

    def __init__(self) -> None:
        self._values: dict[Path, Any] = {}
        self._where: dict[Path, str] = {}
        self._problems: list[str] = []

    def file(self, name: str, data: bytes | None, *, may_shape: bool) -> None:
        """A TOML file."""
        if data is None:
            return
        try:
            document, lines = parse(data)
        except ValueError as error:
            self._problems.append(f"{name}:{error}")
            return
        found: list[tuple[int, str]] = []

        def complain(path: Path, problem: str) -> None:
            line = line_of(lines, path)
            found.append((line, f"{name}:{line}: {'.'.join(path)}: {problem}"))

        for path, value in _flatten(document, complain):
            if not may_shape and path[0] in SHAPING:
                complain(path, f"shapes a plan; set it in {COMMITTED}")
            else:
                where = f"{name}:{line_of(lines, path)}"
                self._take(path, value, where, complain)
        self._problems += [text for _, text in sorted(found)]

    def environment(self, environ: Mapping[str, str]) -> None:
        """Variables ``PERCYD_<SECTION>__<KEY>`` and ``PERCYD_<KEY>``."""
        for name in sorted(environ):
            path = _variable_path(name)
            if path is None:
                continue

            def complain(path: Path, problem: str, name: str = name) -> None:
                self._problems.append(f"{name}: {'.'.join(path)}: {problem}")

            if path[0] in LATER:
                complain(path, "not supported by this version")
            elif path[0] in SHAPING:
                complain(path, f"shapes a plan; set it in {COMMITTED}")
            elif path[0] not in _TABLES and len(path) > 1:
                complain(path, f"is no section; {_nearest(path[0], list(_TABLES))}")
            elif len(path) != 3 and path[0] == "runners":
                complain(path, "is no key; write PERCYD_RUNNERS__<NAME>__<KEY>")
            else:
                self._take(path, _variable(path, environ[name]), name, complain)

    def flags(self, flags: Mapping[str, object]) -> None:
        """Values from the command line."""

        def complain(path: Path, problem: str) -> None:
            key = ".".join(path)
            name = _OPTIONS.get(key, f"{FLAG}: {key}:")
            self._problems.append(f"{name} {problem}")

        for key, value in flags.items():
            if value is not None:
                self._take(tuple(key.split(".")), value, FLAG, complain)

    def _take(
        self, path: Path, value: object, where: str, complain: Callable[..., None]
    ) -> None:
        _, known = _model(path)
        if _pattern(path) in LATER:
            complain(path, "not supported by this version")
        elif path[0] == "runners" and not _RUNNER_NAME.match(path[1]):
            complain(path, "must be named with a-z, 0-9, '-' and '_', 48 at most")
        elif len(path) == 2 and path[0] == "runners":
            self._values.setdefault(path, {})
            self._where.setdefault(path, where)
        elif path[-1] not in known:
            complain(path, f"is no key; {_nearest(path[-1], known)}")
        elif problem := _problem_with(path, value):
            complain(path, problem)
        else:
            self._values[path] = value
            self._where[path] = where

    def finish(self) -> Effective:
        """Everything together, or every problem."""
        tree: dict[str, Any] = {}
        for path, value in sorted(self._values.items(), key=lambda item: len(item[0])):
            table = tree
            for part in path[:-1]:
                table = table.setdefault(part, {})
            table[path[-1]] = value
        sources = {".".join(path): where for path, where in self._where.items()}
        if not self._problems:
            self._problems += [
                f"{_source(sources, key)}: {key}: {problem}"
                for key, problem in conflicts(_unchecked(tree))
            ]
        if self._problems:
            shown = self._problems[:PROBLEMS_SHOWN]
            more = len(self._problems) - len(shown)
            raise InvalidConfig(
                "\n".join([*shown, *([f"and {more} more"] * (more > 0))])
            )
        config = Config.model_validate(tree)
        keys = [key for key, _ in _leaves(config)]
        return Effective(
            config, MappingProxyType({key: sources.get(key, DEFAULT) for key in keys})
        )


def _unchecked(tree: Mapping[str, Any]) -> Config:
    """The configuration before its keys are compared with each other."""
    runners = tree.get("runners", {})
    return Config.model_construct(
        lease=LeaseConfig.model_validate(tree.get("lease", {})),
        runners={name: RunnerConfig.model_validate(t) for name, t in runners.items()},
    )


def _source(sources: Mapping[str, str], key: str) -> str:
    """Where ``key`` was set, else anything near it."""
    parent = key.rpartition(".")[0]
    near = [where for name, where in sources.items() if name.startswith(parent)]
    return sources.get(key) or sources.get(parent) or (near or [DEFAULT])[0]


def _flatten(
    document: Mapping[str, Any], complain: Callable[..., None]
) -> Iterator[tuple[Path, object]]:
    """Every key with a value, as a path; complains about tables of no meaning."""
    for key, value in document.items():
        if key in LATER:
            complain((key,), "not supported by this version")
        elif key not in _TABLES and key not in _TOP:
            known = [*_TOP, *_TABLES]
            complain((key,), f"is no key; {_nearest(key, known)}")
        elif key not in _TABLES:
            yield (key,), value
        elif not isinstance(value, dict):
            complain((key,), f"is {value!r}; must be a table: [{key}]")
        elif key != "runners":
            for inner, leaf in value.items():
                yield (key, inner), leaf
        else:
            yield from _flatten_runners(value, complain)


def _flatten_runners(
    runners: Mapping[str, Any], complain: Callable[..., None]
) -> Iterator[tuple[Path, object]]:
    for name, runner in runners.items():
        if not isinstance(runner, dict):
            complain(("runners", name), f"must be a table: [runners.{name}]")
            continue
        yield ("runners", name), {}
        for key, leaf in runner.items():
            yield ("runners", name, key), leaf


def _variable_path(name: str) -> Path | None:
    """The setting that a variable names; None if it is none of ours."""
    if not name.startswith("PERCYD_"):
        return None
    path = tuple(name.removeprefix("PERCYD_").lower().split("__"))
    tables = [*_TABLES, *(word for word in LATER if "." not in word)]
    if len(path) == 1:
        return path if path[0] in _TOP else None
    near = path[0] in tables or difflib.get_close_matches(path[0], tables, 1, 0.75)
    return path if near else None


def _variable(path: Path, text: str) -> object:
    """The value of a variable: as it is if that fits, else as TOML."""
    model, known = _model(path)
    if path[-1] not in known or _problem_with(path, text) is None:
        return text
    is_list = isinstance(model.model_fields[path[-1]].default, tuple)
    if is_list and not text.lstrip().startswith("["):
        return [word.strip() for word in text.split(",") if word.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text
