"""Finished plans on real git: into their base branch, or the reason why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.operations.retry import Retry
from percyd.core.operations.steer import Pause, Resume
from percyd.core.records import Limits, Plan, PlanResult
from percyd.dispatch.land import PlanLanding
from percyd.dispatch.lander import PASSING_S, Lander
from percyd.errors import (
    BaseMoved,
    BranchCheckedOut,
    IllegalTransition,
    InvalidPlan,
    PushRefused,
)
from percyd.repo.discover import may_move
from tests.support.gitrepo import commit, git, tip, write_hook
from tests.support.newuser import percyd
from tests.support.shop import Shop
from tests.support.state import FakeClock, task

AUTO = "title: Two\nland: auto\ntasks: [{id: a, title: A, run: 'true'}]\n"
SILENT = "title: Three\ntasks: [{id: a, title: A, run: 'true'}]\n"
ONCE = Limits(max_attempts=1)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Shop]:
    """A repository that is its own remote, with main checked out."""
    made = Shop(tmp_path, has_remote=False)
    yield made
    made.close()


def landing(shop: Shop, say: Callable[[str], object] = lambda _: None) -> PlanLanding:
    return PlanLanding(
        shop.store,
        shop.percyd.clock,
        partial(may_move, shop.percyd.clone, shop.percyd.remote),
        say,
    )


def lander(shop: Shop) -> Lander:
    may = partial(may_move, shop.percyd.clone, shop.percyd.remote)
    return Lander(shop.store, shop.percyd.clock, may)


def plan_of(shop: Shop) -> Plan:
    return shop.store.state.snapshot.plans["p"].record


def result_of(shop: Shop) -> PlanResult:
    result = plan_of(shop).result
    assert result is not None
    return result


def push_to_main(shop: Shop, **files: str) -> str:
    """Somebody else pushes to main."""
    made = commit(shop.clone, {name.replace("_", "."): t for name, t in files.items()})
    git(shop.clone, "push", "-q", "origin", "main")
    return made


def test_a_base_that_has_moved_is_merged_gated_and_landed(shop: Shop) -> None:
    # The gate of the plan is the one of land-1: it has to see both sides.
    shop.take_in(
        task("p", "a", run="echo mine > mine.txt"),
        verify="cat mine.txt theirs.txt src/a.txt",
    )
    shop.run()
    theirs = push_to_main(shop, theirs_txt="theirs")
    with pytest.raises(BaseMoved, match=r"main has moved: p\.land-1 merges.*--wait"):
        landing(shop).land("p")
    done = shop.run()
    assert (done.id, done.status) == ("p.land-1", TaskStatus.COMPLETED)
    assert done.result is not None
    assert done.result.verdict is not None
    assert done.result.verdict.status == "passed"
    said: list[str] = []
    assert landing(shop, said.append).land_in_the_end("p").commit is not None
    assert said == []
    landed = result_of(shop)
    assert (landed.landed_commit, landed.landed_into) == (
        tip(shop.remote, "main"),
        "main",
    )
    assert tip(shop.remote, "main") == tip(shop.remote, "percy/plan/p")
    git(shop.remote, "merge-base", "--is-ancestor", theirs, "main")
    assert shop.file("mine.txt", "main") == "mine"
    assert landing(shop).land("p").commit is None  # already so


def test_whoever_lands_before_a_monitor_has_closed_the_plan_closes_it(
    shop: Shop,
) -> None:
    shop.take_in(task("p", "a", run="echo mine > mine.txt"), land="auto")
    shop.run()
    assert plan_of(shop).status is PlanStatus.EXECUTING
    landing(shop).land_in_the_end("p")
    assert result_of(shop).landed_commit == tip(shop.remote, "main")


def test_whoever_waits_for_a_paused_plan_is_told_so(shop: Shop) -> None:
    shop.take_in(task("p", "a", run="echo mine > mine.txt"))
    shop.run()
    push_to_main(shop, theirs_txt="theirs")
    said = []

    def say(words: str) -> None:
        said.append(words)
        if "main has moved" in words:
            shop.store.apply(Pause(shop.store.stamp(), "p"))
        elif "is paused" in words:
            shop.store.apply(Resume(shop.store.stamp(), "p"))
            shop.run()

    landing(shop, say).land_in_the_end("p")

    assert said[1:] == [
        "waiting for p.land-1",
        "p is paused; percyd plan resume p goes on",
    ]
    assert result_of(shop).landed_commit == tip(shop.remote, "main")


def test_a_gate_that_says_no_to_the_merge_fails_the_plan(shop: Shop) -> None:
    shop.take_in(
        task("p", "a", run="echo mine > mine.txt"),
        verify="! test -e theirs.txt",
        limits=ONCE,
    )
    shop.run()
    before = push_to_main(shop, theirs_txt="theirs")
    with pytest.raises(BaseMoved):
        landing(shop).land("p")
    assert shop.run().status is TaskStatus.FAILED
    with pytest.raises(IllegalTransition, match=r"failed.*gate.*retry p\.land-1"):
        landing(shop).land_in_the_end("p")
    assert tip(shop.remote, "main") == before


def test_a_conflict_names_the_files_and_is_resolved_by_hand(shop: Shop) -> None:
    shop.take_in(task("p", "a", run="echo mine > src/a.txt"), limits=ONCE)
    shop.run()
    push_to_main(shop, **{"src/a_txt": "theirs\n"})
    with pytest.raises(BaseMoved):
        landing(shop).land("p")
    failed = shop.run()
    assert failed.status is TaskStatus.FAILED
    assert failed.attempts[-1].reason is not None
    assert failed.attempts[-1].reason.code == "conflict"
    assert shop.worktrees() == []
    said = percyd(shop.clone, "plan", "land", "p", "--wait", code=1)
    assert said.err.count("\n") == 1
    assert "src/a.txt" in said.err
    assert "into main by hand and push main" in said.err
    git(shop.clone, "fetch", "-q")
    git(shop.clone, "merge", "-q", "origin/percy/plan/p", check=False)
    commit(shop.clone, {"src/a.txt": "both\n"}, "merged by hand")
    git(shop.clone, "push", "-q", "origin", "main")
    shop.store.apply(Retry(shop.store.stamp(), "p.land-1"))
    assert shop.run().status is TaskStatus.COMPLETED
    shown = json.loads(percyd(shop.clone, "plan", "land", "p", "--json").out)
    assert shown["landed_commit"] == tip(shop.remote, "main")
    assert shop.file("src/a.txt", "main") == "both"


def test_a_base_branch_that_refuses_is_said_in_one_line_and_changes_nothing(
    shop: Shop,
) -> None:
    hook = write_hook(
        shop.remote,
        "update",
        '[ "$1" != refs/heads/main ] || { echo "main is protected"; exit 1; }',
    )
    shop.take_in(task("p", "a", run="echo mine > mine.txt"), land="auto")
    assert shop.run().status is TaskStatus.COMPLETED
    assert plan_of(shop).status is PlanStatus.EXECUTING
    by_itself = lander(shop)
    by_itself.step()  # it is closed all the same
    assert plan_of(shop).status is PlanStatus.DONE
    assert by_itself.due(shop.store.state.snapshot) == []
    before = shop.refs()
    with pytest.raises(PushRefused, match="main is protected") as refused:
        landing(shop).land("p")
    assert "\n" not in str(refused.value)
    assert shop.refs() == before
    hook.unlink()
    lander(shop).step()
    assert result_of(shop).landed_commit == tip(shop.remote, "main")


def test_a_lock_that_somebody_left_on_the_base_holds_a_landing_up_for_seconds(
    shop: Shop,
) -> None:
    shop.take_in(task("p", "a", run="echo mine > mine.txt"), land="auto")
    shop.run()
    clock = FakeClock()
    by_itself = Lander(shop.store, clock)
    lock = shop.remote / "refs/heads/main.lock"
    for _ in range(2):
        lock.touch()
        by_itself.step()
        assert by_itself.due(shop.store.state.snapshot) == []
        clock.boot += PASSING_S
        assert len(by_itself.due(shop.store.state.snapshot)) == 1
    lock.unlink()
    by_itself.step()
    assert result_of(shop).landed_commit == tip(shop.remote, "main")


def test_two_that_land_at_once_land_once(shop: Shop) -> None:
    shop.take_in(task("p", "a", run="echo mine > mine.txt"), land="auto")
    shop.run()
    one, two = lander(shop), lander(shop)
    (due,) = two.due(shop.store.state.snapshot)
    one.step()
    state = tip(shop.remote, "percy/state")
    two._land(due)
    assert tip(shop.remote, "percy/state") == state
    assert result_of(shop).landed_into == "main"


def test_a_base_that_is_checked_out_is_left_to_its_user(alone: Shop) -> None:
    alone.take_in(task("p", "a", run="echo mine > mine.txt"))
    alone.run()
    before = tip(alone.clone, "main")
    with pytest.raises(BranchCheckedOut, match="main is checked out here") as refused:
        landing(alone).land("p")
    assert tip(alone.clone, "main") == before
    assert refused.value.hint.startswith("run: git ")
    git(alone.clone, *refused.value.hint.removeprefix("run: git ").split())
    landing(alone).land("p")
    assert result_of(alone).landed_commit == tip(alone.clone, "main")
    assert git(alone.clone, "status", "--porcelain") == ""


def test_a_base_that_is_not_checked_out_moves_without_a_remote(alone: Shop) -> None:
    git(alone.clone, "switch", "-q", "-c", "side")
    alone.take_in(task("p", "a", run="echo mine > mine.txt"))
    alone.run()
    landing(alone).land("p")
    assert tip(alone.clone, "main") == tip(alone.clone, "percy/plan/p")
    assert result_of(alone).landed_commit == tip(alone.clone, "main")


def test_landing_by_itself_is_refused_where_it_would_move_a_checkout(
    alone: Shop,
) -> None:
    plans = {".percy/plans/two.yaml": AUTO, ".percy/plans/three.yaml": SILENT}
    commit(alone.clone, {**plans, ".percy/config.toml": 'land = "auto"\n'})
    intake = alone.percyd.intake
    three, two = sorted(intake.files(), key=lambda file: file.name)
    with pytest.raises(InvalidPlan, match=r"two\.yaml:2: land: is auto, but main is"):
        intake.take_file(two)
    with pytest.raises(InvalidPlan, match=r"three\.yaml:1: land: is auto, but main"):
        intake.take_file(three)
    git(alone.clone, "switch", "-q", "-c", "side")
    assert intake.take_file(two) is not None
    assert intake.take_file(three) is not None
    plans_now = alone.store.state.snapshot.plans
    assert {name: plans_now[name].record.land for name in plans_now} == {
        "two": "auto",
        "three": "auto",
    }
