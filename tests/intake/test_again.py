"""Plans that have ended are done again, wherever their document is."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.document.parse import parse
from percyd.core.operations.archive import ArchivePlan, Retention
from percyd.core.operations.steer import CancelPlan
from percyd.core.records import Plan
from percyd.errors import IllegalTransition, InvalidPlan, PlanLost, UnknownIdError
from percyd.intake.again import rerun
from percyd.intake.submit import submit
from percyd.intake.template import template
from percyd.session import Percyd
from tests.support.gitrepo import commit, git, tip
from tests.support.shop import Shop
from tests.support.state import task

FILE = ".percy/plans/two.yaml"
PLAN = "title: Two\ntasks: [{id: a, title: A, run: 'true'}]\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def change(shop: Shop, files: dict[str, str | None]) -> None:
    commit(shop.clone, files)
    git(shop.clone, "push", "-q")


def cancel(shop: Shop, plan: str) -> None:
    shop.store.apply(CancelPlan(shop.store.stamp(), plan))


def archive(shop: Shop, plan: str) -> None:
    cancel(shop, plan)
    shop.store.apply(ArchivePlan(shop.store.stamp(), plan, Retention(plans=0)))
    assert plan in shop.store.state.snapshot.archived


def again(shop: Shop, plan: str) -> Plan:
    taken = rerun(shop.percyd.intake, plan)
    assert taken.commit is not None
    return shop.store.state.snapshot.plans[taken.plan].record


def test_a_plan_of_a_file_follows_the_newest_version_of_it(shop: Shop) -> None:
    change(shop, {FILE: PLAN})
    shop.percyd.intake.step()
    with pytest.raises(IllegalTransition, match=r"two is ready.*cancel two"):
        rerun(shop.percyd.intake, "two")
    cancel(shop, "two")
    change(shop, {FILE: PLAN.replace("Two", "Two!"), "more.txt": "x"})
    second = again(shop, "two")
    assert (second.id, second.title, second.status) == ("two-2", "Two!", "ready")
    assert (second.source.kind, second.source.path) == ("file", FILE)
    assert second.source.commit == second.base_commit == tip(shop.remote, "main")
    cancel(shop, "two-2")
    assert again(shop, "two-2").id == "two-3"
    change(shop, {FILE: None})
    fourth = again(shop, "two")
    assert (fourth.id, fourth.title, fourth.source.path) == ("two-4", "Two", FILE)
    assert fourth.source.blob != second.source.blob
    archive(shop, "two-2")
    fifth = again(shop, "two-2")
    assert (fifth.id, fifth.title) == ("two-5", "Two!")
    change(shop, {FILE: "title: Broken\ntasks: []\n"})
    with pytest.raises(InvalidPlan, match=f"{FILE}:2"):
        rerun(shop.percyd.intake, "two")


def test_what_was_submitted_is_done_again_even_out_of_the_archive(shop: Shop) -> None:
    first = submit(shop.percyd.intake, "-", PLAN.encode())
    assert submit(shop.percyd.intake, "-", PLAN.encode()).plan == "two-2"
    cancel(shop, first.plan)
    third = again(shop, "two")
    assert (third.id, third.source.kind, third.source.path) == ("two-3", "cli", None)
    archive(shop, "two-3")
    archive(shop, "two-2")
    cancelled = shop.store.state.snapshot.plans["two"].record.status
    assert cancelled == "cancelled"
    assert again(shop, "two-3").id == "two-4"
    assert [t.id for t in shop.store.state.snapshot.plans["two-4"].tasks.values()] == [
        "two-4.a"
    ]


def test_two_who_ask_at_one_moment_get_two_plans(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(shop.remote), str(path))
    other = Percyd.open(path, dict(os.environ))
    try:
        submit(shop.percyd.intake, "-", PLAN.encode())
        cancel(shop, "two")
        other.store.refresh()
        assert rerun(shop.percyd.intake, "two").plan == "two-2"
        assert rerun(other.intake, "two").plan == "two-3"
        assert submit(shop.percyd.intake, "-", PLAN.encode()).plan == "two-4"
    finally:
        other.close()


def test_what_is_nowhere_cannot_be_done_again(shop: Shop) -> None:
    shop.take_in(task("p", "a"))
    cancel(shop, "p")
    with pytest.raises(PlanLost, match="document of plan p was not kept"):
        rerun(shop.percyd.intake, "p")
    with pytest.raises(UnknownIdError):
        rerun(shop.percyd.intake, "q")


@pytest.mark.parametrize("runner", [None, "claude"])
def test_the_template_is_valid_with_all_that_it_offers(runner: str | None) -> None:
    text = template("p", runner)
    for shown in (text, re.sub(r"^( *)# (?=( *)[a-z_]+: )", r"\1", text, flags=re.M)):
        parsed = parse("p.yaml", shown.encode())
        assert parsed.problems == ()
        assert not parsed.missing_runner(runner)
    assert shown.count("#") < text.count("#") - 10
    assert parsed.document is not None
    assert parsed.document.defaults is not None
