"""Operations on the in-memory twin: what they change, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from percyd.core.operations.agents import Depart
from percyd.core.operations.base import Answer, Decision
from percyd.core.operations.claims import EndAttempt, Ending
from percyd.core.operations.completion import (
    Complete,
    Report,
    Turn,
)
from percyd.core.operations.plans import Close, Resolve
from percyd.core.operations.retry import Retry
from percyd.core.operations.reviews import CompleteReview
from percyd.core.reasons import Reason
from percyd.core.records import Landing, Task, Why
from percyd.core.snapshot import Snapshot
from percyd.errors import IllegalTransition, IntegrationMoved, UnknownIdError
from tests.support.state import Bench, fence, plan, task


def bench_with(*tasks: Task, **fields: Any) -> Bench:
    bench = Bench()
    bench.start()
    bench.take_in(plan(base=bench.base(readme="x"), **fields), *tasks)
    return bench


def fail_for_good(bench: Bench, claimed: Task) -> None:
    ending = Ending("failed", Why(code=Reason.RUNNER_MISSING, message="no tool"))
    bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), ending))


def statuses(bench: Bench) -> dict[str, str]:
    return {t.id[2:]: t.status.value for t in bench.store.state.snapshot.tasks()}


def test_a_failure_cancels_everything_behind_it_and_nothing_else() -> None:
    bench = bench_with(
        task("p", "a"),
        task("p", "b", "a"),
        task("p", "c", "b"),
        task("p", "d"),
        task("p", "e", "c", "d"),
    )
    claimed = {t.id: t for t in bench.claim(2)}
    fail_for_good(bench, claimed["p.a"])
    assert statuses(bench) == {
        "a": "failed",
        "b": "cancelled",
        "c": "cancelled",
        "d": "assigned",
        "e": "cancelled",
    }
    assert bench.plan("p").status == "executing"


def test_retry_brings_back_what_was_cancelled_because_of_it() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c", "b"))
    (claimed,) = bench.claim()
    fail_for_good(bench, claimed)
    assert bench.plan("p").status == "failed"
    bench.store.apply(Retry(bench.store.stamp(), "p.a"))
    assert statuses(bench) == {"a": "submitted", "b": "blocked", "c": "blocked"}
    assert bench.plan("p").status == "executing"
    assert bench.plan("p").result is None
    again = bench.task("p.a")
    assert (again.retries, again.attempt, len(again.attempts)) == (0, 1, 1)
    assert again.reason is None


def test_retry_leaves_what_has_another_dead_dependency() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"), task("p", "c", "a", "b"))
    for claimed in bench.claim(2):
        fail_for_good(bench, claimed)
    bench.store.apply(Retry(bench.store.stamp(), "p.a"))
    assert statuses(bench) == {"a": "submitted", "b": "failed", "c": "cancelled"}
    bench.store.apply(Retry(bench.store.stamp(), "p.b"))
    assert statuses(bench)["c"] == "blocked"


def test_retry_of_a_follower_names_the_task_to_retry_first() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    (claimed,) = bench.claim()
    fail_for_good(bench, claimed)
    with pytest.raises(IllegalTransition, match=r"p\.a.*retry p\.a first"):
        bench.store.apply(Retry(bench.store.stamp(), "p.b"))


def test_retry_refuses_a_document_that_would_make_a_cycle() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"), task("p", "c"))
    fail_for_good(bench, bench.claim()[0])
    # As it is for a moment: nobody has cancelled what waits for it yet.
    snapshot = bench.store.state.snapshot.put(task("p", "b", "a"))
    again = Retry(bench.store.stamp(), "p.a", {"p.a": task("p", "a", "b")})
    with pytest.raises(IllegalTransition, match=r"by now: p\.a -> p\.b -> p\.a"):
        again.decide(snapshot, {})


def test_retry_of_a_waiting_task_is_already_so_and_of_a_done_one_is_refused() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    assert bench.store.apply(Retry(bench.store.stamp(), "p.b")).commit is None
    (claimed,) = bench.claim()
    bench.work(claimed)
    with pytest.raises(IllegalTransition, match="working"):
        bench.store.apply(Retry(bench.store.stamp(), "p.a"))
    with pytest.raises(UnknownIdError):
        bench.store.apply(Retry(bench.store.stamp(), "p.zzz"))


def test_an_agent_that_leaves_gives_its_tasks_back_uncounted() -> None:
    bench = bench_with(task("p", "a"))
    bench.claim()
    bench.store.apply(Depart(bench.store.stamp(), bench.agent.id))
    back = bench.task("p.a")
    assert (back.status, back.retries, back.claim) == ("submitted", 0, None)
    assert back.attempts[0].outcome == "released"
    assert bench.store.state.snapshot.agents[bench.agent.id].status == "left"


def test_an_agent_that_has_claimed_since_it_was_judged_is_not_lost() -> None:
    bench = bench_with(task("p", "a"))
    (claimed,) = bench.claim(1)
    who = bench.agent.id

    def depart(*judged: str | None) -> Depart:
        claims = frozenset(judged)
        return Depart(bench.store.stamp(), who, lost=True, judged=claims)

    assert bench.store.apply(depart()).commit is None
    assert bench.store.apply(depart(claimed.claim, "other")).commit is None
    assert bench.task(claimed.id).claim == claimed.claim
    assert bench.store.apply(depart(claimed.claim)).commit is not None
    assert bench.store.state.snapshot.agents[who].status == "lost"


def test_a_lost_agent_costs_its_tasks_an_attempt() -> None:
    bench = bench_with(task("p", "a", max_attempts=2), task("p", "b", max_attempts=1))
    bench.claim(2)
    bench.store.apply(Depart(bench.store.stamp(), bench.agent.id, lost=True))
    assert statuses(bench) == {"a": "submitted", "b": "failed"}
    assert bench.task("p.a").retries == 1
    reason = bench.task("p.b").reason
    assert reason is not None
    assert reason.code == "attempts_exhausted"
    assert bench.store.state.snapshot.agents[bench.agent.id].status == "lost"


def test_the_end_of_a_claim_gives_up_its_landing_turn() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    a, b = bench.claim(2)
    turn = Landing(task=a.id, attempt=1, claim=a.claim or "")
    view = bench.store.state.snapshot
    held = view.put(view.plans["p"].record.model_copy(update={"landing": turn}))
    ending = Ending("failed", Why(code=Reason.IDLE))
    ended = EndAttempt(bench.store.stamp(), fence(a), ending).decide(held, {})
    other = EndAttempt(bench.store.stamp(), fence(b), ending).decide(held, {})
    assert [landing_after(held, d) for d in (ended, other)] == [None, turn]


def landing_after(view: Snapshot, decision: Answer) -> Landing | None:
    assert isinstance(decision, Decision)
    after = view.put(*decision.puts)
    return after.plans["p"].record.landing


def test_others_wait_while_somebody_has_the_landing_turn() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    a, b = bench.claim(2)
    for claimed in (a, b):
        bench.work(claimed)
    turn = Landing(task=a.id, attempt=1, claim=a.claim or "")
    view = bench.store.state.snapshot
    record = view.plans["p"].record.model_copy(update={"landing": turn})
    complete = Complete(bench.store.stamp(), fence(b), "c" * 40, Report())
    with pytest.raises(IntegrationMoved, match=f"{a.id}'s turn"):
        complete.decide(view.put(record), {"refs/heads/percy/plan/p": "d" * 40})


def test_a_review_completes_without_refs() -> None:
    bench = bench_with(task("p", "look", type="review"))
    (claimed,) = bench.claim()
    bench.work(claimed)
    refs = {r for r in bench.remote.refs if not r.endswith("percy/state")}
    report = Report("looks good")
    bench.store.apply(CompleteReview(bench.store.stamp(), fence(claimed), report))
    result = bench.task("p.look").result
    assert result is not None
    assert (result.summary, result.commit) == ("looks good", None)
    assert {r for r in bench.remote.refs if not r.endswith("percy/state")} == refs


def test_nothing_to_resolve_or_to_close_is_already_so() -> None:
    bench = bench_with(task("p", "a"), task("p", "b", "a"))
    assert bench.store.apply(Resolve(bench.store.stamp())).commit is None
    assert bench.store.apply(Close(bench.store.stamp(), "p")).commit is None
    assert bench.store.apply(Close(bench.store.stamp(), "nope")).commit is None


def test_a_chain_of_thousands_is_cancelled_without_recursion() -> None:
    chain = [task("p", "t0")]
    chain += [task("p", f"t{n}", f"t{n - 1}") for n in range(1, 3000)]
    bench = bench_with(*chain)
    (claimed,) = bench.claim()
    fail_for_good(bench, claimed)
    assert bench.plan("p").status == "failed"
    assert sum(s == "cancelled" for s in statuses(bench).values()) == 2999


def test_the_landing_turn_is_taken_once_and_given_up_by_completing() -> None:
    bench = bench_with(task("p", "a"), task("p", "b"))
    a, b = bench.claim(2)
    for claimed in (a, b):
        bench.work(claimed)
    bench.store.apply(Turn(bench.store.stamp(), fence(a)))
    landing = bench.plan("p").landing
    assert landing is not None
    assert (landing.task, landing.claim) == (a.id, a.claim)
    assert bench.store.apply(Turn(bench.store.stamp(), fence(a))).commit is None
    with pytest.raises(IntegrationMoved):
        bench.store.apply(Turn(bench.store.stamp(), fence(b)))
    with pytest.raises(IntegrationMoved):
        bench.complete(b)
    bench.complete(a)
    assert bench.plan("p").landing is None
    bench.complete(b)
    assert bench.plan("p").status == "done"
