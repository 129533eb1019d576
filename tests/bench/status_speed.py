"""How long ``percyd status`` takes, beside what its work cannot be done without.

Run by hand: ``python -m tests.bench.status_speed [FOLDER]``. It builds states of 1,000
and 50,000 tasks in FOLDER (kept for the next run), and prints a table. Every number is
the wall time of a whole process, the median of several:

- *libraries*: ``python -c "import git, pydantic, click, rich"``;
- *json*: a Python process that reads the very records from one file (as
  ``status --json`` prints them) and parses them with ``json.loads``;
- *cold*: ``percyd status`` in a clone that has never read this state: it fetches it;
- *warm*: the same command again, and again after one task was claimed elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from percyd.bench.lab import Ground
from percyd.bench.records import (
    agent_of,
    claim,
    free_tasks,
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


def timed(
    argv: Sequence[str], cwd: Path, home: Path, stdout: int | None = None
) -> float:
    """Seconds of one whole process."""
    env = {**os.environ, "PERCYD_STATE_DIR": str(home)}
    project = str(Path(__file__).parents[2])
    env["PYTHONPATH"] = os.pathsep.join(
        filter(None, [project, os.environ.get("PYTHONPATH")])
    )
    began = time.perf_counter()
    subprocess.run(
        argv,
        cwd=cwd,
        env=env,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    return time.perf_counter() - began


def median(run: Callable[[], float], rounds: int = ROUNDS) -> float:
    """The median of several runs."""
    return statistics.median(run() for _ in range(rounds))


def measure(folder: Path, tasks: int, plans: int) -> None:
    """Print the rows for one size."""
    if not folder.exists():
        build(folder, tasks, plans)
    clone, home = clone_of(folder), folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    python = sys.executable
    status = [python, "-m", "percyd", "status"]

    def run(*argv: str) -> float:
        return timed(argv, clone, home)

    libraries = median(lambda: run(python, "-c", LIBRARIES))
    cold = run(*status)
    warm = median(lambda: run(*status))
    as_json = median(lambda: run(*status, "--json"))
    shown = subprocess.run(
        [*status, "--json"],
        cwd=clone,
        env={
            **os.environ,
            "PERCYD_STATE_DIR": str(home),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        check=True,
        capture_output=True,
    ).stdout
    records = folder / "records.json"
    records.write_bytes(shown)
    assert len(json.loads(shown)["tasks"]) == tasks
    parse = median(lambda: run(python, "-c", PARSE, str(records)))
    claim_one(folder)
    moved = run(*status)
    print(f"{tasks:,} tasks in {plans} plans ({len(shown) / 1e6:.1f} MB of JSON)")
    for name, value, unit, base in (
        ("libraries", libraries, "", 0.0),
        ("json", parse, "", 0.0),
        ("status, cold", cold, "libraries", libraries),
        ("status, warm", warm, "libraries", libraries),
        ("status, warm, moved", moved, "libraries", libraries),
        ("status --json, warm", as_json, "json", parse),
    ):
        ratio = f"{value / base:6.2f} x {unit}" if base else ""
        print(f"  {name:22} {value:7.3f} s  {ratio}")


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
