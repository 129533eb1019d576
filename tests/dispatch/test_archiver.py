"""Growth stays bounded: old plans become files, old agents and refs go."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.edges import PlanStatus
from percyd.core.operations.agents import Depart
from percyd.core.operations.archive import ArchivePlan, Retention, agents_due, plans_due
from percyd.core.operations.landing import Land
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Plan
from percyd.core.snapshot import SourceFile
from percyd.dispatch.archiver import Archiver
from percyd.dispatch.monitor import Monitor
from percyd.errors import PlanExists, UnknownIdError
from percyd.repo.reader import ObjectReader
from percyd.state import codec
from percyd.state.heartbeat import Observer
from percyd.views.archived import with_all_archived, with_archived
from percyd.views.show import plan_show, task_show
from tests.support.checker import check
from tests.support.gitrepo import git
from tests.support.state import Bench, GitRemote, Numbers, agent, plan, task

MAIN = "refs/heads/main"


def finish(bench: Bench, name: str, *, land: bool = True) -> None:
    """A plan of one task, done, and landed if wanted; its own second on the clock."""
    bench.clock.wait(threading.Event(), 1.0)
    record = plan(name, base=bench.remote.refs[MAIN], title=f"Plan {name}\u2028ü")
    source = SourceFile(name, "yaml", b"title: x\n")
    tasks = (task(name, "a"),)
    bench.store.apply(TakeIn(bench.store.stamp(), record, tasks, source))
    bench.do(f"{name}.a")
    if land:
        bench.store.apply(Land(bench.store.stamp(), name, "main"))


def start(bench: Bench) -> Bench:
    bench.start()
    bench.remote.refs[MAIN] = bench.base(readme="x")
    return bench


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[GitRemote]:
    made = GitRemote(tmp_path)
    yield made
    made.close()


def test_sixty_plans_leave_fifty_and_a_second_monitor_nothing() -> None:
    bench = start(Bench())
    for number in range(60):
        finish(bench, f"p{number:02d}", land=number != 3)
    observer = Observer(bench.clock, own=lambda: [bench.agent.id])
    Monitor(bench.store, bench.clock, Numbers(9), observer).reconcile()
    snapshot = bench.store.state.snapshot
    # p03 has not landed: nobody may lose the landing that is still to come.
    assert sorted(snapshot.archived) == [
        *(f"p{n:02d}" for n in (0, 1, 2, 4, 5, 6, 7, 8, 9))
    ]
    assert len(snapshot.plans) == 51
    files = bench.remote.commits[bench.store.state.tip].files
    assert not any(path.startswith("plans/p00/") for path in files)
    lines = files["archive/p00.jsonl"].decode().split("\n")
    assert [json.loads(line)["id"] for line in lines[:-1]] == ["p00", "p00.a"]
    gone = {"refs/heads/percy/plan/p00", "refs/heads/agent/box-000000/p00.a"}
    assert not gone & set(bench.remote.refs)
    assert "refs/heads/percy/plan/p03" in bench.remote.refs
    two = Bench(bench.remote, 2)
    assert two.store.refresh().snapshot.archived == snapshot.archived
    assert Archiver(two.store).step() == 0


def test_what_is_archived_can_be_shown_and_is_taken_in_no_more(
    remote: GitRemote,
) -> None:
    bench = start(Bench(remote))
    for name in ("one", "two", "three"):
        finish(bench, name)
    archiver = Archiver(bench.store, Retention(plans=1))
    assert archiver.step() == 2
    assert archiver.step() == 0
    state = bench.store.state
    assert sorted(state.snapshot.plans) == ["three"]
    with pytest.raises(PlanExists, match="archived"):
        bench.take_in(plan("one", base=remote.refs[MAIN]), task("one", "a"))
    with pytest.raises(UnknownIdError, match="archived"):
        plan_show(state.snapshot, "one")
    with ObjectReader(remote.git) as reader:
        found = with_archived(reader, state, "one.a")
        everything = with_all_archived(reader, state)
    shown = plan_show(found, "one")
    assert shown["title"] == "Plan one\u2028ü"
    assert (shown["status"], shown["task_summary"]["completed"]) == ("done", 1)
    assert task_show(found, "one.a")["result"]["summary"] == "did it"
    assert "two" not in found.plans
    assert sorted(everything.plans) == ["one", "three", "two"]
    assert set(remote.refs) == {
        *(MAIN, "refs/heads/percy/state", "refs/heads/percy/plan/three"),
        "refs/heads/agent/box-000000/three.a",
    }
    assert check(remote.git.git_dir) == []


def test_an_integration_branch_stays_where_its_base_has_not_all_of_it(
    remote: GitRemote,
) -> None:
    bench = start(Bench(remote))
    for name in ("one", "two", "three"):
        finish(bench, name, land=name == "three")
    assert Archiver(bench.store, Retention(plans=0, unlanded=0)).step() == 3
    assert {ref for ref in remote.refs if "plan" in ref} == {
        "refs/heads/percy/plan/one",
        "refs/heads/percy/plan/two",
    }
    assert not [ref for ref in remote.refs if ref.startswith("refs/heads/agent/")]
    assert check(remote.git.git_dir) == []


def test_where_deletions_are_refused_the_refs_stay(remote: GitRemote) -> None:
    bench = start(Bench(remote))
    finish(bench, "one")
    git(remote.git.git_dir, "config", "receive.denyDeletes", "true")
    assert Archiver(bench.store, Retention(plans=0)).step() == 1
    assert "refs/heads/percy/plan/one" in remote.refs
    assert "one" in bench.store.state.snapshot.archived


def test_one_branch_that_is_checked_out_on_the_remote_is_all_that_stays(
    remote: GitRemote, caplog: pytest.LogCaptureFixture
) -> None:
    bench = start(Bench(remote))
    for name in ("one", "two"):
        finish(bench, name)
    branches = sorted(ref for ref in remote.refs if ref.startswith("refs/heads/agent/"))
    git(remote.git.git_dir, "symbolic-ref", "HEAD", branches[0])
    archiver = Archiver(bench.store, Retention(plans=0))
    assert archiver.step() == 2
    assert [ref for ref in remote.refs if "/agent/" in ref or "/plan/" in ref] == [
        branches[0]
    ]
    assert [record.getMessage() for record in caplog.records] == ["ref stays"]


def test_a_plan_that_was_brought_back_is_not_archived() -> None:
    bench = start(Bench())
    finish(bench, "one", land=False)
    kept = Retention(plans=0, unlanded=0)
    operation = ArchivePlan(bench.store.stamp(), "one", kept)
    record = bench.plan("one")
    again: Plan = record.model_copy(update={"status": PlanStatus.EXECUTING})
    view = bench.store.state.snapshot
    assert operation.decide(view.put(again), {}) is None
    assert operation.decide(view.without(record), {}) is None
    assert [p.id for p in plans_due(view, kept)] == ["one"]


def test_many_agents_that_left_are_forgotten_with_their_heartbeats() -> None:
    bench = start(Bench())
    ring = bench.backend.ring()
    for number in range(1, 8):
        bench.agent = agent(f"old-{number:06x}")
        bench.clock.wait(threading.Event(), 1.0)
        bench.join()
        bench.store.apply(Depart(bench.store.stamp(), bench.agent.id))
        bench.remote.refs[f"refs/percy/agents/{bench.agent.id}"] = ring[0]
    few = Retention(agents=4, slack=3)
    assert agents_due(bench.store.state.snapshot, few) == []
    assert Archiver(bench.store, few).step() == 0
    assert Archiver(bench.store, Retention(agents=4, slack=2)).step() == 3
    left = sorted(bench.store.state.snapshot.agents)
    assert left == ["box-000000", *(f"old-{n:06x}" for n in (4, 5, 6, 7))]
    beats = [ref for ref in bench.remote.refs if ref.startswith("refs/percy/agents/")]
    assert len(beats) == 4


def test_an_archive_holds_each_record_on_one_line_as_it_was() -> None:
    bench = start(Bench())
    finish(bench, "one")
    state = bench.store.state.snapshot.plans["one"]
    Archiver(bench.store, Retention(plans=0)).step()
    content = bench.remote.commits[bench.store.state.tip].files["archive/one.jsonl"]
    assert content.count(b"\n") == 2
    record, tasks = codec.decode_archive("one", content)
    assert record == state.record
    assert tasks == (state.tasks["one.a"],)
