"""Ids for shell completion: those of the last state that this clone has seen.

Nothing is asked of the remote and no record is read: the names of the files in percyd's
own repository say it all. Whatever goes wrong, there is nothing to offer and nothing said.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click

from percyd.cli.common import Options

#: So many names are offered at most; a shell shows no more in a useful way.
MOST = 200
_FILE = re.compile(r"plans/([^/]+)/(?:plan|tasks/[0-9a-f]/([^/]+))\.json")


def plan_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The plans whose ids begin so."""
    return _offered(ctx, incomplete, tasks=False)


def task_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The tasks whose full ids begin so."""
    return [name for name in _offered(ctx, incomplete, tasks=True) if "." in name]


def any_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Plans, and from the dot on their tasks."""
    return _offered(ctx, incomplete, tasks="." in incomplete)


def _offered(ctx: click.Context, start: str, *, tasks: bool) -> list[str]:
    try:
        directory = (ctx.find_object(Options) or Options()).directory
        names = sorted(set(_names(directory or Path.cwd(), start, tasks=tasks)))
    except Exception:  # noqa: BLE001 - who presses a key wants no error
        return []
    # The first and the last decide how much a shell fills in by itself.
    return names if len(names) <= MOST else [*names[: MOST - 1], names[-1]]


def _names(directory: Path, start: str, *, tasks: bool) -> Iterator[str]:
    from percyd.home import Home, state_root
    from percyd.repo.adopted import adopted_names
    from percyd.repo.discover import discover

    clone = discover(directory)
    home = Home.of(state_root(os.environ), clone.name, clone.common_dir)
    plan, dot, _ = start.partition(".")
    folder = f"plans/{plan}/" if dot else "plans/"
    for name in adopted_names(home.hub, folder, recursive=tasks):
        match = _FILE.fullmatch(name)
        if not tasks:
            found = name.removeprefix("plans/")
        elif match and match[2]:
            found = f"{match[1]}.{match[2]}"
        else:
            continue
        if found and found.startswith(start):
            yield found
