"""What there is to do: plans drawn from a seed, and how each of their tasks must end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any, Final

PLANS: Final = 5
TASKS: Final = 60

#: The program of every task. It tells a journal outside of every repository what it
#: does, and leaves a process behind that has cut all ties to it.
PROGRAM: Final = r"""#!/bin/sh
fate=$1
note() {
    read -r now _ < /proc/uptime
    echo "$1 $PERCY_TASK_ID $PERCY_ATTEMPT $$ $now" >> "$CHAOS/journal"
}
note start
(setsid sleep 600 < /dev/null > /dev/null 2>&1 &)
sleep "$2"
case $fate-$PERCY_ATTEMPT in
    fails-*|fails_once-1) note failed; exit 3 ;;
esac
mkdir -p out
echo "$PERCY_TASK_ID $PERCY_ATTEMPT $$" >> "out/$PERCY_TASK_ID"
case $2 in
    *[02468]) git add -A && git commit -qm "by hand" ;;
esac
note end
"""
#: A gate that fails on a tree with no trace of its task, or with two.
GATE: Final = 'test "$(wc -l < "out/$PERCY_TASK_ID")" = 1'


@dataclass(frozen=True)
class Work:
    """Plan documents by name, and the status in which each task has to end."""

    documents: dict[str, dict[str, Any]]
    ends: dict[str, str]


def draw(random: Random) -> Work:
    """Sixty tasks in five graphs; some have a gate, fail once, or fail for good."""
    documents: dict[str, dict[str, Any]] = {}
    ends: dict[str, str] = {}
    for number in range(PLANS):
        plan = f"p{number}"
        tasks = [_task(random, n) for n in range(TASKS // PLANS)]
        for task in tasks:
            ends |= {f"{plan}.{task['id']}": _end(plan, task, ends)}
        document: dict[str, Any] = {"title": f"Plan {number}", "tasks": tasks}
        if number % 2:
            document["verify"] = GATE
        documents[plan] = document
    return Work(documents, ends)


def _task(random: Random, number: int) -> dict[str, Any]:
    fate = random.choices(["works", "fails_once", "fails"], [80, 14, 6])[0]
    after = random.sample(range(number), min(number, random.choice([0, 1, 1, 2])))
    seconds = f"{random.uniform(0.1, 1.2):.2f}"
    task = {
        "id": f"t{number}",
        "title": f"Task {number}",
        "run": f'sh "$CHAOS/program" {fate} {seconds}',
        "depends_on": [f"t{n}" for n in after],
        "priority": random.randrange(3),
    }
    # Deaths of its workers count too: all the others may have many.
    return task | ({"max_attempts": 3} if fate == "fails" else {})


def _end(plan: str, task: dict[str, Any], ends: dict[str, str]) -> str:
    if any(ends[f"{plan}.{name}"] != "completed" for name in task["depends_on"]):
        return "cancelled"
    return "failed" if " fails " in task["run"] else "completed"


def text(document: dict[str, Any]) -> str:
    """A plan file."""
    return json.dumps(document, indent=1) + "\n"
