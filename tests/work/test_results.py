"""What an attempt has made is published, or kept: until then nothing may lose it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import agent_branch, plan_branch, rescue_ref
from percyd.core.operations.agents import Depart
from percyd.core.refs import Oid, RefMove
from percyd.repo.values import PushOutcome
from percyd.work.collect import Collector
from percyd.work.leftovers import Key, rescue_leftovers, worktree_name
from percyd.work.progress import Progress
from percyd.work.upload import Pace
from tests.support.gitrepo import git, write_hook
from tests.support.proxy import PUSHES, GitDaemon, Proxy
from tests.support.shop import Shop
from tests.support.state import task

RESCUE = rescue_ref("p.a", 1)
#: What git cannot make smaller: 300 kB.
NOISE = "head -c 300000 /dev/urandom > noise"
#: Small work goes with the store's push; the noise does not.
SMALL = Pace(big_bytes=100_000)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with GitDaemon(tmp_path) as daemon, Proxy(daemon.port) as made:
        yield made


@pytest.fixture
def far(tmp_path: Path, proxy: Proxy) -> Iterator[Shop]:
    """A shop whose remote is behind a network."""
    made = Shop(tmp_path, url=proxy.url("shop.git"))
    yield made
    proxy.clear()
    made.close()


def pins(shop: Shop) -> dict[str, Oid]:
    rows = git(
        shop.percyd.hub.path,
        *("for-each-ref", "--format=%(refname) %(objectname)"),
        "refs/percyd/pin/work/",
    )
    return dict(row.split(" ") for row in rows.splitlines())


def next_start(shop: Shop) -> dict[Key, Oid]:
    return rescue_leftovers(shop.percyd.hub, shop.slot_clone, shop.percyd.clock)


def collected(shop: Shop) -> tuple[Path, Oid, Oid]:
    """A worktree whose uncommitted work was collected: path, base, result."""
    shop.take_in(task("p", "a"))
    claimed, hub = shop.claim(), shop.percyd.hub
    base = hub.fetch_refs([plan_branch("p")])[plan_branch("p")] or ""
    branch = agent_branch(shop.agent.id, "p.a")
    path = shop.slot_clone.checkout(worktree_name("p.a", 1), branch, base)
    (path / "work.txt").write_text("hours of work")
    collector = Collector(hub, shop.slot_clone, path, claimed, base, None)
    return path, base, collector.result(shop.percyd.clock.now())


# Kept until it is published


def test_work_outlives_the_gates_reset_of_its_worktree(shop: Shop) -> None:
    path, base, result = collected(shop)
    shop.slot_clone.checkout_commit(path, base)
    (path / "junk").write_text("of the gate")
    assert next_start(shop) == {("p.a", 1): result}
    assert shop.file("work.txt", RESCUE) == "hours of work"
    assert (shop.worktrees(), pins(shop)) == ([], {})


def test_work_outlives_its_worktree_and_a_start_without_the_remote(shop: Shop) -> None:
    path, _, result = collected(shop)
    shop.slot_clone.remove(path)
    away = shop.remote.with_name("away.git")
    shop.remote.rename(away)
    assert next_start(shop) == {}
    away.rename(shop.remote)
    assert next_start(shop) == {("p.a", 1): result}
    assert next_start(shop) == {}


def test_the_pin_of_another_slot_is_left_alone(shop: Shop) -> None:
    _, _, result = collected(shop)
    shop.percyd.hub.pin("work/1/p.a.1", result)
    next_start(shop)
    assert list(pins(shop)) == ["refs/percyd/pin/work/1/p.a.1"]


def test_what_was_published_is_not_rescued(shop: Shop) -> None:
    done = shop.attempt("echo x > x")
    assert done.result is not None
    shop.percyd.hub.pin("work/0/p.a.1", done.result.commit or "")
    assert next_start(shop) == {}
    assert shop.refs("refs/percy/rescue/") == {}
    assert (shop.worktrees(), pins(shop)) == ([], {})


@pytest.mark.parametrize("verify", ["true", "false", "no-such-program-here"])
def test_an_attempt_that_has_ended_leaves_no_pin(shop: Shop, verify: str) -> None:
    shop.attempt("echo x > x", verify=verify)
    assert (shop.worktrees(), pins(shop)) == ([], {})


def test_a_rescue_that_fails_loses_nothing_to_the_gate(shop: Shop) -> None:
    def lose() -> None:
        shop.store.apply(Depart(shop.store.stamp(), shop.agent.id, lost=True))
        write_hook(shop.remote, "pre-receive", "! grep -q refs/percy/rescue/")

    shop.take_in(task("p", "a", run="echo x > x", verify="no-such-program-here"))
    shop.run(before_end=lose)
    assert shop.refs("refs/percy/rescue/") == {}
    write_hook(shop.remote, "pre-receive", "exit 0")
    assert list(next_start(shop)) == [("p.a", 1)]
    assert shop.file("x", RESCUE) == "x"


def test_an_older_push_that_lands_meanwhile_does_not_stop_the_rescue(
    shop: Shop,
) -> None:
    _, base, result = collected(shop)
    write_hook(
        shop.remote,
        "pre-receive",
        "test -e landed && exit 0; touch landed\n"
        f"env -u GIT_QUARANTINE_PATH git update-ref {RESCUE} {base}",
    )
    assert next_start(shop) == {("p.a", 1): result}
    assert shop.refs()[RESCUE] == result


# Big work


def test_big_work_goes_ahead_of_the_push_that_others_share(far: Shop) -> None:
    seen: list[bool] = []
    far.take_in(task("p", "a", run=NOISE))
    done = far.run(
        before_end=lambda: seen.append(RESCUE in far.refs()),
        pace=SMALL,
    )
    assert (done.status, seen) == ("completed", [True])
    assert far.refs("refs/percy/rescue/") == {}


def test_small_work_makes_no_push_of_its_own(shop: Shop) -> None:
    seen: list[bool] = []
    shop.take_in(task("p", "a", run="echo x > x"))
    shop.run(before_end=lambda: seen.append(RESCUE in shop.refs()))
    assert seen == [False]


def test_big_work_of_a_failed_attempt_goes_ahead_too(far: Shop) -> None:
    seen: list[bool] = []
    far.take_in(task("p", "a", run=f"{NOISE}; exit 1"))
    back = far.run(before_end=lambda: seen.append(RESCUE in far.refs()), pace=SMALL)
    assert seen == [True]
    assert back.attempts[0].rescue == RESCUE


def test_work_that_takes_too_long_fails_the_attempt_and_is_kept(
    far: Shop, proxy: Proxy
) -> None:
    far.take_in(task("p", "a", run=NOISE))
    claimed = far.claim()
    proxy.limit(50_000, after=PUSHES)
    pace = Pace(big_bytes=100_000, slowest_bytes_s=10**9, least_s=1.0)
    back = far.run(claimed, pace=pace)
    (attempt,) = back.attempts
    assert back.status == "submitted"
    assert attempt.reason is not None
    assert attempt.reason.code == "timed_out"
    assert "kept: refs/percyd/pin/work/0/p.a.1" in attempt.reason.message
    assert attempt.rescue is None
    (result,) = pins(far).values()
    proxy.clear()
    assert next_start(far) == {("p.a", 1): result}
    assert far.refs()[RESCUE] == result


def test_an_upload_is_ended_when_percyd_is_to_stop(far: Shop, proxy: Proxy) -> None:
    far.take_in(task("p", "a", run=NOISE))
    claimed, objects = far.claim(), far.remote / "objects"
    proxy.limit(1_000, after=b"refs/percy/rescue/")

    def stop_when_it_is_under_way() -> None:
        pause = threading.Event()
        for _ in range(600):
            if pins(far) and list(objects.glob("*incoming-*")):
                break
            pause.wait(0.05)
        far.leash.release()

    watcher = threading.Thread(target=stop_when_it_is_under_way)
    watcher.start()
    started = time.monotonic()
    back = far.run(claimed, pace=SMALL)
    watcher.join()
    assert time.monotonic() - started < 30  # the upload would take 300 s
    assert (back.status, back.attempts[0].outcome) == ("submitted", "released")
    assert len(pins(far)) == 1


# Work in progress


def commits(shop: Shop, count: int) -> list[Oid]:
    """A chain of commits in the hub, on the remote's main."""
    hub = shop.percyd.hub
    tip = hub.fetch_refs(["refs/heads/main"])["refs/heads/main"] or ""
    made = []
    for number in range(count):
        tree = f"{tip}^{{tree}}"
        tip = git(hub.path, "commit-tree", "-p", tip, "-m", f"{number}", tree)
        made.append(tip)
    return made


def land(shop: Shop, move: RefMove) -> None:
    report = shop.percyd.hub.push([move])
    assert report.refs[move.ref].outcome is PushOutcome.APPLIED


@pytest.mark.parametrize("answered", ["before the end", "behind it"])
def test_a_first_beat_that_lands_behind_the_completion_leaves_nothing(
    shop: Shop, answered: str
) -> None:
    (commit,) = commits(shop, 1)
    progress = Progress(shop.percyd.hub, RESCUE)
    rider = progress.rider(commit)
    assert rider is not None
    assert progress.ending()
    land(shop, rider.move)
    if answered == "before the end":
        rider.landed()
        progress.end()
    else:
        progress.end()
        land(shop, rider.move)
        rider.landed()
    assert RESCUE not in shop.refs()


def test_a_beat_without_an_answer_is_looked_up_before_the_next(shop: Shop) -> None:
    one, two = commits(shop, 2)
    progress = Progress(shop.percyd.hub, RESCUE)
    assert not progress.ending()
    first = progress.rider(one)
    assert first is not None
    land(shop, first.move)  # and nobody says so
    second = progress.rider(two)
    assert second is not None
    assert second.move.expected == one
    land(shop, second.move)
    second.landed()
    assert progress.ending()


def test_a_completion_removes_what_a_beat_may_have_left(shop: Shop) -> None:
    """Also where nothing is: git takes the deletion of a ref that is absent."""
    shop.take_in(task("p", "a", run="echo x > x"))
    done = shop.run(pace=Pace(big_bytes=0), before_end=lambda: forget(shop))
    assert done.status == "completed"
    assert RESCUE not in shop.refs()


def forget(shop: Shop) -> None:
    git(shop.remote, "update-ref", "-d", RESCUE)
