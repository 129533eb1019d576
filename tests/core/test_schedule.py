"""Which task an agent takes, and why the others wait."""

from __future__ import annotations

import pytest

from percyd.core.records import Why
from percyd.core.schedule import overlap, pick, prefix, waits
from percyd.core.snapshot import Snapshot
from tests.support.state import agent, plan, task


def snapshot(*tasks: object, **fields: object) -> Snapshot:
    return Snapshot().put(plan(**fields), *tasks, agent())  # type: ignore[arg-type]


def ids(found: object) -> list[str]:
    return [item.id.partition(".")[2] for item in found]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "folder"),
    [
        ("src/a.py", "src/"),
        ("src/*.py", "src/"),
        ("src/**/x.py", "src/"),
        ("/src/deep/[ab].py", "src/deep/"),
        ("README.md", ""),
        ("*.md", ""),
        ("docs/", "docs/"),
    ],
)
def test_a_pattern_stands_for_its_literal_folder(pattern: str, folder: str) -> None:
    assert prefix(pattern) == folder


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("src/a/*",), ("src/b/*",), False),
        (("src/*",), ("src/b/*",), True),
        (("src/b/*",), ("src/*",), True),
        (("src/a.py",), ("src/b.py",), True),
        (("src/*",), ("srcs/*",), False),
        (("README.md",), ("src/*",), True),
        ((), ("src/*",), False),
        ((), (), False),
    ],
)
def test_reservations_overlap_by_folder(
    ours: tuple[str, ...], theirs: tuple[str, ...], expected: bool
) -> None:
    assert overlap(ours, theirs) is expected
    assert overlap(theirs, ours) is expected


def test_priority_goes_before_the_longest_path() -> None:
    view = snapshot(
        task("p", "lone", priority=1),
        task("p", "root"),
        task("p", "mid", "root"),
        task("p", "leaf", "mid"),
        task("p", "short"),
    )
    assert ids(pick(view, agent(), 3, ()))[:2] == ["lone", "root"]
    assert ids(pick(view, agent(), 1, ())) == ["lone"]


def test_two_agents_rarely_want_the_same_task() -> None:
    view = snapshot(*(task("p", f"t{n}") for n in range(64)))
    firsts = {ids(pick(view, agent(f"box-{n:06x}"), 1, ()))[0] for n in range(16)}
    assert len(firsts) > 8


def test_one_capability_in_common_is_enough_and_none_asked_suits_all() -> None:
    view = snapshot(
        task("p", "any"),
        task("p", "db", specialization=("sql", "redis")),
        task("p", "ui", specialization=("css",)),
    )
    able = agent(capabilities=("sql", "go"))
    assert sorted(ids(pick(view, able, 9, ()))) == ["any", "db"]


def test_a_task_goes_only_to_an_agent_with_its_runner() -> None:
    view = snapshot(
        task("p", "mine", run=None, runner="tool"),
        task("p", "other", run=None, runner="else"),
    )
    assert ids(pick(view, agent(), 9, ())) == ["mine"]


def test_tasks_picked_together_have_no_overlapping_paths() -> None:
    view = snapshot(
        task("p", "a", paths=("src/*",)),
        task("p", "b", paths=("src/x/*",)),
        task("p", "c", paths=("docs/*",)),
        task("p", "d"),
    )
    picked = ids(pick(view, agent(), 9, ()))
    assert len(picked) == 3
    assert not {"a", "b"} <= set(picked)


def test_a_held_task_of_another_plan_reserves_its_paths() -> None:
    view = snapshot(task("p", "a", paths=("src/*",)))
    held = task("q", "z", paths=("src/y",), status="working")
    view = view.put(plan("q"), held)
    assert pick(view, agent(), 9, ()) == []
    assert [
        (w.code, w.what) for w in waits(view, task("p", "a", paths=("src/*",)))
    ] == [("paths", "q.z")]


@pytest.mark.parametrize(
    "fields", [{"status": "draft"}, {"paused": Why(code="paused_by_user")}]
)
def test_a_plan_that_is_held_back_gives_nothing(fields: dict[str, object]) -> None:
    view = snapshot(task("p", "a"), **fields)
    assert pick(view, agent(), 9, ()) == []
    assert waits(view, task("p", "a"))[0].code in ("draft", "paused")


def test_a_failed_attempt_rests_until_this_worker_has_seen_it_rest() -> None:
    tired = task("p", "a", attempt=2, retries=1, reason=Why(code="idle"))
    view = snapshot(tired)
    assert pick(view, agent(), 9, ()) == []
    assert pick(view, agent(), 9, {("p.a", 1)}) == []
    assert ids(pick(view, agent(), 9, {("p.a", 2)})) == ["a"]


def test_a_released_attempt_needs_no_rest() -> None:
    back = task("p", "a", attempt=2, retries=1, reason=Why(code="released"))
    assert ids(pick(snapshot(back), agent(), 9, ())) == ["a"]


def test_every_reason_for_waiting_is_told() -> None:
    view = snapshot(
        task("p", "a"),
        task("p", "b", "a", specialization=("rust",)),
        paused=Why(code="paused_by_user"),
    )
    found = waits(view, view.plans["p"].tasks["p.b"])
    assert [(w.code, w.what) for w in found] == [
        ("dependency", "p.a"),
        ("paused", "p"),
        ("no_agent", "rust"),
    ]


def test_a_prose_plan_waits_for_a_planner() -> None:
    planner = task("p", "think", type="plan", run=None, runner="tool")
    view = snapshot(planner)
    assert pick(view, agent(), 9, ()) == []
    assert waits(view, planner)[0].code == "no_agent"
