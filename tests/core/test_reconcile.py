"""An edited document against a plan in any state: what follows it, what stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from percyd.core import graph
from percyd.core.edges import DEAD, TaskStatus
from percyd.core.ids import full_id, short_of
from percyd.core.operations.base import Decision, Stamp
from percyd.core.operations.plans import Resolve
from percyd.core.operations.reconcile import (
    TASK_FIELDS,
    Changes,
    Reconcile,
    Reconciled,
    Version,
)
from percyd.core.records import Plan, Source, Task, Why
from percyd.core.snapshot import Snapshot, SourceFile
from percyd.errors import EditRefused, PlanChanged, PlanFinished
from percyd.state.codec import path_of
from percyd.state.verify.form import judge_trailers
from percyd.state.verify.others import judge_files
from percyd.state.verify.plans import judge_plans
from percyd.state.verify.step import Diff, OtherFile, Step
from percyd.state.verify.tasks import judge_tasks
from tests.support.state import Bench, agent, plan, task

NUMBERS = count(1)


def stamp() -> Stamp:
    return Stamp(f"{next(NUMBERS):032x}", datetime(2026, 1, 2, tzinfo=UTC))


def version(blob: str, *tasks: Task, **fields: Any) -> Version:
    source = Source(kind="file", path=".percy/plans/p.yaml", blob=blob, commit=blob * 2)
    return Version(plan(source=source, **fields), tasks)


def taken_in(first: Version, **fields: Any) -> Snapshot:
    record = first.plan.model_copy(update=fields)
    start = Snapshot().put(agent())
    return start.put(record, *first.tasks, SourceFile("p", "yaml", b"old"))


def edit(old: Version, new: Version) -> Reconcile:
    return Reconcile(stamp(), old, new, SourceFile("p", "yaml", b"new"))


def decided(view: Snapshot, operation: Reconcile) -> Reconciled:
    decision = operation.decide(view, {})
    assert isinstance(decision, Reconciled)
    return decision


def applied(view: Snapshot, old: Version, new: Version) -> tuple[Snapshot, Changes]:
    """The state after an edit, judged as ``percyd verify`` does; and what it said."""
    decision = decided(view, edit(old, new))
    after = view.put(*decision.puts)
    assert judged(view, after, decision) == []
    return after, decision.changes


def judged(before: Snapshot, after: Snapshot, decision: Decision) -> list[str]:
    """What ``percyd verify`` says of one commit."""
    trailers: dict[str, tuple[str, ...]] = {}
    for key, value in decision.trailers:
        trailers[key] = (*trailers.get(key, ()), value)
    tasks = [
        Diff(path_of(t), before.task(t.id), t)
        for t in decision.tasks
        if after.task(t.id)
    ]
    plans = [
        Diff(path_of(entry), before.plans[entry.id].record, entry)
        for entry in decision.puts
        if isinstance(entry, Plan)
    ]
    others = [
        OtherFile(path_of(entry), "source", entry.plan, True, True)
        for entry in decision.puts
        if isinstance(entry, SourceFile)
    ]
    step = Step(
        *("c" * 40, decision.op, trailers, before, after),
        *(tasks, plans, (), others, ("p",)),
    )
    rules = (judge_trailers, judge_tasks, judge_plans, judge_files)
    return [str(found) for rule in rules for found in rule(step)]


def statuses(view: Snapshot) -> dict[str, str]:
    return {short_of(t.id): t.status.value for t in view.tasks()}


def moved(view: Snapshot, short: str, status: str, **to: Any) -> Snapshot:
    """The state after somebody has done something to a task."""
    now = view.task(f"p.{short}")
    assert now is not None
    held = {"assigned_to": agent().id, "claim": f"token-{short}"}
    to = {**(held if status in ("assigned", "working") else {}), **to}
    ended = status in ("completed", "failed", "input_required")
    attempt = now.attempt + 1 if to.get("claim") or ended else now.attempt
    changed = {"status": TaskStatus(status), "attempt": attempt, **to}
    return view.put(now.model_copy(update=changed))


A, B = task("p", "a"), task("p", "b", "a")
OLD = version("1", A, B)


def test_new_tasks_wait_for_what_is_not_completed() -> None:
    view = moved(taken_in(OLD), "a", "completed")
    new = version("2", A, B, task("p", "c", "a"), task("p", "d", "c"), task("p", "e"))
    after, changes = applied(view, OLD, new)
    assert statuses(after) == {
        "a": "completed",
        "b": "blocked",
        "c": "submitted",
        "d": "blocked",
        "e": "submitted",
    }
    assert changes.added == ("p.c", "p.d", "p.e")
    assert changes.words == "3 added"


def test_what_nobody_has_begun_follows_the_document() -> None:
    words: Mapping[str, Any] = {
        "title": "Better",
        "description": "more",
        "type": "fix",
        "run": None,
        "runner": "tool",
        "specialization": ("db",),
        "paths": ("src/",),
        "priority": 7,
        "verify": "make check",
        "timeout_s": 5.0,
        "max_attempts": 9,
        "allow_empty": True,
    }
    new = version("2", task("p", "a", **words), B)
    after, changes = applied(taken_in(OLD), OLD, new)
    found = after.task("p.a")
    assert found is not None
    assert {key: found.__dict__[key] for key in words} == words
    assert changes == Changes(updated=("p.a",))


def test_an_added_dependency_holds_a_ready_task_back() -> None:
    old = version("1", A, task("p", "b"))
    after, _ = applied(taken_in(old), old, version("2", A, B))
    assert statuses(after) == {"a": "submitted", "b": "blocked"}
    view = moved(taken_in(old), "a", "completed")
    after, _ = applied(view, old, version("2", A, B))
    assert statuses(after) == {"a": "completed", "b": "submitted"}


def test_a_task_that_is_gone_is_cancelled_and_one_that_is_back_reopened() -> None:
    one = version("2", task("p", "b"))
    view, changes = applied(taken_in(OLD), OLD, one)
    gone = view.task("p.a")
    assert gone is not None
    assert gone.reason is not None
    assert (gone.status, gone.reason.code) == ("cancelled", "removed")
    assert changes == Changes(updated=("p.b",), cancelled=("p.a",))
    back = version("3", task("p", "a", title="Again"), B)
    view, changes = applied(view, one, back)
    found = view.task("p.a")
    assert found is not None
    assert (found.status, found.reason, found.title) == ("submitted", None, "Again")
    assert statuses(view)["b"] == "blocked"
    assert changes == Changes(updated=("p.b",), reopened=("p.a",))


@pytest.mark.parametrize(
    "status", ["assigned", "working", "input_required", "completed", "failed"]
)
def test_what_has_begun_stays_and_is_told(status: str) -> None:
    view = moved(taken_in(OLD), "a", status)
    after, changes = applied(view, OLD, version("2", task("p", "a", title="Other"), B))
    assert after.task("p.a") == view.task("p.a")
    (kept,) = changes.kept
    taken_up = ": a retry takes it up" if status == "failed" else ""
    assert str(kept) == f"p.a (edited, but {status}{taken_up})"
    after, changes = applied(view, OLD, version("2", task("p", "b")))
    assert after.task("p.a") == view.task("p.a")
    assert [str(kept) for kept in changes.kept] == [f"p.a (removed, but {status})"]
    # Told once: the next edit is about something else.
    later = version("3", task("p", "b", title="Later"))
    _, changes = applied(after, version("2", task("p", "b")), later)
    assert changes == Changes(updated=("p.b",))


def test_a_kept_task_that_nobody_holds_any_more_follows_the_next_edit() -> None:
    view = moved(taken_in(OLD), "a", "working")
    two = version("2", task("p", "a", title="Other"), B)
    view, _ = applied(view, OLD, two)
    view = moved(view, "a", "submitted", assigned_to=None, claim=None)
    view, changes = applied(view, two, version("3", *two.tasks, task("p", "c")))
    assert changes == Changes(added=("p.c",), updated=("p.a",))
    found = view.task("p.a")
    assert found is not None
    assert (found.title, found.attempt) == ("Other", 1)


def test_what_a_person_has_approved_is_not_changed_under_it() -> None:
    view = moved(taken_in(OLD), "a", "submitted", approved="d" * 40)
    after, changes = applied(view, OLD, version("2", task("p", "a", title="X"), B))
    assert after.task("p.a") == view.task("p.a")
    assert [kept.task for kept in changes.kept] == ["p.a"]


def test_what_percyd_itself_has_added_is_not_removed() -> None:
    # A landing has failed, and another task was tried again.
    extra = task("p", "land-1", type="land", title="Merge", status="failed")
    after, changes = applied(taken_in(OLD).put(extra), OLD, version("2", A))
    assert after.task(extra.id) == extra
    assert changes == Changes(cancelled=("p.b",))


@pytest.mark.parametrize("status", ["submitted", "working", "completed"])
def test_a_plan_that_is_being_landed_is_not_edited(status: str) -> None:
    view = taken_in(OLD).put(task("p", "land-1", type="land", status=status))
    with pytest.raises(PlanFinished, match="being landed"):
        edit(OLD, version("2", A)).decide(view, {})


def test_a_dependent_that_is_edited_in_the_same_commit_lives_on() -> None:
    old = version("1", A, B, task("p", "c", "b"))
    after, _ = applied(taken_in(old), old, version("2", A, task("p", "c", "a")))
    resolved = Resolve(stamp(), ("p.b",), ("p.c",)).decide(after, {})
    assert resolved is None
    assert statuses(after) == {"a": "submitted", "b": "cancelled", "c": "blocked"}


def test_resolve_cancels_what_an_edit_has_hung_on_a_failed_task() -> None:
    view = moved(taken_in(OLD), "a", "failed", reason=Why(code="idle"))
    bench = Bench()
    bench.start()
    bench.take_in(plan(base=bench.base(readme="x")), task("p", "a"), task("p", "z"))
    after, _ = applied(view, OLD, version("2", A, B, task("p", "c", "a")))
    decision = Resolve(stamp(), (), ("p.b", "p.c")).decide(after, {})
    assert isinstance(decision, Decision)
    assert {t.id: t.status.value for t in decision.tasks} == {
        "p.b": "cancelled",
        "p.c": "cancelled",
    }


def test_the_follow_up_travels_in_the_same_push() -> None:
    bench = Bench()
    bench.start()
    old = version("1", A, B, task("p", "c", "b"))
    record = old.plan.model_copy(update={"base_commit": bench.base(readme="x")})
    bench.take_in(record, *old.tasks)
    bench.do("p.a")
    two = version("2", A, task("p", "c"))
    bench.store.apply(edit(old, two))
    view = bench.store.state.snapshot
    assert statuses(view) == {"a": "completed", "b": "cancelled", "c": "submitted"}
    bench.do("p.c")
    assert bench.plan("p").status == "done"


def test_an_edit_that_leaves_nothing_to_do_closes_the_plan() -> None:
    bench = Bench()
    bench.start()
    record = OLD.plan.model_copy(update={"base_commit": bench.base(readme="x")})
    bench.take_in(record, *OLD.tasks)
    bench.do("p.a")
    bench.store.apply(edit(OLD, version("2", A)))
    assert bench.plan("p").status == "done"


def test_the_plan_follows_but_where_it_starts_and_lands_stays() -> None:
    new = version(
        "2",
        A,
        B,
        title="Better",
        description="more",
        verify="make",
        base_branch="other",
        base_commit="e" * 40,
    )
    after, changes = applied(taken_in(OLD), OLD, new)
    record = after.plans["p"].record
    assert (record.title, record.description, record.verify) == (
        *("Better", "more"),
        "make",
    )
    assert (record.base_branch, record.base_commit) == ("main", "b" * 40)
    assert record.source == new.plan.source
    assert len(changes.notes) == 1
    assert changes.notes[0].startswith("base stays main")


def test_ready_in_the_file_releases_a_draft_and_the_other_way_is_told() -> None:
    draft = version("1", A, B, status="draft")
    ready = version("2", A, B)
    view, changes = applied(taken_in(draft), draft, ready)
    assert view.plans["p"].record.status == "ready"
    assert (changes.released, changes.words) == (True, "released")
    again = version("3", A, B, status="draft")
    view, changes = applied(view, ready, again)
    assert view.plans["p"].record.status == "ready"
    assert "released already" in changes.notes[0]
    # Somebody has started it by hand: its file may go on to say draft.
    started = taken_in(draft, status="executing")
    _, changes = applied(started, draft, version("2", A, B, status="draft", title="X"))
    assert changes == Changes()


def test_it_applies_only_to_the_version_it_was_decided_for() -> None:
    two, three = version("2", A), version("3", B)
    assert edit(OLD, OLD).decide(taken_in(OLD), {}) is None
    assert edit(OLD, two).decide(taken_in(two), {}) is None
    with pytest.raises(PlanChanged):
        edit(OLD, two).decide(taken_in(three), {})


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_a_closed_plan_is_not_edited(status: str) -> None:
    with pytest.raises(PlanFinished, match=status):
        edit(OLD, version("2", A)).decide(taken_in(OLD, status=status), {})


def test_a_mixture_that_is_no_graph_is_refused_as_a_whole() -> None:
    view = moved(taken_in(OLD), "b", "cancelled", reason=Why(code="cancelled"))
    turned = version("2", task("p", "a", "b"), task("p", "b"), task("p", "c"))
    with pytest.raises(EditRefused, match=r"p\.b stays, cancelled") as caught:
        edit(OLD, turned).decide(view, {})
    assert caught.value.task == "p.a"
    loose = version("2", A, task("p", "b", "nowhere"))
    with pytest.raises(EditRefused, match="nowhere, which is not there"):
        edit(OLD, loose).decide(taken_in(OLD), {})


def test_a_change_of_nothing_but_comments_moves_the_source_alone() -> None:
    decision = decided(taken_in(OLD), edit(OLD, version("2", A, B)))
    assert decision.tasks == ()
    assert decision.subject == "p, no task changed"
    assert decision.puts[-1] == SourceFile("p", "yaml", b"new")


NAMES = "abcdefg"
#: One version: for each task the places of its dependencies in an order of its own.
DOCUMENTS = st.tuples(
    st.permutations(NAMES),
    st.integers(1, len(NAMES)),
    st.lists(st.sets(st.integers(0, 6), max_size=3), min_size=7, max_size=7),
    st.lists(st.integers(0, 1), min_size=7, max_size=7),
)
_BEGUN = ("completed", "assigned", "working", "failed", "input_required")
#: What happens between two edits.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([*_BEGUN, "cancelled", "back"]),
    ),
    max_size=6,
)


def document(
    blob: str, drawn: tuple[Sequence[str], int, list[set[int]], list[int]]
) -> Version:
    order, size, needs, words = drawn
    tasks = []
    for place, name in enumerate(order[:size]):
        after = sorted({order[need % place] for need in needs[place]} if place else ())
        title = f"Task {name} {words[place]}"
        tasks.append(task("p", name, *after, title=title))
    return version(blob, *tasks)


def happens(view: Snapshot, name: str, what: str) -> Snapshot:
    """Something that may befall a task befalls it, with what follows; else nothing."""
    now = view.task(full_id("p", name))
    waits = (TaskStatus.BLOCKED, TaskStatus.SUBMITTED)
    if now is None:
        return view
    if what == "back" and now.status is TaskStatus.WORKING:
        view = moved(view, name, "submitted", assigned_to=None, claim=None)
    elif what == "cancelled" and now.status in waits:
        view = moved(view, name, what, reason=Why(code="cancelled"))
    elif what not in ("back", "cancelled") and now.status is TaskStatus.SUBMITTED:
        reason = Why(code="runner_missing") if what == "failed" else None
        view = moved(view, name, what, reason=reason)
    return settled(view)


def settled(view: Snapshot) -> Snapshot:
    decision = Resolve(stamp()).decide(view, {})
    return view.put(*decision.puts) if isinstance(decision, Decision) else view


#: A cycle through tasks that an earlier edit has removed: the one to blame is new.
_REMOVED: list[Any] = [
    ([], ("abcdegf", 7, [set()] * 6 + [{0, 2, 5}], [0] * 7)),
    ([("a", "failed")], ("abcdefg", 1, [set()] * 7, [0] * 7)),
    ([], ("bgcdefa", 2, [set(), {0}, *[set()] * 5], [0] * 7)),
    ([], ("afcbedg", 4, [set(), set(), set(), {0, 1}, *[set()] * 3], [0] * 7)),
]


#: A task that was at work when it was removed, and comes back to the queue later.
_LEFT: list[Any] = [
    ([], ("cbadefg", 1, [set()] * 7, [0] * 7)),
    ([("c", "working")], ("abcdefg", 1, [set()] * 7, [0] * 7)),
    ([("c", "back")], ("abcdefg", 1, [set()] * 7, [0] * 7)),
]


@settings(max_examples=150, deadline=None)
@example(("abcdefg", 1, [set()] * 7, [0] * 7), _LEFT)
@example(("abcdefg", 1, [set()] * 7, [0] * 7), _REMOVED)
@given(first=DOCUMENTS, edits=st.lists(st.tuples(EVENTS, DOCUMENTS), max_size=5))
def test_any_edits_of_a_plan_at_work_leave_a_legal_plan(
    first: Any, edits: list[tuple[list[tuple[str, str]], Any]]
) -> None:
    old = document("0", first)
    view = taken_in(old)
    for number, (events, drawn) in enumerate(edits, 1):
        for name, what in events:
            view = happens(view, name, what)
        new = document(str(number), drawn)
        try:
            after, changes = applied(view, old, new)
        except EditRefused as error:
            named = error.task
        else:
            assert_is_right(view, after, new, changes)
            view, old = settled(after), new
            continue
        # Only what a person or a failure has ended can be in the way.
        assert any(t.status in DEAD for t in view.tasks())
        assert named in {t.id for t in new.tasks}


def assert_is_right(
    before: Snapshot, after: Snapshot, new: Version, changes: Changes
) -> None:
    edges = {t.id: t.depends_on for t in after.tasks()}
    graph.topological(edges)
    assert {need for needs in edges.values() for need in needs} <= edges.keys()
    wanted = {t.id: t for t in new.tasks}
    for found in after.tasks():
        earlier = before.task(found.id)
        if earlier is not None and not is_open_to_edits(earlier):
            assert found == earlier
        elif found.id in wanted:
            for key in TASK_FIELDS:
                assert found.__dict__[key] == wanted[found.id].__dict__[key]
            assert found.reason is None
        else:
            assert found.reason is not None
            assert found.reason.code == "removed"
    told = {kept.task for kept in changes.kept}
    assert told.isdisjoint({*changes.added, *changes.updated, *changes.cancelled})
    assert wanted.keys() <= edges.keys()


def is_open_to_edits(found: Task) -> bool:
    if found.status is TaskStatus.CANCELLED:
        return found.reason is not None and found.reason.code == "removed"
    return found.status in (TaskStatus.BLOCKED, TaskStatus.SUBMITTED)


def test_verify_reports_edits_that_break_the_rules() -> None:
    view = taken_in(OLD)
    good = decided(view, edit(OLD, version("2", A, task("p", "b"))))
    record = view.plans["p"].record
    b = view.task("p.b")
    assert b is not None
    source = SourceFile("p", "yaml", b"new")

    def said(*puts: Any) -> str:
        trailers = (
            ("Percy-Plan", "p"),
            *(("Percy-Task", entry.id) for entry in puts if isinstance(entry, Task)),
        )
        bad = replace(good, puts=puts, trailers=trailers)
        return "\n".join(judged(view, view.put(*puts), bad))

    plan_too = next(entry for entry in good.puts if isinstance(entry, Plan))
    assert said(*good.puts) == ""
    assert "follows the same version as before" in said(record, source)
    assert "keeps no document" in said(plan_too)
    assert "base_commit" in said(
        plan_too.model_copy(update={"base_commit": "f" * 40}), source
    )
    freed = b.model_copy(update={"status": TaskStatus.SUBMITTED, "depends_on": ()})
    assert "blocked -> submitted is no edge" in said(plan_too, freed, source)
    a = view.task("p.a")
    assert a is not None
    held_back = a.model_copy(update={"status": TaskStatus.BLOCKED})
    assert "is held back by no new dependency" in said(plan_too, held_back, source)
    why = a.model_copy(update={"reason": Why(code="idle")})
    assert "gets another reason" in said(plan_too, why, source)
