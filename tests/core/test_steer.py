"""What a person does to plans and tasks: each move, and each that is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.operations.base import Decision, Operation, Stamp
from percyd.core.operations.completion import Turn
from percyd.core.operations.retry import Retry
from percyd.core.operations.steer import CancelPlan, CancelTask, Pause, Resume, Start
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task, Why
from percyd.core.schedule import waits
from percyd.errors import IllegalTransition, StaleClaim, UnknownIdError
from percyd.state.tickets import Applied
from tests.support.checker import check
from tests.support.state import Bench, GitRemote, fence, plan, task
from tests.support.verified import assert_verified

Make = Callable[[Stamp], Operation]


def do(bench: Bench, make: Make) -> Applied:
    return bench.store.apply(make(bench.store.stamp()))


def bench_with(*tasks: Task, status: str = "ready") -> Bench:
    bench = Bench()
    bench.start()
    bench.take_in(plan(base=bench.base(readme="x"), status=status), *tasks)
    return bench


def statuses(bench: Bench) -> dict[str, str]:
    return {t.id[2:]: t.status.value for t in bench.store.state.snapshot.tasks()}


def codes(bench: Bench) -> dict[str, str]:
    tasks = bench.store.state.snapshot.tasks()
    return {t.id[2:]: t.reason.code.value for t in tasks if t.reason}


def test_nothing_of_a_paused_plan_is_claimed_and_what_runs_lands() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c"))
    claimed = {t.id: t for t in bench.claim(1)}
    assert do(bench, lambda s: Pause(s, "p", by="Tess")).commit
    assert bench.plan("p").paused == Why(code=Reason.PAUSED_BY_USER, message="by Tess")
    assert do(bench, lambda s: Pause(s, "p", by="Otto")).commit is None
    assert bench.claim(4) == []
    (running,) = claimed.values()
    bench.work(running)
    bench.complete(running)
    assert bench.task(running.id).status == "completed"
    assert bench.claim(4) == []
    snapshot = bench.store.state.snapshot
    waiting = [t for t in snapshot.tasks() if t.status == "submitted"]
    assert waiting
    for each in waiting:
        assert "paused" in [wait.code for wait in waits(snapshot, each)]
    assert do(bench, lambda s: Resume(s, "p")).commit
    assert do(bench, lambda s: Resume(s, "p")).commit is None
    assert len(bench.claim(4)) == len(waiting)


def test_a_pause_that_percyd_made_becomes_a_persons() -> None:
    record = plan(paused=Why(code=Reason.BUDGET, message="used up"))
    view = bench_with().store.state.snapshot.put(record)
    decision = Pause(Bench().store.stamp(), "p").decide(view, {})
    assert isinstance(decision, Decision)
    (changed,) = decision.puts
    assert isinstance(changed, Plan)
    assert changed.paused == Why(code=Reason.PAUSED_BY_USER)


@pytest.mark.parametrize("held", [TaskStatus.ASSIGNED, TaskStatus.WORKING])
def test_a_cancelled_task_is_nobodys_and_its_claim_is_worth_nothing(
    held: TaskStatus,
) -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c", "b"))
    (claimed,) = bench.claim()
    if held is TaskStatus.WORKING:
        bench.work(claimed)
        bench.store.apply(Turn(bench.store.stamp(), fence(claimed)))
    assert do(bench, lambda s: CancelTask(s, "p.a", by="Tess")).commit
    ended = bench.task("p.a")
    assert (ended.status, ended.assigned_to, ended.claim) == ("cancelled", None, None)
    why = Why(code=Reason.CANCELLED, message="by Tess")
    assert (ended.reason, ended.retries, ended.attempt) == (why, 0, 1)
    (entry,) = ended.attempts
    assert (entry.outcome, entry.claim) == ("cancelled", claimed.claim)
    assert entry.reason == why
    assert codes(bench) == {
        "a": "cancelled",
        "b": "dependency_failed",
        "c": "dependency_failed",
    }
    assert bench.plan("p").landing is None
    assert bench.plan("p").status == "failed"
    why = Why(
        code=Reason.CANCELLED,
        message="p.a cancelled: by Tess (3 tasks not completed)",
    )
    assert bench.plan("p").reason == why
    with pytest.raises(StaleClaim):
        bench.complete(claimed)
    assert do(bench, lambda s: CancelTask(s, "p.a")).commit is None
    assert do(bench, lambda s: CancelTask(s, "p.b")).commit is None
    do(bench, lambda s: Retry(s, "p.a"))
    assert statuses(bench) == {"a": "submitted", "b": "blocked", "c": "blocked"}


def test_a_task_that_waits_or_asks_is_cancelled_without_an_attempt() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c"))
    asking = bench.task("p.c").model_copy(
        update={"status": TaskStatus.INPUT_REQUIRED, "attempt": 1}
    )
    view = bench.store.state.snapshot.put(asking)
    answer = CancelTask(bench.store.stamp(), "p.c").decide(view, {})
    assert isinstance(answer, Decision)
    (ended,) = answer.tasks
    assert (ended.status, ended.attempts) == (TaskStatus.CANCELLED, ())
    do(bench, lambda s: CancelTask(s, "p.b"))
    assert statuses(bench) == {"a": "submitted", "b": "cancelled", "c": "submitted"}
    assert bench.task("p.b").attempts == ()
    assert bench.plan("p").status == "ready"


@pytest.mark.parametrize("status", ["draft", "ready", "executing"])
def test_a_cancelled_plan_ends_everything_that_is_open_in_one_commit(
    status: str,
) -> None:
    first = "ready" if status == "executing" else status
    shorts = ("a", "b", "c", "d")
    bench = bench_with(*(task("p", n) for n in shorts), task("p", "z", "a"))
    if status == "draft":
        bench = bench_with(
            *(task("p", n) for n in shorts), task("p", "z", "a"), status=first
        )
    done: dict[str, str] = {}
    if status == "executing":
        claimed, working, kept = bench.claim(3)
        for each in (working, kept):
            bench.work(each)
        bench.complete(kept)
        bench.store.apply(Turn(bench.store.stamp(), fence(working)))
        done = {kept.id[2:]: "completed"}
    applied = do(bench, lambda s: CancelPlan(s, "p", by="Tess"))
    decision = applied.decision
    assert decision is not None
    assert len(decision.tasks) == 5 - len(done)
    record = bench.plan("p")
    assert (record.status, record.landing) == ("cancelled", None)
    assert record.reason == Why(code=Reason.CANCELLED, message="by Tess")
    assert statuses(bench) == dict.fromkeys([*shorts, "z"], "cancelled") | done
    assert set(codes(bench).values()) == {"cancelled"}
    named = [value for key, value in decision.trailers if key == "Percy-Task"]
    if status == "executing":
        assert named == sorted([claimed.id, working.id])
        with pytest.raises(StaleClaim):
            bench.complete(working)
    assert do(bench, lambda s: CancelPlan(s, "p")).commit is None


def test_a_plan_that_has_failed_is_given_up_and_can_still_be_brought_back() -> None:
    bench = bench_with(task("p", "z"), task("p", "b", "z"))
    do(bench, lambda s: CancelTask(s, "p.z"))
    assert bench.plan("p").status == "failed"
    applied = do(bench, lambda s: CancelPlan(s, "p", by="Tess"))
    assert applied.decision is not None
    assert applied.decision.tasks == ()
    given_up = Why(code=Reason.CANCELLED, message="by Tess")
    record = bench.plan("p")
    assert (record.status, record.reason) == ("cancelled", given_up)
    do(bench, lambda s: Retry(s, "p.z"))
    assert statuses(bench) == {"z": "submitted", "b": "blocked"}


def test_a_retried_task_brings_its_cancelled_plan_back_even_a_paused_one() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    do(bench, lambda s: Pause(s, "p"))
    do(bench, lambda s: CancelPlan(s, "p"))
    with pytest.raises(IllegalTransition, match=r"retry p\.a first"):
        do(bench, lambda s: Retry(s, "p.b"))
    do(bench, lambda s: Retry(s, "p.a"))
    record = bench.plan("p")
    assert (record.status, record.reason) == ("executing", None)
    assert record.paused is not None
    assert bench.claim(4) == []
    do(bench, lambda s: Retry(s, "p.b"))
    do(bench, lambda s: Resume(s, "p"))
    bench.do("p.a")
    bench.do("p.b")
    assert bench.plan("p").status == "done"


PLAN_MOVES: dict[str, Make] = {
    "start": lambda s: Start(s, "p"),
    "pause": lambda s: Pause(s, "p"),
    "resume": lambda s: Resume(s, "p"),
    "cancel": lambda s: CancelPlan(s, "p"),
}
#: Where each does something, and where it is so already; everything else is refused.
DOES = {
    "start": "draft",
    "pause": "draft ready executing",
    "resume": "",
    "cancel": "draft ready executing failed",
}
SO_ALREADY = {
    "start": "ready executing",
    "pause": "",
    "resume": "draft ready executing",
    "cancel": "cancelled",
}


@pytest.mark.parametrize("status", list(PlanStatus))
@pytest.mark.parametrize("move", list(PLAN_MOVES))
def test_each_move_of_a_plan_does_it_or_says_what_is_possible(
    move: str, status: PlanStatus
) -> None:
    bench = Bench()
    bench.start()
    view = bench.store.state.snapshot.put(plan(status=status))
    operation = PLAN_MOVES[move](bench.store.stamp())
    if status in DOES[move].split():
        assert operation.decide(view, {}) is not None
    elif status in SO_ALREADY[move].split():
        assert operation.decide(view, {}) is None
    else:
        with pytest.raises(IllegalTransition) as refused:
            operation.decide(view, {})
        assert f"plan p is {status}; {move} needs" in refused.value.message
        assert "percyd plan rerun p" in refused.value.hint


@pytest.mark.parametrize("status", list(TaskStatus))
def test_each_task_is_cancelled_or_it_is_said_what_is_possible(
    status: TaskStatus,
) -> None:
    bench = bench_with()
    claim = {"assigned_to": bench.agent.id, "claim": "t", "attempt": 1}
    held = status in (TaskStatus.ASSIGNED, TaskStatus.WORKING)
    record = task("p", "a", status=status, **(claim if held else {}))
    view = bench.store.state.snapshot.put(record)
    operation = CancelTask(bench.store.stamp(), "p.a")
    if status is TaskStatus.CANCELLED:
        assert operation.decide(view, {}) is None
    elif status in (TaskStatus.COMPLETED, TaskStatus.FAILED):
        with pytest.raises(IllegalTransition, match=f"task p.a is {status}") as refused:
            operation.decide(view, {})
        assert refused.value.hint
    else:
        assert operation.decide(view, {}) is not None


@pytest.mark.parametrize(
    "make",
    [*PLAN_MOVES.values(), lambda s: CancelTask(s, "p.a")],
    ids=[*PLAN_MOVES, "cancel-task"],
)
def test_what_is_not_there_cannot_be_steered(make: Make) -> None:
    bench = Bench()
    bench.start()
    with pytest.raises(UnknownIdError):
        do(bench, make)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[GitRemote]:
    found = GitRemote(tmp_path)
    yield found
    found.close()


def test_a_history_of_all_of_these_is_clean(remote: GitRemote) -> None:
    bench = Bench(remote)
    bench.start()
    base = bench.base(readme="hello")
    chain = [task("p", "a"), task("p", "b", "a"), task("p", "c")]
    bench.take_in(plan("p", base, status="draft"), *chain)
    bench.take_in(plan("q", base), task("q", "x"), task("q", "y"), task("q", "z"))
    for make in (PLAN_MOVES["pause"], PLAN_MOVES["start"], PLAN_MOVES["resume"]):
        do(bench, make)
    claimed = bench.claim(5)
    assert len(claimed) == 5
    for each in claimed[:3]:
        bench.work(each)
        bench.store.apply(Turn(bench.store.stamp(), fence(each)))
        do(bench, lambda s, name=each.id: CancelTask(s, name))  # type: ignore[misc]
    do(bench, lambda s: Pause(s, "q"))
    for name in ("p", "q"):
        if bench.plan(name).status not in ("failed", "done"):
            do(bench, lambda s, name=name: CancelPlan(s, name))  # type: ignore[misc]
    do(bench, lambda s: Retry(s, "q.x"))
    assert_verified(remote.git.git_dir)
    assert check(remote.git.git_dir, settled=False) == []
