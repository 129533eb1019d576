"""What is tried again is done as the plan's file has it by now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.operations.plans import Close, Resolve
from percyd.core.operations.steer import CancelTask
from percyd.errors import IllegalTransition, InvalidPlan
from percyd.intake.retry import Retried, retry
from percyd.intake.submit import submit
from percyd.session import Percyd
from tests.support.gitrepo import commit, git
from tests.support.shop import Shop

FILE = ".percy/plans/two.yaml"
A = "- {id: a, title: A, run: 'false'}\n"
B = "- {id: b, title: B, run: 'true', depends_on: [a]}\n"
C = "- {id: c, title: C, run: 'true'}\n"
PLAN = "title: Two\ntasks:\n"
MENDED = A.replace("false", "true")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def look(percyd: Percyd) -> list[str]:
    percyd.store.refresh()
    return [a.decision.subject for a in percyd.intake.step() if a.decision is not None]


def taken_in(shop: Shop, tasks: str, *cancelled: str) -> None:
    """A plan of which some tasks are cancelled, and what waited for them."""
    commit(shop.clone, {FILE: PLAN + tasks})
    look(shop.percyd)
    for name in cancelled:
        shop.store.apply(CancelTask(shop.store.stamp(), name))
    shop.store.apply(Resolve(shop.store.stamp()))
    shop.store.apply(Close(shop.store.stamp(), "two"))


def again(percyd: Percyd, task: str = "two.a") -> Retried:
    percyd.store.refresh()
    return retry(percyd.intake, task)


def status(shop: Shop) -> str:
    return shop.store.refresh().snapshot.plans["two"].record.status.value


def test_what_a_closed_plan_brings_back_is_mended_in_that_very_commit(
    shop: Shop,
) -> None:
    taken_in(shop, A + B, "two.a")
    assert status(shop) == "failed"
    commit(
        shop.clone,
        {
            FILE: PLAN + MENDED + B.replace("'true'", "date") + C,
            ".percy/config.toml": 'verify = "make"\n',
        },
    )
    assert look(shop.percyd) == []

    done = again(shop.percyd)

    assert done == Retried(("two.a", "two.b"), ("two.a", "two.b"), shop.store.state.tip)
    a, b = shop.task("two.a"), shop.task("two.b")
    assert (a.run, a.verify, a.status) == ("true", "make", "submitted")
    assert (b.run, b.status, status(shop)) == ("date", "blocked", "executing")
    # The rest of the edit follows, as the plan is open again.
    assert look(shop.percyd) == ["two, 1 added"]


def test_what_depends_on_another_dead_task_by_now_is_left(shop: Shop) -> None:
    taken_in(shop, A + B + C, "two.a", "two.c")
    commit(shop.clone, {FILE: PLAN + MENDED + B.replace("[a]", "[a, c]") + C})
    assert again(shop.percyd).back == ("two.a",)
    assert shop.task("two.b").depends_on == ("two.a",)
    assert again(shop.percyd, "two.c").back == ("two.c", "two.b")
    assert shop.task("two.b").depends_on == ("two.a", "two.c")


def test_an_open_plan_follows_its_file_before_a_task_of_it_is_tried_again(
    shop: Shop,
) -> None:
    taken_in(shop, A + B + C, "two.a")
    needs_d = MENDED.replace("}", ", depends_on: [d]}")
    commit(shop.clone, {FILE: PLAN + needs_d + B + C + C.replace("c,", "d,")})

    assert again(shop.percyd).edited == ("two.a",)

    a = shop.task("two.a")
    assert (a.run, a.depends_on, a.status) == ("true", ("two.d",), "blocked")
    assert shop.task("two.d").status == "submitted"


def test_an_edit_that_an_open_plan_has_kept_off_a_failed_task_holds_once_it_is_retried(
    shop: Shop,
) -> None:
    taken_in(shop, A + C, "two.a")
    commit(shop.clone, {FILE: PLAN + MENDED + C})
    assert look(shop.percyd) == ["two, 1 kept"]
    assert again(shop.percyd).edited == ("two.a",)
    assert shop.task("two.a").run == "true"


def test_nothing_is_tried_again_by_a_file_that_is_bad_or_does_not_fit(
    shop: Shop,
) -> None:
    taken_in(shop, A + B, "two.a")
    tip = shop.store.state.tip
    for tasks, error, words in (
        ("- {id: a, title: A, rum: x}\n", InvalidPlan, rf"^{FILE}:3: "),
        (
            MENDED.replace("}", ", depends_on: [d]}") + B + C.replace("c,", "d,"),
            IllegalTransition,
            r"two\.a depends on two\.d .*\n?.*percyd plan rerun two",
        ),
        (
            MENDED.replace("}", ", depends_on: [b]}") + C.replace("c,", "b,"),
            IllegalTransition,
            "two.a depends on two.b, which is cancelled",
        ),
    ):
        commit(shop.clone, {FILE: PLAN + tasks})
        with pytest.raises(error, match=words):
            again(shop.percyd)
    assert shop.store.refresh().tip == tip


def test_a_clone_that_is_behind_takes_nothing_back(shop: Shop, tmp_path: Path) -> None:
    commit(shop.clone, {FILE: PLAN + A})
    git(shop.clone, "push", "-q")
    git(tmp_path, "clone", "-q", str(shop.remote), "behind")
    behind = Percyd.open(tmp_path / "behind", dict(os.environ))
    taken_in(shop, MENDED.replace("A,", "B,"), "two.a")
    try:
        assert again(behind).edited == ()
    finally:
        behind.close()
    assert (shop.task("two.a").title, shop.task("two.a").run) == ("B", "true")


def test_a_task_of_a_submitted_document_comes_back_with_the_config_of_today(
    shop: Shop,
) -> None:
    submit(shop.percyd.intake, "else.yaml", (PLAN + A).encode())
    shop.store.apply(CancelTask(shop.store.stamp(), "else.a"))
    commit(shop.clone, {".percy/config.toml": 'verify = "make"\n'})
    git(shop.clone, "push", "-q")
    done = again(shop.percyd, "else.a")
    assert (done.back, done.edited) == (("else.a",), ("else.a",))
    assert shop.task("else.a").verify == "make"
    assert again(shop.percyd, "else.a") == Retried((), (), None)
