"""What must hold between the tasks of one document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from percyd.core.document.fields import MAX_ITEMS
from percyd.core.document.nodes import Node, join, shown
from percyd.core.document.problems import Report, escaped
from percyd.core.graph import nearest, shortest_cycle

_CYCLE_SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Task:
    path: str
    line: int
    #: The nodes of what it depends on, by their text.
    needs: dict[str, tuple[int, Node]]


def check_relations(nodes: Sequence[Node], path: str, report: Report) -> None:
    """Ids are unique; dependencies are known and make no cycle.

    Values of a wrong type are passed over: they are reported with their field.
    """
    tasks: dict[str, _Task] = {}
    for index, node in enumerate(nodes):
        if isinstance(node.value, dict):
            _collect(tasks, node.value, join(path, index), report)
    for name, task in tasks.items():
        for need, (index, node) in task.needs.items():
            if need == name or need not in tasks:
                field = join(join(task.path, "depends_on"), index)
                report.add(node.line, field, _stray(name, need, tasks, report))
    _check_cycles(tasks, report)


def _collect(
    tasks: dict[str, _Task], values: dict[str, Node], path: str, report: Report
) -> None:
    name = values.get("id")
    if name is None or not isinstance(name.value, str):
        return
    if name.value in tasks:
        first = tasks[name.value].line
        text = f"{shown(name.value)} is the id of line {first} too; each id once"
        report.add(name.line, join(path, "id"), text)
        return
    tasks[name.value] = _Task(path, name.line, _needs(values.get("depends_on")))


def _needs(node: Node | None) -> dict[str, tuple[int, Node]]:
    if node is None or not isinstance(node.value, list):
        return {}
    if len(node.value) > MAX_ITEMS:
        return {}
    return {
        child.value: (index, child)
        for index, child in enumerate(node.value)
        if isinstance(child.value, str)
    }


def _stray(name: str, need: str, tasks: dict[str, _Task], report: Report) -> str:
    if need == name:
        return f"{shown(need)} is the task itself; other tasks of the plan are allowed"
    short = need.rpartition(".")[2]
    close = short if short in tasks else None
    if close is None and report.suggests:
        close = nearest(need, tasks)
    hint = f"did you mean {shown(close)}?" if close else "ids of its tasks are allowed"
    return f"{shown(need)} is no task of this plan; {hint}"


def _check_cycles(tasks: dict[str, _Task], report: Report) -> None:
    cycle = shortest_cycle(
        {
            name: [need for need in task.needs if need != name]
            for name, task in tasks.items()
        }
    )
    if cycle is None:
        return
    task = tasks[cycle[0]]
    _, node = task.needs[cycle[1]]
    text = f"is a cycle: {_arrows(cycle)}; tasks cannot wait for each other"
    report.add(node.line, join(task.path, "depends_on"), text)


def _arrows(cycle: list[str]) -> str:
    names = [escaped(name, 48) for name in cycle]
    if len(names) > _CYCLE_SHOWN:
        left_out = len(names) - _CYCLE_SHOWN + 1
        names[2:-2] = [f"({left_out:,} more)"]
    return " -> ".join(names)
