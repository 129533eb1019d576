"""Merged agent branches go, the newest stay, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import AGENT_BRANCHES
from percyd.dispatch.branches import Pruner, merged_branches
from tests.support.gitrepo import git
from tests.support.state import Bench, GitRemote, plan, task


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Six completed tasks on real git."""
    remote = GitRemote(tmp_path)
    made = Bench(remote)
    made.start()
    tasks = [task("p", f"t{n}") for n in range(6)]
    made.take_in(plan(base=made.base(readme="x")), *tasks)
    for claimed in made.claim(6):
        made.work(claimed)
        made.complete(claimed)
    yield made
    remote.close()


def agent_branches(bench: Bench) -> dict[str, str]:
    return {r: o for r, o in bench.remote.refs.items() if r.startswith(AGENT_BRANCHES)}


def test_all_but_the_newest_go_in_one_push(bench: Bench) -> None:
    assert len(agent_branches(bench)) == 6
    assert Pruner(bench.backend, kept=2, slack=1).step(bench.store.state.snapshot) == 4
    assert len(agent_branches(bench)) == 2
    assert Pruner(bench.backend, kept=2, slack=1).step(bench.store.state.snapshot) == 0


@pytest.mark.spoiled
def test_a_branch_that_is_not_at_its_recorded_commit_is_left_alone(
    bench: Bench,
) -> None:
    moved = next(iter(agent_branches(bench)))
    bench.remote.refs[moved] = bench.plan("p").base_commit
    stray = f"{AGENT_BRANCHES}stranger-000000/q.z"
    bench.remote.refs[stray] = bench.plan("p").base_commit
    found = merged_branches(bench.store.state.snapshot.tasks(), agent_branches(bench))
    assert moved not in found
    assert stray not in found
    Pruner(bench.backend, kept=2, slack=1).step(bench.store.state.snapshot)
    assert {moved, stray} <= set(agent_branches(bench))


def test_a_remote_that_refuses_deletions_is_asked_once(bench: Bench) -> None:
    assert isinstance(bench.remote, GitRemote)
    git(bench.remote.git.git_dir, "config", "receive.denyDeletes", "true")
    pruner = Pruner(bench.backend, kept=2, slack=1)
    assert pruner.step(bench.store.state.snapshot) == 0
    git(bench.remote.git.git_dir, "config", "receive.denyDeletes", "false")
    assert pruner.step(bench.store.state.snapshot) == 0
    assert len(agent_branches(bench)) == 6
