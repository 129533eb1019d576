"""The monitor finds what nobody has done."""

from __future__ import annotations

from percyd.core.edges import TaskStatus
from percyd.core.ids import STATE_REF
from percyd.core.records import Plan, Task
from percyd.core.snapshot import Entry
from percyd.dispatch.monitor import RECONCILE_S, Monitor
from percyd.repo.values import NewCommit
from percyd.state import codec
from percyd.state.heartbeat import Observer
from tests.support.state import Bench, Numbers, plan, task


def by_hand(bench: Bench, *entries: Entry) -> None:
    """Change records behind the operations' back, as a crash between two might."""
    tip = bench.store.state.tip
    changes = {codec.path_of(entry): codec.encode(entry) for entry in entries}
    commit = NewCommit("repair: by hand\n", bench.clock.now(), changes)
    bench.remote.refs[STATE_REF] = bench.backend.write(tip, [commit])[-1]
    bench.store.refresh()


def bench_with(*tasks: Task) -> Bench:
    bench = Bench()
    bench.start()
    bench.take_in(plan(base=bench.base(readme="x")), *tasks)
    return bench


def monitor_of(bench: Bench) -> Monitor:
    observer = Observer(bench.clock, own=lambda: [bench.agent.id])
    return Monitor(bench.store, bench.clock, Numbers(9), observer)


def ended(record: Task | Plan, status: str) -> Task:
    assert isinstance(record, Task)
    return record.model_copy(update={"status": TaskStatus(status)})


def test_it_releases_what_its_completing_process_did_not() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    by_hand(bench, ended(bench.task("p.a"), "completed"))
    monitor_of(bench).step()
    assert bench.task("p.b").status == "submitted"


def test_it_closes_a_plan_whose_tasks_have_all_ended() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    by_hand(
        bench,
        ended(bench.task("p.a"), "completed"),
        ended(bench.task("p.b"), "failed"),
    )
    monitor_of(bench).step()
    assert bench.plan("p").status == "failed"


def test_it_writes_nothing_where_nothing_is_due() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    tip = bench.store.state.tip
    monitor_of(bench).step()
    assert bench.store.state.tip == tip


def test_it_looks_again_after_its_interval_and_not_before() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    monitor = monitor_of(bench)
    monitor.step()
    by_hand(bench, ended(bench.task("p.a"), "completed"))
    monitor.step()
    assert bench.task("p.b").status == "blocked"
    bench.clock.boot += RECONCILE_S[1]
    monitor.step()
    assert bench.task("p.b").status == "submitted"


def test_two_monitors_do_it_once() -> None:
    one = bench_with(task("p", "a"), task("p", "b", "a"))
    by_hand(one, ended(one.task("p.a"), "completed"))
    two = Bench(one.remote, 2)
    two.store.refresh()
    due = monitor_of(two).due(two.store.state.snapshot)
    monitor_of(one).reconcile()
    tip = one.store.state.tip
    for operation in due:
        two.store.apply(operation)
    assert one.remote.refs[STATE_REF] == tip
