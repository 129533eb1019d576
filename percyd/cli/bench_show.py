"""``percyd bench`` for people: one table for each benchmark."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from percyd.cli.tables import Json, line, several, styled, table, wrapped

#: What matters comes first: a narrow terminal cuts the end.
_HEADS = ("CASE", "TIMES RAW PUSH", "TARGET", "SPREAD", "TOOK", "RAW GIT")


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
            styled(_brief(row["times_raw"]["median"]), "bold"),
            _target(row["target"]),
            styled(
                f"{_brief(row['times_raw']['low'])} to "
                f"{_brief(row['times_raw']['high'])}, {row['times_raw']['count']} times",
            ),
            styled(f"{_brief(row['measured_ms']['median'])} ms: {row['unit']}"),
            styled(f"{_brief(row['raw_ms']['median'])} ms for {row['raw_unit']}"),
        ]
        for row in section["rows"]
    ]


def _target(target: Json | None) -> Text:
    if target is None:
        return Text("-", "dim")
    text = f"at most {_brief(target['at_most'])}"
    if not target["of"].startswith("times raw"):
        text = f"{_brief(target['value'])} {target['of']}, {text}"
    if target["met"]:
        return styled(f"met: {text}", "green")
    return styled(f"missed: {text}", "red")


def _brief(value: float) -> str:
    """A number with about three digits that matter."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"
