"""How long ``percyd status`` takes, beside what its work cannot be done without.

Run by hand: ``python -m tests.bench.status_speed [FOLDER]``. It builds states of 1,000
and 50,000 tasks in FOLDER (kept for the next run), and prints a table. Every number is that
of a whole process, the median of several:

- *libraries*: ``python -c "import git, pydantic, click, rich"``;
- *json*: a Python process that reads the very records from one file (as
  ``status --json`` prints them) and parses them with ``json.loads``;
- *cold*: ``percyd status`` in a clone that has never read this state: it fetches it;
- *warm*: the same command again; *moved*: again, after a task was claimed elsewhere.

The bases are *libraries* for people's page and *json* for ``--json``. Beside the wall
time stands that of processors, which a busy machine hardly changes.
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from percyd.bench.lab import Ground
from percyd.bench.records import (
    agent_of,
    claim,
    join,
    paired_tasks,
    take_in,
)
from percyd.clock import SystemClock
from tests.support.gitrepo import git

SIZES = {1_000: 10, 50_000: 50}
ROUNDS = 5
LIBRARIES = "import git, pydantic, click, rich"
PARSE = "import json, sys; json.loads(open(sys.argv[1], 'rb').read())"


def build(folder: Path, tasks: int, plans: int) -> None:
    """A remote with so many open tasks in so many plans, one of them claimed."""
    ground = Ground(folder, os.environ, SystemClock())
    store = ground.start()
    each = tasks // plans
    made = [paired_tasks(f"p{n}", each) for n in range(plans)]
    for at in range(0, plans, 10):
        take_in(store, ground.base, *made[at : at + 10])
    agent = agent_of(0)
    join(store, agent)
    claim(store, agent.id)
    ground.tidy()


def claim_one(folder: Path) -> None:
    """Another machine takes a task."""
    ground = Ground(folder, os.environ, SystemClock())
    store, _ = ground.open("other")
    store.refresh()
    claim(store, agent_of(0).id)


def clone_of(folder: Path) -> Path:
    """A clone of the remote, with a home of its own."""
    clone = folder / "clone"
    if not clone.exists():
        git(folder, "clone", "-q", str(folder / "remote.git"), str(clone))
    return clone


class Cost(NamedTuple):
    """Seconds of a whole process: by the clock on the wall, and of processors."""

    wall_s: float
    cpu_s: float


def timed(argv: Sequence[str], cwd: Path, home: Path) -> Cost:
    """What one process costs, with all that it starts."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]
    env = {
        **os.environ,
        "PERCYD_STATE_DIR": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
    }
    # An installed percyd is compiled; compiling it each time is a quarter of a look.
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s)


def median(run: Callable[[], Cost], rounds: int = ROUNDS) -> Cost:
    """The medians of several runs."""
    walls, cpus = zip(*(run() for _ in range(rounds)), strict=True)
    return Cost(statistics.median(walls), statistics.median(cpus))


def measure(folder: Path, tasks: int, plans: int) -> None:
    """Print the rows for one size."""
    if not folder.exists():
        build(folder, tasks, plans)
    clone, home = clone_of(folder), folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    python = sys.executable
    status = [python, "-m", "percyd", "status"]

    def run(*argv: str) -> Cost:
        return timed(argv, clone, home)

    libraries = median(lambda: run(python, "-c", LIBRARIES))
    cold = run(*status)
    warm = median(lambda: run(*status))
    as_json = median(lambda: run(*status, "--json"))
    records = folder / "records.json"
    keep = [*status, "--json"]
    run("/bin/sh", "-c", f"{shlex.join(keep)} > {shlex.quote(str(records))}")
    if len(json.loads(records.read_bytes())["tasks"]) != tasks:
        raise SystemExit("the records are not those that were made")
    parse = median(lambda: run(python, "-c", PARSE, str(records)))
    claim_one(folder)
    moved = run(*status)
    size = records.stat().st_size / 1e6
    print(f"{tasks:,} tasks in {plans} plans ({size:.1f} MB of JSON)")
    rows: list[tuple[str, Cost, Cost | None]] = [
        ("libraries", libraries, None),
        ("json", parse, None),
        ("status, cold", cold, libraries),
        ("status, warm", warm, libraries),
        ("status, moved", moved, libraries),
        ("status --json, warm", as_json, parse),
    ]
    for name, cost, base in rows:
        times = ""
        if base:
            wall, cpu = cost.wall_s / base.wall_s, cost.cpu_s / base.cpu_s
            times = f"{wall:5.1f} and {cpu:5.1f} times its base"
        print(f"  {name:22} {cost.wall_s:7.3f} s, cpu {cost.cpu_s:7.3f} s  {times}")


def main() -> None:
    """Measure all sizes."""
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        for tasks, plans in SIZES.items():
            measure(folder / f"{tasks}", tasks, plans)
        return
    with tempfile.TemporaryDirectory() as name:
        for tasks, plans in SIZES.items():
            measure(Path(name) / f"{tasks}", tasks, plans)


if __name__ == "__main__":
    main()
