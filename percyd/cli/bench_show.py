"""``percyd bench`` for people: one table for each benchmark."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from percyd.cli.tables import Json, line, several, styled, table, wrapped

_HEADS = ("CASE", "WHAT", "TOOK", "RAW GIT", "TIMES RAW PUSH", "SPREAD", "TARGET")


def render_bench(console: Console, report: Json) -> None:
    """Show a `Report.as_json`."""
    what = f"git {report['git']}, Python {report['python']}"
    line(console, styled(f"{what}, {several(report['cpus'], 'processor')}"))
    if report["quick"]:
        line(console, styled("quick: too short for its numbers to mean much", "yellow"))
    for section in report["benchmarks"]:
        line(console, Text())
        _section(console, section)


def _section(console: Console, section: Json) -> None:
    line(console, styled(section["title"], "bold"))
    before, after = section["load"]
    line(console, styled(f"load {before:.1f} before, {after:.1f} after", "dim"))
    table(console, [[Text(head, "dim") for head in _HEADS], *_rows(section)], 2)
    for row in section["rows"]:
        said = ", ".join(f"{name} {_brief(v)}" for name, v in row["facts"].items())
        if said:
            wrapped(console, styled(f"{row['case']}: {said}", "dim"), 2)


def _rows(section: Json) -> list[list[Text]]:
    return [
        [
            styled(row["case"]),
            styled(row["unit"]),
            styled(f"{_brief(row['measured_ms']['median'])} ms"),
            styled(f"{_brief(row['raw_ms']['median'])} ms for {row['raw_unit']}"),
            styled(_brief(row["times_raw"]["median"]), "bold"),
            styled(
                f"{_brief(row['times_raw']['low'])} to "
                f"{_brief(row['times_raw']['high'])}, {row['times_raw']['count']} times",
            ),
            _target(row["target"]),
        ]
        for row in section["rows"]
    ]


def _target(target: Json | None) -> Text:
    if target is None:
        return Text("-", "dim")
    text = f"{target['of']}: {_brief(target['value'])}, at most "
    text += f"{_brief(target['at_most'])}"
    if target["met"]:
        return styled(f"{text}: met", "green")
    return styled(f"{text}: missed", "red")


def _brief(value: float) -> str:
    """A number with about three digits that matter."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
