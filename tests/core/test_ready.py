"""The index of ready tasks is what it would be if it were made anew."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.core.ready import Ready, in_turn
from percyd.core.records import Task, Why
from percyd.core.schedule import pick
from percyd.core.snapshot import Snapshot, build
from tests.support.state import agent, plan, task

NAMES = [f"t{n}" for n in range(12)]
STATUSES = ["blocked", "submitted", "assigned", "completed", "failed"]


def contents(index: Ready) -> dict[object, list[str]]:
    return {
        (kind, rank): sorted(name for ids in shards.values() for name in ids)
        for kind, rank, shards in index.ranks()
    }


changes = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from(STATUSES),
        st.integers(-1, 1),
        st.booleans(),
        st.booleans(),
    ),
    max_size=40,
)


def changed(name: str, status: str, priority: int, special: bool, tired: bool) -> Task:
    number = NAMES.index(name)
    after = [NAMES[number - 1]] if number % 3 else []
    return task("p", name, *after).model_copy(
        update={
            "status": task("p", "x", status=status).status,
            "priority": priority,
            "specialization": ("sql",) if special else (),
            "retries": int(tired),
            "reason": Why(code="idle") if tired else None,
        }
    )


@given(changes, st.integers(0, 40))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_moved_task_by_task_it_is_the_same_as_made_anew(
    moves: list[tuple[str, str, int, bool, bool]], asked_at: int
) -> None:
    snapshot = Snapshot().put(plan(), *(task("p", name) for name in NAMES))
    for step, move in enumerate(moves):
        if step == asked_at:
            assert snapshot.plans["p"].ready.index is not None
        snapshot = snapshot.put(changed(*move))
    state = snapshot.plans["p"]
    anew = build([plan(), *state.tasks.values()]).plans["p"]

    assert contents(state.ready.index) == contents(anew.ready.index)
    assert state.tired == anew.tired
    assert state.open_count == anew.open_count


@given(changes)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_what_is_picked_is_the_best_of_what_is_ready(
    moves: list[tuple[str, str, int, bool, bool]],
) -> None:
    snapshot = Snapshot().put(plan(), *(task("p", name) for name in NAMES))
    for move in moves:
        snapshot = snapshot.put(changed(*move))
    state = snapshot.plans["p"]
    picked = pick(snapshot, agent(), len(NAMES), ())
    expected = {
        t.id
        for t in state.tasks.values()
        if t.status == "submitted"
        and not t.specialization
        and not t.retries
        and all(state.tasks[d].status == "completed" for d in t.depends_on)
    }

    assert {t.id for t in picked} == expected
    ranks = [(-t.priority, -state.shape.heights[t.id]) for t in picked]
    assert ranks == sorted(ranks)


def test_agents_start_at_different_places() -> None:
    tasks = [task("p", f"t{n}") for n in range(64)]
    ((_, _, shards),) = Ready.of((t, 1) for t in tasks).ranks()
    firsts = {next(in_turn(shards, f"box-{n:06x}")) for n in range(32)}

    assert len(firsts) > 16
    assert sorted(in_turn(shards, "box-000001")) == sorted(t.id for t in tasks)
