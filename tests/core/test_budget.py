"""What is used up, of a plan and of a day, and that nothing more is claimed then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from percyd.core.budget import day_used_up, plan_used_up
from percyd.core.edges import AgentStatus
from percyd.core.operations.base import Decision, Stamp
from percyd.core.operations.claims import Claim
from percyd.core.records import Attempt, Budget, Task, Usage
from percyd.core.schedule import pick
from percyd.core.snapshot import Entry, Snapshot, build
from percyd.views.waiting import Waiting
from tests.support.state import agent, plan, task

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
BOX = agent(status=AgentStatus.JOINED)


def used(short: str, usage: dict[str, float], day: str = "2026-11-21") -> Task:
    ended = Attempt(
        number=1,
        agent=BOX.id,
        claim="c" * 32,
        outcome="failed",
        usage=Usage.model_validate(usage),
    )
    return task(
        "p",
        short,
        status="completed",
        attempt=1,
        attempts=(ended,),
        updated_at=f"{day}T10:00:00Z",
    )


def state(budget: Budget | None, *tasks: Task) -> Snapshot:
    entries: list[Entry] = [plan("p", budget=budget), *tasks, task("p", "next"), BOX]
    return build(entries)


SPENT: dict[str, tuple[Budget, dict[str, float], str]] = {
    "cost_usd": (Budget(cost_usd=2), {"cost_usd": 1.0}, "$2.00 of $2.00"),
    "tokens": (
        Budget(tokens=5000),
        {"input_tokens": 2000, "output_tokens": 500},
        "5,000 of 5,000 tokens",
    ),
    "wall_s": (Budget(wall_s=60), {"duration_s": 30.5}, "61 of 60 s"),
}


@pytest.mark.parametrize("what", SPENT)
def test_a_plan_at_its_budget_has_nothing_claimed(what: str) -> None:
    budget, usage, words = SPENT[what]
    before = state(budget, used("a", usage))
    assert plan_used_up(before.plans["p"]) is None
    assert [t.id for t in pick(before, BOX, 1, ())] == ["p.next"]

    after = state(budget, used("a", usage), used("b", usage))

    assert plan_used_up(after.plans["p"]) == words
    assert pick(after, BOX, 1, ()) == []
    claim = Claim(Stamp("1" * 32, NOW), BOX.id, ("t" * 32,))
    assert claim.decide(after, {}) is None
    (wait,) = Waiting(after).of(after.plans["p"].tasks["p.next"])
    assert (wait.code, wait.what) == ("budget", words)


def test_a_day_counts_what_has_changed_on_it_of_all_plans() -> None:
    budget = Budget(cost_usd=3)
    snapshot = state(
        None, used("a", {"cost_usd": 2.0}), used("b", {"cost_usd": 2.0}, "2026-11-20")
    )
    assert day_used_up(budget, snapshot, NOW) is None

    snapshot = snapshot.put(plan("q"), used("c", {"cost_usd": 1.0}))

    assert day_used_up(budget, snapshot, NOW) == "$3.00 of $3.00 today"
    tomorrow = NOW.replace(day=22)
    assert day_used_up(budget, snapshot, tomorrow) is None
    stamp, tokens = Stamp("1" * 32, NOW), ("t" * 32,)
    assert Claim(stamp, BOX.id, tokens, daily=budget).decide(snapshot, {}) is None
    later = Claim(Stamp("2" * 32, tomorrow), BOX.id, tokens, daily=budget)
    assert isinstance(later.decide(snapshot, {}), Decision)


def test_a_parked_runner_is_not_used_and_others_are() -> None:
    entries: list[Entry] = [
        plan("p"),
        task("p", "a", run=None, runner="claude"),
        task("p", "b", run=None, runner="codex"),
        agent(status=AgentStatus.JOINED, runners=("claude", "codex")),
    ]
    snapshot = build(entries)
    claim = Claim(Stamp("1" * 32, NOW), BOX.id, ("t" * 32, "u" * 32), (), ("claude",))

    decision = claim.decide(snapshot, {})

    assert isinstance(decision, Decision)
    assert [each.id for each in decision.tasks] == ["p.b"]
