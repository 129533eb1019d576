"""A diff between two commits on standard output, however long it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from percyd.core.refs import Oid
    from percyd.repo.runner import Git

#: How a line of a patch begins, and the colour of such lines; the first that fits.
_COLOURS = (
    (("diff --git ", "index ", "--- ", "+++ "), {"bold": True}),
    (("@@",), {"fg": "cyan"}),
    (("+",), {"fg": "green"}),
    (("-",), {"fg": "red"}),
)


def print_patch(git: Git, old: Oid, new: Oid) -> None:
    """Print what differs: as git has it, but inert and coloured on a terminal."""
    from percyd.cli.untrusted import Rows, write_raw
    from percyd.repo.diffs import patch

    pieces = patch(git, old, new)
    if not sys.stdout.isatty():
        for piece in pieces:
            write_raw(piece)
        return
    printer = _Coloured("NO_COLOR" not in os.environ)
    rows = Rows(printer.print_row)
    for piece in pieces:
        rows.feed(piece)
    rows.flush()


class _Coloured:
    """Prints the lines of a patch; of a line in parts the first one has the colour."""

    def __init__(self, in_colour: bool) -> None:
        self._in_colour = in_colour
        self._begins = True

    def print_row(self, row: str, ended: bool) -> None:
        """Print one line."""
        from percyd.cli.untrusted import inert

        text = inert(row)
        if self._in_colour and self._begins:
            for starts, style in _COLOURS:
                if row.startswith(starts):
                    text = click.style(text, **style)
                    break
        click.echo(text, nl=ended)
        self._begins = ended


def print_stat(git: Git, old: Oid, new: Oid) -> None:
    """Print a line for each file."""
    from percyd.cli.common import console
    from percyd.repo.diffs import stat

    click.echo(stat(git, old, new, console().width), nl=False)


def files_json(git: Git, old: Oid, new: Oid) -> list[dict[str, Any]]:
    """The files that differ, for ``--json``."""
    from percyd.repo.diffs import file_changes

    return [
        {
            "path": change.path,
            "old_path": change.old_path,
            "added": change.added,
            "removed": change.removed,
        }
        for change in file_changes(git, old, new)
    ]


def print_json_patch(document: Mapping[str, Any], git: Git, old: Oid, new: Oid) -> None:
    """Print a document with the patch as its last member, written as it is read."""
    from percyd.cli.untrusted import echo_json_text
    from percyd.repo.diffs import patch

    click.echo(json.dumps(document, ensure_ascii=False)[:-1], nl=False)
    click.echo(', "patch": ', nl=False)
    pieces: Iterator[bytes] = patch(git, old, new)
    echo_json_text(pieces)
    click.echo("}")
