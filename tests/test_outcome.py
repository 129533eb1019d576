"""What a loop says at its end of what it has done, given back and left."""

from __future__ import annotations

from percyd.core.reasons import Reason
from percyd.core.records import Attempt, Why
from percyd.core.snapshot import build
from percyd.outcome import Ledger, Outcome
from tests.support.state import plan, task

RELEASED = Attempt(
    number=1,
    agent="box-000001",
    claim="c" * 32,
    outcome="released",
    reason=Why(code=Reason.RELEASED),
)


def test_what_was_given_back_is_said_once_and_by_the_loop_that_held_it() -> None:
    before = build([plan("p"), task("p", "a"), task("p", "b")])
    given_back = task("p", "a", attempt=1, attempts=(RELEASED,))
    after = build([plan("p"), given_back, task("p", "b")])

    assert Ledger(before).outcome(after, ()).summary() == "1 task was given back"
    next_one = Ledger(after).outcome(after, ()).summary()
    assert next_one == "waiting: p.a (submitted), p.b (submitted)"


def test_a_task_that_an_edit_took_out_is_neither_done_nor_failed() -> None:
    before = build([plan("p"), task("p", "a")])
    removed = task(
        "p", "a", status="cancelled", reason=Why(code=Reason.REMOVED, message="gone")
    )
    outcome = Ledger(before).outcome(build([plan("p"), removed]), ())
    assert outcome.good
    assert outcome.summary() == "nothing was to do"


def test_a_summary_keeps_quiet_of_no_failure() -> None:
    before = build([plan("p"), task("p", "a"), task("p", "b")])
    why = Why(code=Reason.ATTEMPTS_EXHAUSTED)
    after = build(
        [
            plan("p"),
            task("p", "a", status="completed"),
            task("p", "b", status="failed", reason=why),
        ]
    )
    assert Ledger(before).outcome(after, ()).summary(local=True) == (
        "1 task completed and merged into percy/plan/p; "
        "not completed: p.b (attempts_exhausted)"
    )


def test_the_summary_says_where_the_work_lies_only_if_that_is_so() -> None:
    both = Outcome(completed=2, given_back=3, plans=("p",))

    work = "2 tasks completed and merged into percy/plan/p"
    assert both.summary() == f"{work} on the remote; 3 tasks were given back"
    assert both.summary(local=True) == f"{work}; 3 tasks were given back"
    assert Outcome().summary() == "nothing was to do"
