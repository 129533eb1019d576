"""Landing: what moves, what is added first, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from percyd.core.edges import PlanStatus
from percyd.core.operations.claims import EndAttempt, Ending
from percyd.core.operations.landing import Land
from percyd.core.operations.plans import Close
from percyd.core.operations.retry import Retry
from percyd.core.operations.steer import Pause
from percyd.core.reasons import Reason
from percyd.core.records import Task, Why
from percyd.errors import BranchCheckedOut, IllegalTransition, UnknownIdError
from percyd.state.tickets import Applied
from tests.support.state import Bench, fence, plan, task

MAIN = "refs/heads/main"
BRANCH = "refs/heads/percy/plan/p"


def bench_with(*tasks: Task, do: bool = True, **fields: Any) -> Bench:
    """A plan ``p`` that started from the remote's main; its tasks are done."""
    bench = Bench()
    bench.start()
    bench.remote.refs[MAIN] = bench.base(readme="x")
    tasks = tasks or (task("p", "a"),)
    bench.take_in(plan(base=bench.remote.refs[MAIN], **fields), *tasks)
    if do:
        bench.do(*(each.id for each in tasks))
    return bench


def move_main(bench: Bench, **files: str) -> str:
    """Somebody pushes to main."""
    tip = bench.remote.refs[MAIN]
    content = bench.remote.commits[tip].files
    for name, text in files.items():
        content = content.set(name, text.encode())
    bench.remote.refs[MAIN] = bench.remote.commit([tip], content, "by hand")
    return bench.remote.refs[MAIN]


def land(bench: Bench, **how: Any) -> Applied:
    return bench.store.apply(Land(bench.store.stamp(), "p", "main", **how))


def do_landing(bench: Bench) -> None:
    """What an agent does with a task land-N, without a gate."""
    (claimed,) = bench.claim()
    bench.work(claimed)
    tip, base = bench.remote.refs[BRANCH], bench.remote.refs[MAIN]
    merged = bench.backend.merge(tip, base, "merge", bench.clock.now())
    bench.complete(claimed, merged.commit)  # type: ignore[union-attr]


def landed(bench: Bench) -> tuple[str | None, str | None]:
    result = bench.plan("p").result
    assert result is not None
    return result.landed_commit, result.landed_into


def test_the_base_branch_moves_forward_in_the_push_that_says_so() -> None:
    bench = bench_with()
    result = bench.plan("p").result
    assert result is not None
    assert land(bench).commit == bench.store.state.tip
    assert bench.remote.refs[MAIN] == result.commit == bench.remote.refs[BRANCH]
    assert landed(bench) == (result.commit, "main")
    assert bench.plan("p").status is PlanStatus.DONE
    assert land(bench).commit is None  # already so


def test_a_base_that_has_moved_is_merged_and_gated_first() -> None:
    bench = bench_with(verify="make test")
    moved = move_main(bench, other="y")
    land(bench)
    assert bench.remote.refs[MAIN] == moved
    assert (bench.plan("p").status, bench.plan("p").result) == ("executing", None)
    added = bench.task("p.land-1")
    assert (added.type, added.verify, added.status) == (
        "land",
        "make test",
        "submitted",
    )
    assert (added.runner, added.run, added.max_attempts) == (None, None, 3)
    with pytest.raises(IllegalTransition, match=r"executing.*open: p\.land-1"):
        land(bench)


def test_a_base_that_moves_again_is_merged_again() -> None:
    bench = bench_with()
    move_main(bench, other="y")
    land(bench)
    do_landing(bench)
    assert bench.plan("p").status is PlanStatus.DONE
    move_main(bench, other="z")
    land(bench)
    assert bench.task("p.land-2").status == "submitted"
    do_landing(bench)
    land(bench)
    files = bench.remote.commits[bench.remote.refs[MAIN]].files
    assert (files["other"], files["a"]) == (b"z", b"done")
    assert landed(bench) == (bench.remote.refs[MAIN], "main")


def test_what_a_person_has_merged_is_noted() -> None:
    bench = bench_with()
    merged = bench.backend.merge(
        move_main(bench, other="y"),
        bench.remote.refs[BRANCH],
        "by hand",
        bench.clock.now(),
    )
    bench.remote.refs[MAIN] = merged.commit  # type: ignore[union-attr]
    land(bench, may_move=False)
    assert landed(bench) == (bench.remote.refs[MAIN], "main")


def test_what_somebody_has_pushed_on_top_is_not_landed_unseen() -> None:
    bench = bench_with(do=False)
    (claimed,) = bench.claim()
    bench.work(claimed)
    bench.complete(claimed)
    record = bench.plan("p")
    tip = bench.remote.refs[BRANCH]
    files = bench.remote.commits[tip].files.set("sneaked", b"in")
    foreign = bench.remote.commit([tip], files, "by hand")
    bench.remote.refs[BRANCH] = foreign
    assert record.result is not None
    result = record.result.model_copy(update={"commit": foreign})
    view = bench.store.state.snapshot.put(record.model_copy(update={"result": result}))
    operation = Land(bench.store.stamp(), "p", "main")
    tips = {MAIN: bench.remote.refs[MAIN], BRANCH: foreign}
    answer: Any = operation.decide(view, tips)
    decision = answer.then(False)
    assert [t.id for t in decision.tasks] == ["p.land-1"]


def test_a_plan_that_is_not_done_does_not_land_and_says_what_is_missing() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"), do=False)
    with pytest.raises(IllegalTransition, match=r"is ready.*open: p\.a, p\.b"):
        land(bench)
    for claimed in bench.claim(2):
        ending = Ending("failed", Why(code=Reason.RUNNER_MISSING, message="no tool"))
        bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), ending))
    with pytest.raises(IllegalTransition, match=r"failed.*no tool.*retry p\.a"):
        land(bench)
    with pytest.raises(UnknownIdError):
        bench.store.apply(Land(bench.store.stamp(), "q", "main"))


def test_a_conflict_names_the_way_out() -> None:
    bench = bench_with(limits={"max_attempts": 1})
    move_main(bench, a="theirs")
    land(bench)
    (claimed,) = bench.claim()
    bench.work(claimed)
    ending = Ending("failed", Why(code=Reason.CONFLICT, message="main conflicts in a"))
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), ending))
    way = r"in a.*by hand and push main, then percyd task retry p\.land-1"
    with pytest.raises(IllegalTransition, match=way) as refused:
        land(bench)
    assert "conflicts in a" in str(refused.value)
    # A person merges by hand: then the task has nothing left that conflicts.
    files = bench.remote.commits[bench.remote.refs[BRANCH]].files
    both = [bench.remote.refs[MAIN], bench.remote.refs[BRANCH]]
    bench.remote.refs[MAIN] = bench.remote.commit(both, files, "by hand")
    bench.store.apply(Retry(bench.store.stamp(), "p.land-1"))
    do_landing(bench)
    land(bench)
    assert landed(bench)[1] == "main"


def test_a_base_that_is_checked_out_is_not_moved() -> None:
    bench = bench_with()
    before = bench.remote.refs[MAIN]
    with pytest.raises(BranchCheckedOut, match="git merge --ff-only percy/plan/p"):
        land(bench, may_move=False)
    assert bench.remote.refs[MAIN] == before
    # To add the merge moves nobody's checkout.
    move_main(bench, other="y")
    land(bench, may_move=False)
    assert bench.task("p.land-1").status == "submitted"


def test_branches_that_are_gone_are_named() -> None:
    bench = bench_with()
    kept = bench.remote.refs.pop(MAIN)
    with pytest.raises(IllegalTransition, match="main is not on the remote"):
        land(bench)
    bench.remote.refs[MAIN] = kept
    del bench.remote.refs[BRANCH]
    two = Bench(bench.remote, 2)
    two.store.refresh()
    with pytest.raises(IllegalTransition, match="percy/plan/p is gone"):
        land(two)


def test_a_landed_plan_is_closed_for_good() -> None:
    bench = bench_with()
    land(bench)
    assert bench.store.apply(Close(bench.store.stamp(), "p")).commit is None
    with pytest.raises(IllegalTransition, match="has landed"):
        bench.store.apply(Retry(bench.store.stamp(), "p.a"))


def test_a_plan_that_lands_by_itself_gets_its_merge_before_it_is_closed() -> None:
    bench = bench_with(land="auto", do=False)
    assert land(bench, by_itself=True).commit is None  # not due
    bench.do("p.a")
    assert bench.plan("p").status is PlanStatus.EXECUTING
    assert land(bench, by_itself=True).commit is None  # nothing is in its way
    move_main(bench, other="y")
    two = Bench(bench.remote, 2)
    two.store.refresh()
    land(two, by_itself=True)
    assert two.plan("p").status is PlanStatus.EXECUTING
    assert two.task("p.land-1").status == "submitted"


def test_a_plan_that_lands_by_itself_and_has_failed_is_closed_at_once() -> None:
    bench = bench_with(land="auto", do=False)
    (claimed,) = bench.claim()
    ending = Ending("failed", Why(code=Reason.RUNNER_MISSING, message="no tool"))
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), ending))
    assert bench.plan("p").status is PlanStatus.FAILED
    assert land(bench, by_itself=True).commit is None


def test_a_plan_that_was_paused_is_closed_and_left_to_a_person() -> None:
    bench = bench_with(land="auto", do=False)
    (claimed,) = bench.claim()
    bench.work(claimed)
    bench.store.apply(Pause(bench.store.stamp(), "p"))
    bench.complete(claimed)
    assert bench.plan("p").status is PlanStatus.DONE
    assert land(bench, by_itself=True).commit is None
    land(bench)
    assert landed(bench)[1] == "main"
