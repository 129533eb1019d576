"""A plan done by a real coding agent: what it made has landed, and is told of."""

from __future__ import annotations

import threading

from tests.support.crew import Crew, plan, task_of
from tests.support.gitrepo import git
from tests.support.model import INPUT_TOKENS, Say, Step, Turn, Write

#: These take up a session that has ended.
RESUMING = {"claude", "codex", "opencode"}
#: These tell what a run cost.
PRICED = {"claude", "opencode"}


def test_a_gate_that_fails_is_mended_within_the_attempt(crew: Crew) -> None:
    def script(turn: Turn) -> Step:
        if turn.results:
            return Say(f"did {task_of(turn)}")
        if "did not pass the gate" in turn.prompt:
            return Write("price.txt", "12\n")
        if task_of(turn) == "shop.price":
            return Write("price.txt", "twelve\n")
        return Write("label.txt", "costs 12\n")

    crew.script = script
    crew.user.commit_plan(
        "shop.yaml",
        plan(
            "id: price, title: A price, verify: 'grep -q ^12 price.txt'",
            "id: label, title: A label, depends_on: [price]",
        ),
    )
    crew.serve()

    assert crew.user.file("shop", "price.txt") == "12"
    assert crew.user.file("shop", "label.txt") == "costs 12"
    price, label = crew.user.task("shop.price"), crew.user.task("shop.label")
    assert (price["attempt"], label["attempt"]) == (1, 1)
    assert price["result"]["verdict"]["status"] == "passed"
    usage = price["result"]["usage"]
    assert usage["input_tokens"] >= 2 * INPUT_TOKENS
    assert usage["duration_s"] > 0
    assert (usage["cost_usd"] is not None) == (crew.agent in PRICED)
    said = crew.user.percyd("task", "show", "shop.price").out
    assert "tokens in" in said
    fixing = [t for t in crew.model.turns if "did not pass the gate" in t.prompt]
    assert fixing
    # One that cannot go on is told everything once more.
    knows = "percyd" not in fixing[0].prompt.partition("did not pass the gate")[0]
    assert knows == (crew.agent in RESUMING)
    told = next(t for t in crew.model.turns if task_of(t) == "shop.label")
    assert "price.txt" in told.prompt  # what the task that it builds on has done
    assert "Everything in one file each." in told.prompt
    log = crew.user.percyd("task", "log", "shop.price").out
    assert "price.txt" in log
    assert '{"type"' not in log


def test_a_conflict_is_resolved_by_who_made_it(crew: Crew) -> None:
    both = threading.Barrier(2)

    def script(turn: Turn) -> Step:
        if turn.results:
            return Say(f"did {task_of(turn)}")
        if "does not merge with" in turn.prompt:
            return Write("rooms/große halle.txt", "from a\nfrom b\n")
        both.wait(60)
        return Write("rooms/große halle.txt", f"from {task_of(turn)[-1]}\n")

    crew.script = script
    crew.user.commit_plan("shop.yaml", plan("id: a, title: A", "id: b, title: B"))
    crew.serve("--slots", "2")

    assert crew.user.file("shop", "rooms/große halle.txt") == "from a\nfrom b"
    tasks = {task["id"]: task for task in crew.user.status()["tasks"]}
    assert {task["attempt"] for task in tasks.values()} == {1}
    second = crew.user.merges("shop")[-1]
    result = tasks[second]["result"]["commit"]
    parents = git(crew.user.remote, "rev-parse", f"{result}^@").splitlines()
    assert len(parents) == 2
    first = next(name for name in tasks if name != second)
    assert parents[1] == tasks[first]["result"]["integration_commit"]


def test_what_a_review_finds_is_mended_and_looked_at_again(crew: Crew) -> None:
    def script(turn: Turn) -> Step:
        name = task_of(turn)
        if turn.results:
            return Say(f"did {name}")
        if name == "shop.look":
            return Say("I have read it.\n\nchanges: the price must be 12")
        if name == "shop.look-again":
            return Say("approve")
        return Write("price.txt", "12\n" if name == "shop.look-fix" else "0\n")

    crew.script = script
    crew.user.commit_plan(
        "shop.yaml",
        plan(
            "id: price, title: A price",
            "id: look, title: Is it right, type: review, depends_on: [price]",
        ),
    )
    crew.serve()

    assert crew.user.file("shop", "price.txt") == "12"
    tasks = {task["id"]: task for task in crew.user.status()["tasks"]}
    assert set(tasks) == {
        *("shop.price", "shop.look", "shop.look-fix", "shop.look-again")
    }
    assert {task["status"] for task in tasks.values()} == {"completed"}
    fix = tasks["shop.look-fix"]
    assert (fix["type"], fix["runner"]) == ("fix", crew.agent)
    assert "the price must be 12" in fix["description"]
    looked = [turn for turn in crew.model.turns if task_of(turn) == "shop.look"]
    assert "+0" in looked[0].prompt  # the diff itself
