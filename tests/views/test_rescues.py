"""What was kept of attempts, and what tasks have changed: on real git, in one process."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from percyd.cli.tasks_show import render_task
from percyd.core.ids import plan_branch
from percyd.errors import RefusedError, UnknownIdError, UsageError
from percyd.views import rescues
from percyd.views.changes import find_change
from percyd.views.rescues import Kept
from percyd.views.show import task_show
from tests.support.gitrepo import git
from tests.support.shop import Shop
from tests.support.state import task

_HALF = "git commit -q --allow-empty -m half && echo $PERCY_ATTEMPT > b.txt; false"
_FIRST = "refs/percy/rescue/p.b/1"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """p.a has landed, p.b has failed twice with work of its own, p.c waits for it."""
    made = Shop(tmp_path)
    made.take_in(
        task("p", "a", run="echo a > a.txt", priority=9),
        task("p", "b", "a", run=_HALF, max_attempts=2),
        task("p", "c", "b", run="true"),
    )
    for _ in range(3):
        made.run()
    yield made
    made.close()


def kept(shop: Shop) -> list[Kept]:
    hub, snapshot = shop.percyd.hub, shop.store.refresh().snapshot
    return rescues.bring(hub, snapshot, rescues.on_remote(hub))


def test_each_attempt_that_left_work_has_a_row(shop: Shop) -> None:
    found = kept(shop)
    rows = [rescues.row(shop.percyd.hub, shop.store.state.snapshot, k) for k in found]

    assert [(row["task"], row["attempt"]) for row in rows] == [("p.b", 1), ("p.b", 2)]
    first = rows[0]
    assert first["ref"] == _FIRST
    assert first["commit"] == shop.refs()[_FIRST]
    assert first["agent"] == shop.agent.id
    assert (first["outcome"], first["reason"]["code"]) == ("failed", "runner_failed")
    assert (first["commits"], first["files"], first["only_here"]) == (2, 1, False)
    assert rescues.pinned_here(shop.percyd.hub, found) == []


def test_a_name_that_is_none_and_one_that_nothing_is_kept_of(shop: Shop) -> None:
    found = kept(shop)
    assert rescues.find(found, "p.b/2").attempt == 2
    assert rescues.find(found, "p.b.1").attempt == 1
    with pytest.raises(UnknownIdError) as unknown:
        rescues.find(found, "p.b/3")
    assert "did you mean p.b/" in unknown.value.hint
    for name, example in (("b", "p.a/1"), ("p.b", "p.b/2"), ("edit.bad", "edit.bad/1")):
        with pytest.raises(UsageError, match="does not name an attempt") as bad:
            rescues.find(found, name)
        assert bad.value.hint == f"write TASK/ATTEMPT: {example}"


def test_a_task_has_changed_its_merge_or_what_was_kept_of_it(shop: Shop) -> None:
    hub, snapshot = shop.percyd.hub, shop.store.refresh().snapshot

    landed = find_change(hub, snapshot, "p.a")
    failed = find_change(hub, snapshot, "p.b")

    assert landed.commit == shop.refs()[plan_branch("p")]
    assert landed.base == shop.refs()["refs/heads/main"]
    assert failed.words == f"attempt 2 at p.b (failed), kept in {_FIRST[:-1]}2"
    assert (failed.base, failed.commit) == (landed.commit, kept(shop)[1].commit)
    with pytest.raises(RefusedError, match=r"p\.c is cancelled, and nothing of it"):
        find_change(hub, snapshot, "p.c")
    with pytest.raises(UnknownIdError):
        find_change(hub, snapshot, "p.z")


def test_once_a_plans_branch_has_gone_the_base_branch_tells(shop: Shop) -> None:
    hub, branch = shop.percyd.hub, plan_branch("p")
    tip = shop.refs()[branch]
    git(shop.remote, "update-ref", "refs/heads/main", tip)
    git(shop.remote, "update-ref", "-d", branch)

    (first, _) = kept(shop)

    assert rescues.base_of(hub, shop.store.state.snapshot, first) == tip
    git(shop.remote, "update-ref", branch, tip)


def test_work_that_came_after_its_agent_was_called_lost_is_named(shop: Shop) -> None:
    late = "refs/percy/rescue/p.b/1"
    found = task_show(shop.store.refresh().snapshot, "p.b")
    found["attempts"][0] |= {"rescue": None, "outcome": "lost"}
    there = rescues.kept_of(shop.percyd.hub, "p.b", ask_remote=True)
    assert [kept.ref for kept in there] == [late, late[:-1] + "2"]
    out = Console(file=StringIO(), width=100)

    render_task(out, {**found, "kept": {str(k.attempt): k.ref for k in there}})

    assert isinstance(out.file, StringIO)
    assert f"kept in     {late}" in out.file.getvalue()


def test_a_pin_counts_until_the_remote_has_the_same(shop: Shop) -> None:
    hub = shop.percyd.hub
    found = kept(shop)
    hub.pin("work/0/p.b.2", found[1].commit)
    hub.pin("work/0/p.a.1", shop.refs()[plan_branch("p")])
    hub.pin("work/1/p.c.1", found[0].commit)

    (only,) = rescues.pinned_here(hub, found)

    assert (only.key, only.ref) == ("p.c/1", "refs/percyd/pin/work/1/p.c.1")
    assert only.only_here
