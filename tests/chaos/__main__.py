"""percyd in a storm, seen from outside.

    python -m tests.chaos --seed 7 --seconds 60

Eight processes of an installed percyd work on sixty tasks while they are killed and
stopped, and while the remote and the way to it fail. Then everything is healed, and
what there is in the end is held against what was to be done. The seed draws plans and
faults; when each process gets how far is the machine's doing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom

from tests.chaos import verdict, work
from tests.chaos.install import install
from tests.chaos.stage import Stage, until
from tests.chaos.storm import Storm

CLOSED = ("done", "failed", "cancelled")
START_S = 20.0
SETTLE_S = 90.0
STOP_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What was wrong in the end, and what the storm was like."""

    stage: Stage
    tasks: verdict.Tasks
    problems: list[str]
    words: str


def run(percyd: Path, folder: Path, seed: int, seconds: float) -> Outcome:
    """One storm in an empty folder."""
    random = Random(seed)
    todo = work.draw(random)
    stage = Stage(folder, percyd)
    with stage.set_up(todo) as proxy:
        storm = Storm(stage, proxy, random)
        stage.keep_up()
        until(lambda: stage.journal.stat().st_size, START_S)
        storm.rage(seconds)
        healed_s = os.times().elapsed
        found = []
        if not until(lambda: _is_settled(stage, todo), SETTLE_S, 0.5):
            found.append(f"not settled {SETTLE_S:g} s after the storm")
        settled_s = os.times().elapsed - healed_s
        found += stage.stop(STOP_S)
        tasks = stage.tasks()
        found += verdict.problems(stage, todo, tasks)
    faults = ", ".join(f"{n} {what}" for what, n in sorted(storm.done.items()))
    words = (
        f"seed {seed}: {stage.starts} starts; {faults}; attempts "
        f"{verdict.statistics(tasks)}; settled after {settled_s:.1f} s"
    )
    return Outcome(stage, tasks, found, words)


def _is_settled(stage: Stage, todo: work.Work) -> bool:
    stage.keep_up()
    plans = stage.plans()
    return plans.keys() == todo.documents.keys() and set(plans.values()) <= set(CLOSED)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="percyd-chaos-"))
    (folder / "stage").mkdir()
    outcome = run(install(folder), folder / "stage", asked.seed, asked.seconds)
    print(outcome.words)
    for problem in outcome.problems:
        print(f"- {problem}")
    print(f"logs and repositories: {folder}")
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
