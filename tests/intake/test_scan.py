"""Committed plan files become plans, whichever clone looks, and however often."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import STATE_REF
from percyd.session import Percyd
from tests.support.gitrepo import commit, git, tip
from tests.support.shop import Shop

FILE = ".percy/plans/two.yaml"
PLAN = "title: Two\ntasks: [{id: a, title: A, run: 'true'}]\n"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def another(shop: Shop, tmp_path: Path) -> Iterator[Percyd]:
    """percyd in a second clone, taken before anything was planned."""
    path = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(shop.remote), str(path))
    made = Percyd.open(path, dict(os.environ))
    yield made
    made.close()


def push(shop: Shop) -> None:
    git(shop.clone, "push", "-q")


def taken(percyd: Percyd) -> list[str]:
    """What one look takes in: subjects of plans."""
    percyd.store.refresh()
    return [
        applied.decision.subject
        for applied in percyd.intake.step()
        if applied.decision is not None
    ]


def test_ten_looks_make_one_plan(shop: Shop, another: Percyd) -> None:
    commit(shop.clone, {FILE: PLAN})
    push(shop)
    assert taken(shop.percyd) == ["two, 1 task"]
    for _ in range(4):
        assert taken(shop.percyd) == []
        assert taken(another) == []
    assert len(another.store.state.snapshot.plans) == 1


def test_the_source_names_the_commit_the_blob_and_keeps_the_document(
    shop: Shop,
) -> None:
    oid = commit(shop.clone, {FILE: PLAN})
    taken(shop.percyd)
    source = shop.store.state.snapshot.plans["two"].record.source
    assert (source.kind, source.path, source.commit) == ("file", FILE, oid)
    assert source.blob == tip_of_file(shop.clone)
    assert source.submitted_by == "Tess Ter"
    assert shop.file("plans/two/source.yaml", STATE_REF) == PLAN.strip()


def tip_of_file(clone: Path) -> str:
    return git(clone, "rev-parse", f"HEAD:{FILE}")


def test_work_starts_from_the_remotes_base_not_from_local_commits(shop: Shop) -> None:
    remote = tip(shop.remote, "main")
    commit(shop.clone, {FILE: PLAN})
    taken(shop.percyd)
    assert shop.store.state.snapshot.plans["two"].record.base_commit == remote


def test_a_push_trigger_waits_for_the_remote(shop: Shop) -> None:
    shop.percyd.intake.config = shop.percyd.effective.config.model_copy(
        update={"trigger": "push"}
    )
    commit(shop.clone, {FILE: PLAN})
    assert taken(shop.percyd) == []
    push(shop)
    assert taken(shop.percyd) == ["two, 1 task"]


def test_a_stale_clone_is_silent_about_the_old_version(
    shop: Shop, tmp_path: Path
) -> None:
    commit(shop.clone, {FILE: PLAN})
    push(shop)
    stale = tmp_path / "stale"
    git(tmp_path, "clone", "-q", str(shop.remote), str(stale))
    commit(shop.clone, {FILE: PLAN.replace("Two", "Newer")})
    push(shop)
    assert taken(shop.percyd) == ["two, 1 task"]
    percyd = Percyd.open(stale, dict(os.environ))
    assert taken(percyd) == []
    assert percyd.intake.problems == []
    assert percyd.store.state.snapshot.plans["two"].record.title == "Newer"
    percyd.close()


def test_the_configuration_of_the_plans_own_commit_shapes_it(shop: Shop) -> None:
    config = 'verify = "make check"\n[limits]\nmax_attempts = 7\n'
    commit(shop.clone, {FILE: PLAN, ".percy/config.toml": config})
    (shop.clone / ".percy/config.toml").write_text("")
    taken(shop.percyd)
    record = shop.store.state.snapshot.plans["two"].record
    assert (record.verify, record.limits.max_attempts) == ("make check", 7)
    task = shop.task("two.a")
    assert (task.verify, task.max_attempts) == ("make check", 7)


def test_what_is_no_plan_file_is_left_alone(shop: Shop) -> None:
    commit(
        shop.clone,
        {
            ".percy/plans/README.md": "# Not a plan\n",
            ".percy/plans/.hidden.yaml": PLAN,
            ".percy/plans/notes.txt": "x",
            ".percy/plans/deep/two.yaml": PLAN,
        },
    )
    (shop.clone / ".percy/plans/link.yaml").symlink_to("deep/two.yaml")
    git(shop.clone, "add", "-A")
    git(shop.clone, "commit", "-qm", "link")
    assert taken(shop.percyd) == []
    assert shop.percyd.intake.problems == []


def test_a_bad_file_does_not_hold_up_a_good_one(shop: Shop) -> None:
    commit(shop.clone, {FILE: PLAN, ".percy/plans/bad.yaml": "title: [\n"})
    assert taken(shop.percyd) == ["two, 1 task"]
    (problem,) = shop.percyd.intake.problems
    assert problem.startswith(".percy/plans/bad.yaml:")


def test_a_base_that_is_not_on_the_remote_is_refused_by_name(shop: Shop) -> None:
    commit(shop.clone, {FILE: f"base: nowhere\n{PLAN}"})
    assert taken(shop.percyd) == []
    assert "base branch nowhere is not on the remote" in shop.percyd.intake.problems[0]


def test_a_file_on_its_way_into_a_commit_gets_no_word(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [r.__dict__["plan"] for r in caplog.records if r.msg == "saved"]

    left = shop.clone / ".percy/plans/left.yaml"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_text(PLAN)
    # It was there before percyd was: nobody is about to commit it.
    assert taken(shop.percyd) == []
    assert said() == ["left.yaml"]
    left.unlink()
    (shop.clone / FILE).write_text(PLAN)
    assert taken(shop.percyd) == []
    commit(shop.clone, {FILE: PLAN})
    assert taken(shop.percyd) == ["two, 1 task"]
    assert said() == ["left.yaml"]
    old = shop.clone / ".percy/plans/old.yaml"
    old.write_text(PLAN)
    assert taken(shop.percyd) == []
    assert said() == ["left.yaml"]
    old_s = old.stat().st_mtime - 60
    os.utime(old, (old_s, old_s))
    for _ in range(2):
        assert taken(shop.percyd) == []
    assert said() == ["left.yaml", "old.yaml"]
