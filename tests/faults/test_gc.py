"""Collecting garbage beside pushes, on the remote and in the hub: nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest

from percyd.clock import SystemClock, SystemRandomness
from percyd.core.refs import RefMove
from percyd.errors import RemoteFault
from percyd.repo.objects import PENDING_REF
from percyd.repo.values import PushReport
from percyd.state.git import GitBackend
from percyd.state.store import StateStore
from tests.support.daemonised import FarBench, FarRemote, beside
from tests.support.gitrepo import git
from tests.support.state import plan, task

#: What an owner's cron job may do to a live remote, with git's own grace for the young.
UPKEEP = (
    ("repack", "-a", "-d", "-k", "-q"),
    ("gc", "-q"),
)
#: git tells two versions of ``packed-refs`` apart by inode, size and whole seconds, so
#: that two rewrites in one second may hide a push from a third process (seen once, as
#: a lost update by git itself, which percyd then refused).
PAUSE_S = 1.1


@contextmanager
def upkeep(remote: FarRemote) -> Iterator[list[int]]:
    """Clean the remote up, again and again; how often is known at the end."""
    stop, rounds = threading.Event(), [0]

    def clean() -> None:
        while not stop.is_set():
            for order in UPKEEP:
                # Two orders may be in each other's way: that is theirs to bear.
                git(remote.path, *order, check=False)
            rounds[0] += 1
            stop.wait(PAUSE_S)

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        yield rounds
    finally:
        stop.set()
        thread.join()


def test_a_remote_that_is_cleaned_up_all_the_time_loses_no_push(
    remote: FarRemote,
) -> None:
    benches = [FarBench(remote, number, deadline_s=40) for number in (0, 90)]
    for bench in benches:
        bench.go_directly()
    benches[0].start()
    with upkeep(remote) as rounds:
        # One push each: what waits for one another's push would travel together.
        answers = [
            beside(partial(_enter_all, bench, range(first, first + 50)))
            for bench, first in zip(benches, (100, 200), strict=True)
        ]
        commits = [commit for answer in answers for commit in answer.result(50)]

    assert rounds[0] > 1
    history = git(remote.path, "rev-list", remote.tip).splitlines()
    assert set(commits) <= set(history)
    assert len(history) == 102


def _enter_all(bench: FarBench, numbers: range) -> list[str | None]:
    return [bench.enter(number).commit for number in numbers]


class EmptiedHub(GitBackend):
    """A hub that somebody cleans up between building and pushing."""

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        # The merge and the commits are built, and no ref of the remote has them.
        git(self.hub.path, "update-ref", "-d", PENDING_REF)
        git(self.hub.path, "gc", "-q", "--prune=now")
        return super().push(moves, deadline_s)


def test_a_hub_that_is_emptied_between_building_and_pushing_loses_nothing(
    bench: FarBench, remote: FarRemote
) -> None:
    bench.take_in(plan(base=bench.base(readme="hello")), task("p", "a"))
    (claimed,) = bench.claim()
    bench.work(claimed)
    # What a worker has taken from a workspace it keeps by a ref, the rest it can make.
    result = bench.result(claimed, a="done")
    bench.hub.pin("result", result)
    operation = bench.completion(claimed, result)
    before = dict(remote.refs)

    emptied = StateStore(EmptiedHub(bench.hub), SystemClock(), SystemRandomness())
    with pytest.raises(RemoteFault, match=r"(fatal|error): .*[0-9a-f]{40}"):
        emptied.apply(operation)
    assert dict(remote.refs) == before

    bench.store.apply(operation)

    assert bench.task("p.a").status == "completed"
    assert sum(line.startswith("complete:") for line in remote.operations()) == 1
