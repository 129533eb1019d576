"""One plan, one task: everything about it, and what an unknown id is told."""

from __future__ import annotations

import json

import pytest

from percyd.core.snapshot import ArchivedPlan, Snapshot, build
from percyd.errors import UnknownIdError
from percyd.views.show import plan_show, task_show
from tests.support.state import agent, plan, task

ARCHIVED = "percyd plan show ancient shows it, percyd plan rerun ancient does it again"


def diamond() -> Snapshot:
    return build(
        [
            plan("shop"),
            task("shop", "a", "z"),
            task("shop", "b", "z"),
            task("shop", "end", "a", "b"),
            task("shop", "z"),
            plan("other"),
            ArchivedPlan("ancient"),
            agent(),
        ]
    )


def test_a_plan_shows_its_tasks_with_dependencies_first() -> None:
    shown = plan_show(diamond(), "shop")

    assert [each["id"] for each in shown["tasks"]] == [
        *("shop.z", "shop.a", "shop.b", "shop.end")
    ]
    assert shown["title"] == "Plan shop"
    assert shown["task_summary"]["total"] == 4
    assert shown["task_summary"]["blocked"] == 3
    assert json.loads(json.dumps(shown)) == shown


def test_a_task_shows_what_it_waits_for_and_what_waits_for_it() -> None:
    shown = task_show(diamond(), "shop.a")

    assert shown["blocked_by"] == [{"code": "dependency", "what": "shop.z"}]
    assert shown["dependents"] == ["shop.end"]
    assert task_show(diamond(), "shop.z")["dependents"] == ["shop.a", "shop.b"]


def test_a_circle_made_by_hand_can_be_looked_at() -> None:
    snapshot = build([plan(), task("p", "b", "a"), task("p", "a", "b")])

    assert [each["id"] for each in plan_show(snapshot, "p")["tasks"]] == ["p.a", "p.b"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shop.ende", "did you mean shop.end?"),
        ("shp.end", "did you mean shop.end?"),
        ("end", "did you mean shop.end?"),
        ("12345678", "percyd task list shows them all"),
        ("", "percyd task list shows them all"),
        ("ancient.a", ARCHIVED),
    ],
)
def test_an_unknown_task_is_told_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownIdError) as caught:
        task_show(diamond(), name)

    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shopp", "did you mean shop?"),
        ("12345678", "percyd plan list shows them all"),
        ("ancient", ARCHIVED),
    ],
)
def test_an_unknown_plan_is_told_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UnknownIdError) as caught:
        plan_show(diamond(), name)

    assert caught.value.hint == hint


def test_an_unknown_id_is_repeated_harmlessly() -> None:
    with pytest.raises(UnknownIdError, match=r"there is no plan \\x1b\[2J\\n"):
        plan_show(diamond(), "\x1b[2J\n")
