"""A plan's graph as text that other programs draw, and as a drawing of its own.

Titles come from anybody who can push: each format gets them escaped in its own way, and
what could act on a terminal or is no legal XML is spelled out in all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape

from percyd.core.edges import TaskStatus
from percyd.core.ids import short_of
from percyd.core.records import Plan, Task
from percyd.core.snapshot import PlanState
from percyd.views.inert import plain
from percyd.views.layout import places

#: Fill and line of each status: dark on light, told apart without red and green too.
_COLOURS: Mapping[TaskStatus, tuple[str, str]] = {
    TaskStatus.BLOCKED: ("#f3f4f6", "#9ca3af"),
    TaskStatus.SUBMITTED: ("#dbeafe", "#3b82f6"),
    TaskStatus.ASSIGNED: ("#cffafe", "#0891b2"),
    TaskStatus.WORKING: ("#a5f3fc", "#0e7490"),
    TaskStatus.INPUT_REQUIRED: ("#fef3c7", "#d97706"),
    TaskStatus.COMPLETED: ("#dcfce7", "#16a34a"),
    TaskStatus.FAILED: ("#fee2e2", "#dc2626"),
    TaskStatus.CANCELLED: ("#fae8ff", "#a21caf"),
}
_TITLE_CHARS = 40
#: Pixels of a box in an SVG, and of the space beside and below it.
_WIDTH, _HEIGHT = 300, 44
_GAP_X, _GAP_Y = 60, 16
_TOP = 44
_FONT = 'font-family="sans-serif" font-size="12"'


def mermaid(state: PlanState) -> str:
    """The graph for Mermaid, as Markdown on many forges draws it."""
    tasks = _tasks(state)
    names = {task.id: f"t{number}" for number, task in enumerate(tasks)}
    lines = ["flowchart LR"]
    for task in tasks:
        label = "<br/>".join(map(_for_mermaid, _label(task)))
        lines.append(f'  {names[task.id]}["{label}"]:::{task.status}')
    lines += [f"  {names[a]} --> {names[b]}" for a, b in _edges(tasks)]
    used = {task.status for task in tasks}
    for status, (fill, stroke) in _COLOURS.items():
        if status in used:
            colours = f"fill:{fill},stroke:{stroke},color:#111827"
            lines.append(f"  classDef {status} {colours}")
    return "\n".join(lines) + "\n"


def dot(state: PlanState) -> str:
    """The graph for Graphviz."""
    tasks = _tasks(state)
    lines = [
        f"digraph {_for_dot(state.record.id)} {{",
        "  rankdir=LR;",
        f"  label={_for_dot(_cut(state.record.title))};",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
    ]
    for task in tasks:
        fill, line = _COLOURS[task.status]
        label = _for_dot("\n".join(_label(task)))
        colours = f'fillcolor="{fill}", color="{line}"'
        lines.append(f"  {_for_dot(short_of(task.id))} [label={label}, {colours}];")
    for before, after in _edges(tasks):
        pair = _for_dot(short_of(before)), _for_dot(short_of(after))
        lines.append(f"  {pair[0]} -> {pair[1]};")
    return "\n".join([*lines, "}"]) + "\n"


def svg(state: PlanState) -> str:
    """The graph as a drawing that needs no other program."""
    tasks = _tasks(state)
    ids = {task.id for task in tasks}
    place = places(
        {task.id: [n for n in task.depends_on if n in ids] for task in tasks}
    )
    corner = {
        name: (16 + column * (_WIDTH + _GAP_X), _TOP + row * (_HEIGHT + _GAP_Y))
        for name, (column, row) in place.items()
    }
    width = max((x for x, _ in corner.values()), default=0) + _WIDTH + 16
    height = max((y for _, y in corner.values()), default=_TOP) + _HEIGHT + 16
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_FONT}>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="26" font-size="16">{_for_xml(_heading(state.record))}</text>',
        *(_curve(corner[a], corner[b]) for a, b in _edges(tasks)),
        *(part for task in tasks for part in _box(task, *corner[task.id])),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


#: What `percyd plan graph --format` knows.
FORMATS: Mapping[str, Callable[[PlanState], str]] = {
    "mermaid": mermaid,
    "dot": dot,
    "svg": svg,
}


def _tasks(state: PlanState) -> list[Task]:
    return [state.tasks[name] for name in sorted(state.tasks)]


def _edges(tasks: Sequence[Task]) -> Iterator[tuple[str, str]]:
    """What comes first, and what needs it."""
    ids = {task.id for task in tasks}
    for task in tasks:
        for need in dict.fromkeys(task.depends_on):
            if need in ids:
                yield need, task.id


def _label(task: Task) -> tuple[str, str]:
    status = task.status.replace("_", " ")
    return f"{short_of(task.id)}: {status}", _cut(task.title)


def _heading(plan: Plan) -> str:
    return f"{plan.id}: {_cut(plan.title)} ({plan.status})"


def _cut(text: str) -> str:
    """A title on one line, with nothing in it that acts, and not too long."""
    inert = plain(text[: 4 * _TITLE_CHARS])
    return inert if len(inert) <= _TITLE_CHARS else f"{inert[: _TITLE_CHARS - 1]}…"


def _for_mermaid(text: str) -> str:
    """Every character that Mermaid, Markdown or HTML reads becomes an entity."""
    return "".join(
        char if char.isalnum() or char in " .,:_-" else f"#{ord(char)};"
        for char in text
    )


def _for_dot(text: str) -> str:
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'


def _for_xml(text: str) -> str:
    return escape(text)


def _box(task: Task, x: int, y: int) -> Iterator[str]:
    fill, line = _COLOURS[task.status]
    first, second = map(_for_xml, _label(task))
    yield (
        f'<g><title>{_for_xml(task.id)}</title><rect x="{x}" y="{y}" rx="6" '
        f'width="{_WIDTH}" height="{_HEIGHT}" fill="{fill}" stroke="{line}"/>'
    )
    yield f'<text x="{x + 8}" y="{y + 18}" font-weight="bold">{first}</text>'
    yield f'<text x="{x + 8}" y="{y + 35}">{second}</text></g>'


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    bend = _GAP_X // 2
    return (
        f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" '
        'fill="none" stroke="#6b7280"/>'
    )
