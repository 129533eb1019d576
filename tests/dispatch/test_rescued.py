"""A rescue ref that comes after the completion goes, and no other does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import rescue_ref
from percyd.core.operations.claims import EndAttempt, Ending
from percyd.core.reasons import Reason
from percyd.core.records import Why
from percyd.dispatch.rescued import RescueSweeper
from tests.support.gitrepo import write_hook
from tests.support.state import Bench, GitRemote, fence, plan, task

_LATE_S = 60.0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """p.a has completed, p.b has failed with work, p.c is worked on: on real git."""
    remote = GitRemote(tmp_path)
    made = Bench(remote)
    made.start()
    tasks = [task("p", name, max_attempts=1) for name in "abc"]
    made.take_in(plan(base=made.base(readme="x")), *tasks)
    done, bad, busy = sorted(made.claim(3), key=lambda claimed: claimed.id)
    for claimed in (done, bad, busy):
        made.work(claimed)
    made.complete(done)
    ending = Ending("failed", Why(code=Reason.RUNNER_FAILED), commit=_work(made))
    made.store.apply(EndAttempt(made.store.stamp(), fence(bad), ending))
    for short in "ac":
        made.remote.refs[rescue_ref(f"p.{short}", 1)] = _work(made)
    yield made
    remote.close()


def _work(bench: Bench) -> str:
    return bench.plan("p").base_commit


def rescues(bench: Bench) -> list[str]:
    return sorted(
        ref for ref in bench.remote.refs if ref.startswith("refs/percy/rescue")
    )


def test_only_the_one_of_the_completed_attempt_goes(bench: Bench) -> None:
    bench.remote.refs[rescue_ref("p.z", 1)] = _work(bench)
    bench.remote.refs[rescue_ref("p.a", 2)] = _work(bench)
    sweeper = RescueSweeper(bench.backend, _LATE_S)

    assert sweeper.step(bench.store.state.snapshot, 0.0) == 1

    kept = {("p.a", 2), ("p.b", 1), ("p.c", 1), ("p.z", 1)}
    assert rescues(bench) == sorted(rescue_ref(*key) for key in kept)
    assert sweeper.step(bench.store.state.snapshot, 1.0) == 0


def test_an_idle_fleet_is_not_looked_at_until_something_completes(
    bench: Bench,
) -> None:
    sweeper = RescueSweeper(bench.backend, _LATE_S)
    sweeper.step(bench.store.state.snapshot, 0.0)
    late = rescue_ref("p.a", 1)
    bench.remote.refs[late] = _work(bench)

    assert sweeper.step(bench.store.state.snapshot, _LATE_S + 1) == 0

    bench.complete(bench.task("p.c"))
    assert sweeper.step(bench.store.state.snapshot, _LATE_S + 2) >= 1
    assert late not in rescues(bench)


def test_a_remote_that_refuses_deletions_is_asked_once(bench: Bench) -> None:
    assert isinstance(bench.remote, GitRemote)
    hook = write_hook(bench.remote.git.git_dir, "pre-receive", "exit 1")
    sweeper = RescueSweeper(bench.backend, _LATE_S)
    assert sweeper.step(bench.store.state.snapshot, 0.0) == 0
    hook.unlink()
    assert sweeper.step(bench.store.state.snapshot, 1.0) == 0
    assert len(rescues(bench)) == 3
