"""How real agents end when they are stopped, or when nothing more is to be had."""

from __future__ import annotations

import secrets
import signal

import psutil

from tests.support.crew import Crew, agents, plan
from tests.support.daemonised import until
from tests.support.model import Refuse, Say, Shell


def processes(mark: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if mark in " ".join(process.info["cmdline"] or ())
    ]


# Aider has no tool that would start anything.
@agents("claude", "codex", "gemini", "opencode")
def test_all_that_an_agent_has_started_ends_with_it(crew: Crew) -> None:
    seconds = str(100_000 + secrets.randbelow(100_000))
    # In a session of its own, deaf to SIGTERM, with a parent that is gone; and one that
    # the agent waits for.
    daemon = f"trap '' TERM HUP INT; sleep {seconds}; sleep {seconds}"
    command = f'setsid sh -c "{daemon}" >/dev/null 2>&1 & sleep {seconds}'
    crew.script = lambda turn: Say("done") if turn.results else Shell(command)
    crew.user.commit_plan("shop.yaml", plan("id: a, title: A"))
    process = crew.start("--grace", "0.5")
    until(lambda: len(processes(seconds)) >= 3, "the agent's commands run", within_s=60)

    process.send_signal(signal.SIGTERM)
    crew.finish(process)

    assert processes(seconds) == []
    task = crew.user.task("shop.a")
    assert (task["status"], task["retries"]) == ("submitted", 0)
    assert task["attempts"][0]["outcome"] == "released"


# The others ask again for minutes, and are ended by percyd's own bounds.
@agents("claude", "codex")
def test_a_limit_of_its_provider_parks_the_runner_and_nothing_else(crew: Crew) -> None:
    said = "You've hit your usage limit. Try again in 20 minutes."
    crew.script = lambda _: Refuse(429, said, "usage_limit_reached")
    crew.user.commit_plan(
        "shop.yaml",
        plan("id: a, title: A", "id: b, title: B, run: 'sleep 3; echo b > b.txt'"),
    )
    crew.serve("--slots", "1", code=1)

    task = crew.user.task("shop.a")
    assert (task["status"], task["retries"]) == ("submitted", 0)
    assert {each["outcome"] for each in task["attempts"]} == {"parked"}
    assert crew.user.task("shop.b")["status"] == "completed"
    page = " ".join(crew.user.percyd("status").out.split())
    assert f"{crew.agent} rests" in page
