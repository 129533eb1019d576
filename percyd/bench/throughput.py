"""Throughput: tasks that do nothing, beside a shell loop that keeps no books at all.

``percyd serve`` takes in a plan, claims, makes worktrees, runs, collects, merges and lands.
The loop beside it adds a worktree, commits, pushes and removes it, four at a time.
"""

from __future__ import annotations

import statistics

from percyd.bench.children import command, shell
from percyd.bench.lab import Lab
from percyd.bench.raw import WHO
from percyd.bench.shop import Shop, open_shop
from percyd.bench.values import Row, Sample, Target

TITLE = "Throughput: serve with 4 slots beside xargs -P4 with worktrees"
_SLOTS = 4
_WITHIN_S = 600.0
#: What a task runs, and what the loop does in its place; 1 / the least throughput.
_KINDS = {
    "empty tasks": ("true", "true", 1 / 0.6),
    "tasks that write a file": (
        "echo x > $PERCY_TASK_ID.txt",
        "echo x > $1.txt",
        1 / 0.4,
    ),
}
#: One turn of the loop. What git loses to its own races is tried again: with four at a
#: time `git worktree` stumbles over what another one has only half made or removed.
_TURN = """
again() {{
    left=200
    until "$@" 2>/dev/null
    do left=$((left - 1)); [ $left -gt 0 ]; sleep 0.01; done
}}
again git worktree add -q --no-track -B raw/$1 ../raw/$1 origin/main
cd ../raw/$1
{what}
git add -A
git commit -q --allow-empty -m task
git push -q origin raw/$1
cd ../../clone
again git worktree remove --force ../raw/$1
"""


def measure(lab: Lab) -> list[Row]:
    """One row for each kind of task; the loop runs before and after percyd."""
    return [_measure(lab, kind) for kind in _KINDS]


def _measure(lab: Lab, kind: str) -> Row:
    run, what, at_most = _KINDS[kind]
    count = lab.scale.many
    samples = []
    for _ in range(lab.scale.rounds_of_many):
        lab.say(f"throughput: {count} {kind}")
        with open_shop(lab) as shop:
            before = _loop(lab, shop, what, range(count // 2))
            took_ms = _serve(lab, shop, run, count)
            after = _loop(lab, shop, what, range(count // 2, count))
        samples.append(Sample(took_ms, before + after))
    unit = f"{count} tasks"
    times = statistics.median(sample.times_raw for sample in samples)
    target = Target("times the loop", times, at_most)
    return Row(kind, unit, f"{count} turns of the loop", samples, target)


def _loop(lab: Lab, shop: Shop, what: str, numbers: range) -> float:
    """Milliseconds of so many turns."""
    turn = shop.folder / "turn.sh"
    turn.write_text(_TURN.format(what=what))
    environ = {**shop.environ, **WHO}
    script = "git fetch -q origin\nseq $FIRST $LAST | xargs -P4 -n1 sh -eu ../turn.sh"
    ends = {"FIRST": str(numbers.start), "LAST": str(numbers.stop - 1)}
    started_s = lab.clock.boot_s()
    shell(script, shop.clone, {**environ, **ends})
    return (lab.clock.boot_s() - started_s) * 1000


def _serve(lab: Lab, shop: Shop, run: str, count: int) -> float:
    """Milliseconds from the start of serve until every task has landed."""
    lines = ["title: Many", "tasks:"]
    task = f"title: T, allow_empty: true, run: '{run}'"
    lines += [f"  - {{id: t{number}, {task}}}" for number in range(count)]
    shop.commit({".percy/plans/many.yaml": "\n".join(lines) + "\n"})
    shop.push()
    args = ["serve", "--slots", str(_SLOTS), "--until-idle"]
    started_s = lab.clock.boot_s()
    with command(args, shop.clone, shop.environ) as serve:
        serve.wait(_WITHIN_S)
    return (lab.clock.boot_s() - started_s) * 1000
