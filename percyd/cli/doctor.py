"""``percyd doctor``: one line for each thing that percyd needs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, console, pass_options, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from percyd.doctor.check import Check

_COLOURS = {"ok": "green", "warning": "bold yellow", "problem": "bold red"}
_MARK_WIDTH = 9
_NAME_WIDTH = 14


@click.command(short_help="Check git, remote, state, hooks and runners.")
@click.option(
    "--fix",
    is_flag=True,
    help="First mend what cannot lose work: push what dead processes left to rescue refs "
    "and give their tasks back.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="Also make a branch and a ref on the remote, and delete them again: that proves "
    "what its protections allow.",
)
@common
@pass_options
def doctor(options: Options, fix: bool, probe: bool) -> int:
    """Check git, the remote, the state, the runners, and what dead processes left.

    Without --fix and --probe nothing is changed, except that percyd's folder for local
    state is made if it is not there. The exit code is 0 if there is no problem, else
    that of the worst one: 4 for a state branch that is refused, 3 for a remote that
    cannot be reached, 2 for bad input, 1 for anything else.
    """
    from percyd.doctor.check import exit_code
    from percyd.doctor.examine import examine

    checks = []
    out = console()
    found = examine(options.directory or Path.cwd(), os.environ, fix=fix, probe=probe)
    for check in found:
        checks.append(check)
        if not options.json:
            _show(out, check)
    if options.json:
        counts = {mark: sum(c.mark == mark for c in checks) for mark in _COLOURS}
        print_json({"checks": [c.as_json() for c in checks], "summary": counts})
    else:
        _sum_up(out, checks)
    return exit_code(checks)


def _sum_up(out: Console, checks: Sequence[Check]) -> None:
    """The last line: the list above may be longer than the window."""
    from rich.text import Text

    from percyd.cli.tables import joined, several

    parts = []
    for mark in ("problem", "warning"):
        names = [check.name for check in checks if check.mark == mark]
        if names:
            words = f"{several(len(names), mark)} ({', '.join(dict.fromkeys(names))})"
            parts.append(Text(words, _COLOURS[mark]))
    fine = sum(check.mark == "ok" for check in checks)
    parts.append(Text(f"{fine} ok" if parts else f"all {fine} ok", _COLOURS["ok"]))
    out.print(joined(parts, ", "), soft_wrap=True)


def _show(out: Console, check: Check) -> None:
    """The line, and below it what to do; commands are not cut, to be copied whole."""
    from rich.text import Text

    from percyd.cli.tables import styled

    line = Text(check.mark.value.ljust(_MARK_WIDTH), _COLOURS[check.mark.value])
    line += Text(check.name.ljust(_NAME_WIDTH), "dim") + styled(check.message)
    out.print(line, soft_wrap=True)
    if check.hint:
        out.print(Text(" " * _MARK_WIDTH) + styled(check.hint), soft_wrap=True)
