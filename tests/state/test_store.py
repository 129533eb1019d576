"""The store's contract, on git and on the in-memory twin: races, refusals, groups."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from percyd.core.ids import STATE_REF, agent_branch, plan_branch, rescue_ref
from percyd.core.operations.agents import Init, Join
from percyd.core.operations.claims import Claim, EndAttempt, Ending
from percyd.core.operations.completion import Complete, Report
from percyd.core.reasons import Reason
from percyd.core.records import Task, Verdict, Why
from percyd.core.refs import RefMove
from percyd.errors import (
    IllegalTransition,
    IntegrationMoved,
    MergeConflictError,
    NotInitialised,
    OutcomeUnknown,
    PlanExists,
    StaleClaim,
    StateRefused,
)
from percyd.repo.values import PushOutcome, PushReport, RefReport
from percyd.state.heartbeat import Heart
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.store import StateStore
from tests.support.state import Bench, GitRemote, Numbers, agent, fence, plan, task

AnyRemote = MemoryRemote | GitRemote


@pytest.fixture(params=["memory", "git"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyRemote]:
    if request.param == "memory":
        yield MemoryRemote()
        return
    made = GitRemote(tmp_path)
    yield made
    made.close()


def bench_with(remote: AnyRemote, *tasks: Task, **fields: Any) -> Bench:
    bench = Bench(remote)
    bench.start()
    base = bench.base(readme="hello")
    bench.take_in(plan(base=base, **fields), *tasks)
    return bench


def failed(code: Reason = Reason.RUNNER_FAILED, commit: str | None = None) -> Ending:
    return Ending("failed", Why(code=code, message="exit 1"), commit)


def test_nothing_but_init_starts_a_branch(remote: AnyRemote) -> None:
    bench = Bench(remote)
    with pytest.raises(NotInitialised):
        bench.store.apply(Join(bench.store.stamp(), agent()))
    assert STATE_REF not in bench.remote.refs


def test_a_second_init_is_already_so(remote: AnyRemote) -> None:
    one = Bench(remote)
    two = Bench(one.remote, 2)
    assert one.store.apply(Init(one.store.stamp(), "shop")).commit is not None
    assert two.store.apply(Init(two.store.stamp(), "shop")).commit is None


def test_a_plan_is_taken_in_with_its_branch_in_one_commit(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b", "a"))
    tip = bench.remote.refs[STATE_REF]
    assert bench.remote.commits[tip].message.startswith("take-in: p, 2 tasks\n")
    assert bench.remote.refs[plan_branch("p")] == bench.plan("p").base_commit
    assert [bench.task(t).status for t in ("p.a", "p.b")] == ["submitted", "blocked"]


def test_the_same_document_again_is_already_so_and_another_is_refused(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"))
    tip = bench.remote.refs[STATE_REF]
    bench.take_in(plan(), task("p", "a"))
    assert bench.remote.refs[STATE_REF] == tip
    other = plan(source={"kind": "file", "blob": "other"})
    with pytest.raises(PlanExists):
        bench.take_in(other, task("p", "a"))


@pytest.mark.spoiled
def test_a_branch_that_no_plan_owns_blocks_its_plan(remote: AnyRemote) -> None:
    bench = Bench(remote)
    bench.start()
    bench.remote.refs[plan_branch("p")] = bench.base()
    with pytest.raises(PlanExists, match="no plan owns"):
        bench.take_in(plan(base=bench.base()), task("p", "a"))


def test_a_claim_takes_ready_tasks_and_makes_the_plan_execute(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b"), task("p", "c", "a"))
    claimed = bench.claim(3)
    assert sorted(t.id for t in claimed) == ["p.a", "p.b"]
    assert len({t.claim for t in claimed}) == 2
    assert bench.task("p.a").attempt == 1
    assert bench.task("p.a").assigned_to == bench.agent.id
    assert bench.plan("p").status == "executing"


def test_a_claim_needs_an_agent_that_has_joined(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))
    claim = Claim(bench.store.stamp(), "other-abcdef", ("t",))
    with pytest.raises(IllegalTransition, match="has not joined"):
        bench.store.apply(claim)


def test_a_completion_moves_three_refs_and_releases_what_depends_on_it(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b", "a"))
    (claimed,) = bench.claim()
    working = bench.work(claimed)
    assert working.base == bench.remote.refs[plan_branch("p")]
    bench.complete(claimed)
    done = bench.task("p.a")
    assert done.status == "completed"
    assert done.result is not None
    branch = agent_branch(bench.agent.id, "p.a")
    assert bench.remote.refs[branch] == done.result.commit
    assert bench.remote.refs[plan_branch("p")] == done.result.integration_commit
    assert bench.task("p.b").status == "submitted"


def test_the_last_completion_closes_the_plan_in_the_same_push(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"))
    (claimed,) = bench.claim()
    bench.work(claimed)
    before = bench.store.state.tip
    bench.complete(claimed)
    assert bench.plan("p").status == "done"
    result = bench.plan("p").result
    assert result is not None
    assert result.commit == bench.remote.refs[plan_branch("p")]
    links = bench.backend.history(before, bench.store.state.tip)
    subjects = [bench.remote.commits[link.oid].message.split(":")[0] for link in links]
    assert subjects == ["complete", "close"]


def test_a_stale_claim_changes_nothing(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))
    (first,) = bench.claim()
    bench.work(first)
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(first), failed()))
    before = dict(bench.remote.refs)
    with pytest.raises(StaleClaim):
        bench.complete(first)
    with pytest.raises(StaleClaim):
        bench.store.apply(EndAttempt(bench.store.stamp(), fence(first), failed()))
    assert bench.remote.refs == before


def test_an_attempt_goes_back_until_none_is_left(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a", max_attempts=2), task("p", "b", "a"))
    for attempt in (1, 2):
        tokens = (bench.store.token(),)
        claim = Claim(
            bench.store.stamp(), bench.agent.id, tokens, frozenset({("p.a", 1)})
        )
        decision = bench.store.apply(claim).decision
        assert decision is not None
        (claimed,) = decision.tasks
        bench.work(claimed)
        work = bench.result(claimed, a=f"try {attempt}")
        bench.store.apply(
            EndAttempt(bench.store.stamp(), fence(claimed), failed(commit=work))
        )
        assert bench.remote.refs[rescue_ref("p.a", attempt)] == work
    ended = bench.task("p.a")
    assert (ended.status, ended.retries) == ("failed", 2)
    assert ended.reason is not None
    assert ended.reason.code == "attempts_exhausted"
    assert [a.rescue for a in ended.attempts] == [rescue_ref("p.a", n) for n in (1, 2)]
    follower = bench.task("p.b")
    assert follower.status == "cancelled"
    assert follower.reason is not None
    assert (follower.reason.code, "p.a" in follower.reason.message) == (
        "dependency_failed",
        True,
    )
    assert bench.plan("p").status == "failed"


def test_a_requeued_task_that_nobody_has_seen_resting_is_left_alone(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"))
    (claimed,) = bench.claim()
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), failed()))
    assert bench.task("p.a").status == "submitted"
    assert bench.claim() == []


def test_a_final_reason_fails_at_once(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))
    (claimed,) = bench.claim()
    end = failed(Reason.RUNNER_MISSING)
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), end))
    reason = bench.task("p.a").reason
    assert bench.task("p.a").status == "failed"
    assert reason is not None
    assert reason.code == "runner_missing"


def test_a_conflict_with_the_tip_is_told_with_its_paths(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b"))
    a, b = bench.claim(2)
    for claimed in (a, b):
        bench.work(claimed)
    mine = bench.result(a, readme="mine")
    theirs = bench.result(b, readme="theirs")
    bench.complete(a, mine)
    with pytest.raises(MergeConflictError) as caught:
        bench.complete(b, theirs)
    assert caught.value.paths == ("readme",)
    assert bench.task(b.id).status == "working"


def test_a_verdict_on_another_tree_does_not_land(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))
    (claimed,) = bench.claim()
    bench.work(claimed)
    commit = bench.result(claimed, a="x")
    report = Report(None, Verdict(status="passed", tree="f" * 40))
    with pytest.raises(IntegrationMoved):
        bench.store.apply(Complete(bench.store.stamp(), fence(claimed), commit, report))
    assert bench.task("p.a").status == "working"


def test_two_completions_of_one_batch_are_merged_one_on_the_other(
    remote: AnyRemote,
) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b"))
    a, b = bench.claim(2)
    operations = []
    for claimed in (a, b):
        bench.work(claimed)
    for claimed in (a, b):
        commit = bench.result(claimed, **{claimed.id[2:]: "x"})
        report = Report(None, Verdict(status="none"))
        stamp = bench.store.stamp()
        operations.append(Complete(stamp, fence(claimed), commit, report))
    for ticket in bench.store.submit(operations):
        ticket.result()
    tip = bench.remote.refs[plan_branch("p")]
    assert set(bench.remote.commits[tip].files) == {"readme", "a", "b"}
    assert bench.plan("p").status == "done"


def test_what_counts_on_a_refused_operation_is_dropped(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"), task("p", "b"))
    (claimed, _) = bench.claim(2)
    stale = EndAttempt(
        bench.store.stamp(), fence(claimed.model_copy(update={"claim": "x"})), failed()
    )
    after = EndAttempt(bench.store.stamp(), fence(claimed), failed())
    first, second = bench.store.submit([stale, after])
    for ticket in (first, second):
        with pytest.raises(StaleClaim):
            ticket.result()
    assert bench.task(claimed.id).status == "assigned"


def test_losing_the_ref_race_is_not_losing_the_task(remote: AnyRemote) -> None:
    one = bench_with(remote, task("p", "a"), task("p", "b"))
    two = Bench(one.remote, 2)
    two.join()  # one's tip is old now
    (mine,) = one.claim()
    (theirs,) = two.claim()
    assert {mine.id, theirs.id} == {"p.a", "p.b"}


def test_a_refusal_is_only_told_on_a_state_read_after_the_call(
    remote: AnyRemote,
) -> None:
    one = bench_with(remote, task("p", "a"))
    two = Bench(one.remote, 2)
    two.store.refresh()
    (claimed,) = one.claim()
    one.work(claimed)
    # two's state still has the task submitted: the operation looks illegal there.
    report = Report(None, Verdict(status="none"))
    commit = two.result(claimed, a="x")
    two.store.apply(Complete(two.store.stamp(), fence(claimed), commit, report))
    assert two.task("p.a").status == "completed"


def test_the_tip_of_an_own_push_is_remembered_over_restarts(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))

    bench.claim()

    assert bench.backend.adopted() == remote.refs[STATE_REF]


def test_a_hundred_threads_each_get_their_own_answer(remote: AnyRemote) -> None:
    bench = Bench(remote)
    bench.start()
    errors: list[Exception] = []

    def join(number: int) -> None:
        try:
            joining = agent(f"box-{number:06x}")
            bench.store.apply(Join(bench.store.stamp(), joining))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=join, args=(n,)) for n in range(1, 101)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(bench.store.state.snapshot.agents) == 101
    history = bench.backend.history(None, bench.remote.refs[STATE_REF])
    assert len(history) == 102
    assert bench.backend.adopted() == bench.remote.refs[STATE_REF]


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("rewound", marks=pytest.mark.spoiled),
        "deleted",
        pytest.param("replaced", marks=pytest.mark.spoiled),
        pytest.param("merged", marks=pytest.mark.spoiled),
    ],
)
def test_a_branch_that_does_not_simply_go_on_is_refused(
    remote: AnyRemote, how: str
) -> None:
    bench = bench_with(remote, task("p", "a"))
    good = bench.store.state.tip
    first = bench.backend.history(None, good)[0].oid
    files = bench.remote.commits[good].files
    match how:
        case "rewound":
            bench.remote.refs[STATE_REF] = first
        case "deleted":
            del bench.remote.refs[STATE_REF]
        case "replaced":
            bench.remote.refs[STATE_REF] = bench.remote.commit([], files, "root")
        case "merged":
            side = bench.remote.commit([first], files, "side")
            merge = bench.remote.commit([good, side], files, "merge")
            bench.remote.refs[STATE_REF] = merge
    before = dict(bench.remote.refs)
    with pytest.raises(StateRefused):
        bench.store.refresh()
    with pytest.raises(StateRefused):
        bench.claim()
    assert bench.remote.refs == before


@pytest.mark.spoiled
def test_a_hand_made_file_halts_and_a_forward_commit_mends(remote: AnyRemote) -> None:
    bench = bench_with(remote, task("p", "a"))
    good = bench.store.state.tip
    files = bench.remote.commits[good].files
    bad = bench.remote.commit([good], files.set("notes.txt", b"hi"), "by hand")
    bench.remote.refs[STATE_REF] = bad
    with pytest.raises(StateRefused, match=r"notes\.txt"):
        bench.store.refresh()
    bench.remote.refs[STATE_REF] = bench.remote.commit([bad], files, "mended")
    assert [t.id for t in bench.claim()] == ["p.a"]


class _LateAnswers(MemoryBackend):
    """A connection on which the next answers are older than the newest one."""

    def __init__(self, remote: MemoryRemote) -> None:
        super().__init__(remote)
        self.late: list[str] = []

    def fetch_state(self, deadline_s: float | None = None) -> str | None:
        newest = super().fetch_state(deadline_s)
        return self.late.pop(0) if self.late else newest


@pytest.mark.parametrize("reads", [1, 2])
def test_an_answer_that_is_late_is_no_rewind(reads: int) -> None:
    bench = bench_with(MemoryRemote(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    backend = _LateAnswers(bench.remote)
    store = StateStore(backend, bench.clock, Numbers(9))
    tip = store.refresh().tip
    backend.late = [backend.history(None, tip)[0].oid] * reads

    assert store.refresh().tip == tip


def test_three_reads_in_a_row_that_show_an_older_tip_are_a_rewind() -> None:
    bench = bench_with(MemoryRemote(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    backend = _LateAnswers(bench.remote)
    store = StateStore(backend, bench.clock, Numbers(9))
    tip = store.refresh().tip
    older = backend.history(None, tip)[0].oid
    backend.late = [older] * 3

    with pytest.raises(StateRefused, match=f"rewound to {older}.* behind {tip}"):
        store.refresh()
    assert store.refresh().tip == tip


class _Unanswered(MemoryBackend):
    """The first push of the state lands and is not answered; then ``after`` happens."""

    after: Callable[[], None]
    asked = False

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        report = super().push(moves, deadline_s)
        if self.asked:
            return report
        self.asked = True
        self.after()
        unknown = RefReport(PushOutcome.UNKNOWN, "no answer")
        return PushReport({move.ref: unknown for move in moves})


def test_a_branch_that_was_rewound_does_not_prove_that_a_push_was_lost() -> None:
    bench = bench_with(MemoryRemote(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    refs, backend = bench.remote.refs, _Unanswered(bench.remote)
    first = backend.history(None, refs[STATE_REF])[0].oid
    landed: list[str] = []

    def rewind() -> None:
        landed.append(refs[STATE_REF])
        refs[STATE_REF] = first

    backend.after = rewind
    store = StateStore(backend, bench.clock, Numbers(9))
    store.refresh()

    with pytest.raises(OutcomeUnknown):
        store.apply(Join(store.stamp(), agent("box-000009")))
    refs[STATE_REF] = landed[0]
    assert "box-000009" in store.refresh().snapshot.agents


def test_a_push_that_landed_unanswered_is_found() -> None:
    bench = bench_with(MemoryRemote(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    backend = _Unanswered(bench.remote)
    backend.after = lambda: None
    store = StateStore(backend, bench.clock, Numbers(9))

    applied = store.apply(Join(store.stamp(), agent("box-000009")))

    assert applied.commit == bench.remote.refs[STATE_REF]


def test_an_unanswered_push_that_landed_has_renewed_the_lease() -> None:
    bench = bench_with(MemoryRemote(), task("p", "a"))
    assert isinstance(bench.remote, MemoryRemote)
    backend = _Unanswered(bench.remote)
    backend.after = lambda: None
    store = StateStore(backend, bench.clock, Numbers(9))
    card = agent(lease_s=10.0)
    heart = Heart(backend, bench.clock, card, busy=lambda: True)
    store.live_by(heart)
    bench.clock.boot += 100
    assert heart.left_s() < 0

    store.apply(Join(store.stamp(), agent("box-000009")))

    assert heart.left_s() > 0


def test_a_rewind_that_another_process_of_the_clone_can_see_is_not_built_on(
    tmp_path: Path,
) -> None:
    remote = GitRemote(tmp_path)
    quick, slow = Bench(remote), Bench(remote)
    quick.start()
    behind = slow.store.refresh().tip
    for number in range(3):
        joining = agent(f"more-{number:06x}")
        quick.store.apply(Join(quick.store.stamp(), joining))
    good = remote.refs[STATE_REF]
    remote.refs[STATE_REF] = behind

    with pytest.raises(StateRefused, match=f"rewound to {behind}.* behind {good}"):
        slow.store.apply(Join(slow.store.stamp(), agent("late-000001")))

    assert remote.refs[STATE_REF] == behind
    assert slow.backend.adopted() == good
    remote.refs[STATE_REF] = good
    assert slow.store.refresh().tip == good
    remote.close()


def test_what_is_remembered_never_moves_aside(tmp_path: Path) -> None:
    remote = GitRemote(tmp_path)
    one, other = Bench(remote), Bench(remote)
    one.start()
    other.store.refresh()
    one.store.apply(Join(one.store.stamp(), agent("more-000001")))
    newest = one.backend.adopted()

    other.store._follower.remember()

    assert newest == remote.refs[STATE_REF]
    assert other.backend.adopted() == newest
    remote.close()
