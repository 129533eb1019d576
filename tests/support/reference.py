"""The reference pages that are made from the code: commands, settings, errors."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
from pydantic.fields import FieldInfo

from percyd import errors
from percyd.cli.main import cli
from percyd.config_text import toml_value
from percyd.errors import PercydError
from percyd.settings import (
    SHAPING,
    Config,
    LeaseConfig,
    LimitsConfig,
    RunnerConfig,
    Section,
    WatchConfig,
    WorkerConfig,
)
from tests.support.regenerate import between_markers

DOCS = Path(__file__).parents[2] / "docs"

#: Options that every command takes: told once.
_COMMON = {"--json", "-C", "--verbose", "--quiet", "--help"}
_SECTIONS: Mapping[str, type[Section]] = {
    "worker": WorkerConfig,
    "lease": LeaseConfig,
    "watch": WatchConfig,
    "limits": LimitsConfig,
    "runners.NAME": RunnerConfig,
}


def generated() -> dict[Path, str]:
    """What each page should hold; its own words are taken as they are."""
    parts = {
        "cli.md": {"options": _options(_root(), common=True), "commands": commands()},
        "config.md": {"settings": settings()},
        "errors.md": {"errors": error_codes()},
    }
    pages = {}
    for name, made in parts.items():
        path = DOCS / name
        text = path.read_text(encoding="utf-8")
        for marker, content in made.items():
            text = between_markers(text, marker, content)
        pages[path] = text
    return pages


def commands() -> str:
    """Every command, from the help that it prints."""
    return "\n\n".join(_command(context) for context in _all(_root()) if context.parent)


def _root() -> click.Context:
    return click.Context(cli, info_name="percyd", **cli.context_settings)


def _all(context: click.Context) -> Iterator[click.Context]:
    """A command's context, then those of the commands below it."""
    yield context
    command = context.command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _all(click.Context(below, info_name=name, parent=context))


def _command(context: click.Context) -> str:
    command = context.command
    depth = 2 if context.parent and context.parent.parent is None else 3
    pieces = [p for p in command.collect_usage_pieces(context) if p != "[OPTIONS]"]
    usage = " ".join([context.command_path, *pieces])
    parts = [
        f"{'#' * depth} `{context.command_path}`",
        f"    {usage}",
        _help(command.help or ""),
        _options(context, common=False),
    ]
    return "\n\n".join(filter(None, parts))


def _help(text: str) -> str:
    """A command's help as Markdown: what click keeps as it is becomes a code block."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        "\n".join(f"    {line}" for line in paragraph.splitlines()[1:])
        if paragraph.startswith("\b")
        else paragraph
        for paragraph in paragraphs
    )


def _options(context: click.Context, *, common: bool) -> str:
    rows = []
    for option in context.command.get_params(context):
        if not isinstance(option, click.Option):
            continue  # the usage names it
        if _COMMON.isdisjoint(option.opts) is common:
            continue
        record = option.get_help_record(context)
        if record is not None:
            rows.append(f"- `{record[0]}`: {' '.join(record[1].split())}")
    return "\n".join(rows)


def settings() -> str:
    """Every key with its default."""
    parts = [_keys("", Config)]
    parts += [f"### `[{name}]`\n\n{_keys(name, model)}" for name, model in _sections()]
    return "\n\n".join(parts)


def _sections() -> Iterable[tuple[str, type[Section]]]:
    return _SECTIONS.items()


def _keys(section: str, model: type[Section]) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for key, field in model.model_fields.items():
        if field.description is None:
            continue
        mark = " †" if (section or key) in SHAPING else ""
        meaning = field.description.removeprefix("default: ")
        default = _default(field)
        if default is None:
            words = meaning if meaning != field.description else "none"
            default, meaning = words, _MEANING.get(key, meaning)
        rows.append(f"| `{key}`{mark} | {default} | {meaning} |")
    return "\n".join(rows)


#: Keys whose description says what their default is.
_MEANING = {
    "name": "the first part of the agent's id",
    "project": "the project's name",
    "remote": "the remote that percyd works with",
}


def _default(field: FieldInfo) -> str | None:
    """A default as it would be written; None for none."""
    if field.default_factory is not None:
        return "`{}`"
    if field.default is None:
        return None
    return f"`{toml_value(field.default)}`"


def error_codes() -> str:
    """Every code of an error, with its exit code and its default message."""
    found: dict[str, type[PercydError]] = {}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, PercydError):
            found.setdefault(kind.code, kind)
    rows = [
        f"| `{kind.code}` | {kind.exit_code} | {inspect.cleandoc(kind.__doc__ or '').splitlines()[0]} |"
        for kind in sorted(found.values(), key=lambda kind: (kind.exit_code, kind.code))
    ]
    return "\n".join(
        ["| code | exit code | what it says by default |", "|---|---|---|", *rows]
    )
