"""The graph of a plan in each format, with titles that want to be more than text."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest

from percyd.core.records import Task
from percyd.core.snapshot import PlanState, build
from percyd.views.drawing import FORMATS, dot, mermaid, svg
from percyd.views.layout import places
from tests.support.state import plan, task

HOSTILE = (
    '"]; click t0 "javascript:alert(1)" <script>&amp;`\\" \x1b[31m\u202e#quot; \n'
    "end --> x ]]> </text> %% {{x}} ü"
)


def state_of(*tasks: Task, title: str = "Shop") -> PlanState:
    return build([plan("shop", title=title), *tasks]).plans["shop"]


DIAMOND = (
    task("shop", "model", status="completed", title="The model"),
    task("shop", "api", "model", status="working"),
    task("shop", "end", "model", "gone"),
    task("shop", "e2e", "api", "end"),
)


def test_mermaid_has_every_task_edge_and_status() -> None:
    assert mermaid(state_of(*DIAMOND)) == (
        "flowchart LR\n"
        '  t0["api: working<br/>Task api"]:::working\n'
        '  t1["e2e: blocked<br/>Task e2e"]:::blocked\n'
        '  t2["end: blocked<br/>Task end"]:::blocked\n'
        '  t3["model: completed<br/>The model"]:::completed\n'
        "  t3 --> t0\n"
        "  t0 --> t1\n"
        "  t2 --> t1\n"
        "  t3 --> t2\n"
        "  classDef blocked fill:#f3f4f6,stroke:#9ca3af,color:#111827\n"
        "  classDef working fill:#a5f3fc,stroke:#0e7490,color:#111827\n"
        "  classDef completed fill:#dcfce7,stroke:#16a34a,color:#111827\n"
    )


def test_dot_has_every_task_edge_and_colour() -> None:
    text = dot(state_of(*DIAMOND))

    assert '"api" [label="api: working\\nTask api", fillcolor="#a5f3fc"' in text
    assert '  "model" -> "end";\n' in text
    assert text.count(" -> ") == 4


def test_an_svg_has_columns_from_left_to_right() -> None:
    root = ElementTree.fromstring(svg(state_of(*DIAMOND)))
    name = "{http://www.w3.org/2000/svg}"
    x = {
        group.findtext(f"{name}title"): int(group.find(f"{name}rect").attrib["x"])  # type: ignore[union-attr]
        for group in root.iter(f"{name}g")
    }

    assert x["shop.model"] < x["shop.api"] == x["shop.end"] < x["shop.e2e"]
    assert len(list(root.iter(f"{name}path"))) == 4


def test_a_hostile_title_stays_text() -> None:
    state = state_of(task("shop", "a", title=HOSTILE), title=HOSTILE)

    drawn = {name: draw(state) for name, draw in FORMATS.items()}

    for text in drawn.values():
        assert text.replace("\n", "").isprintable()
        assert "<script" not in text.replace("&lt;script", "")
    (node,) = re.findall(r"^  t0.*$", drawn["mermaid"], re.M)
    assert re.fullmatch(
        r'  t0\["a: submitted<br/>([\w .,:_-]|#\d+;)*"\]:::submitted', node
    )
    (node,) = re.findall(r'^  "a" .*$', drawn["dot"], re.M)
    assert re.fullmatch(
        r'  "a" \[label="(\\.|[^"\\])*", fillcolor="#\w+", color="#\w+"\];', node
    )
    root = ElementTree.fromstring(drawn["svg"])
    assert [part.tag for part in root.iter() if "script" in str(part.tag)] == []
    assert '"]; click t0' in "".join(root.itertext())


def test_what_other_scripts_write_is_left_alone() -> None:
    state = state_of(task("shop", "a", title="Größe 大きさ"))

    assert all("Größe 大きさ" in draw(state) for draw in FORMATS.values())


def test_an_empty_plan_and_a_circle_made_by_hand_are_drawn() -> None:
    ElementTree.fromstring(svg(state_of()))
    circle = (task("shop", "a", "b"), task("shop", "b", "a"), task("shop", "c", "c"))
    ElementTree.fromstring(svg(state_of(*circle)))


def test_neighbours_stand_beside_each_other() -> None:
    """Chains that are named against their order cross nowhere."""
    needs: dict[str, list[str]] = {f"a{n}": [] for n in range(20)}
    needs |= {f"b{19 - n}": [f"a{n}"] for n in range(20)}
    found = places(dict(sorted(needs.items())))

    assert all(found[f"b{19 - n}"] == (1, found[f"a{n}"][1]) for n in range(20))


@pytest.fixture(scope="module")
def huge() -> PlanState:
    tasks = [
        task("shop", f"t{n}", *(f"t{m}" for m in {n // 2, n - 1} if m != n and n))
        for n in range(10_000)
    ]
    return state_of(*tasks)


@pytest.mark.parametrize("draw", FORMATS.values(), ids=FORMATS)
@pytest.mark.timeout(20)
def test_ten_thousand_tasks_are_drawn_at_once(
    huge: PlanState, draw: Callable[[PlanState], str]
) -> None:
    assert draw(huge).count("t9999: ") == 1
