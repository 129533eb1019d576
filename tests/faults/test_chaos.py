"""An installed percyd in a storm; and that the judge of it sees what is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.chaos import verdict
from tests.chaos.__main__ import run
from tests.chaos.install import install

SEED = 20
SECONDS = 15


@pytest.fixture(scope="session")
def percyd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a percyd that is built and installed."""
    return install(tmp_path_factory.mktemp("installed"))


@pytest.mark.timeout(180)
def test_after_a_storm_everything_is_done_once_and_nothing_is_left(
    percyd: Path, tmp_path: Path
) -> None:
    (tmp_path / "stage").mkdir()
    outcome = run(percyd, tmp_path / "stage", SEED, SECONDS)
    assert outcome.problems == [], outcome.words
    stage, tasks = outcome.stage, outcome.tasks

    # The judge is no use unless it can see.
    done = next(name for name in tasks if tasks[name]["status"] == "completed")
    journal = stage.journal.read_text()
    stage.journal.write_text(journal + f"start {done} {tasks[done]['attempt']} 1 0.0\n")
    assert list(verdict.journal(stage, tasks)) == [
        f"{done}, attempt {tasks[done]['attempt']}: 2 programs"
    ]
    line = f"end {done} {tasks[done]['attempt']} "
    stage.journal.write_text(journal.replace(line, "end x.y 1 "))
    (wrong,) = verdict.results(stage, tasks)
    assert wrong.startswith(f"{done}: ")
    (next(stage.state.glob("*/slots/0")) / "p0.t1.1").mkdir()
    (stage.remote / "packed-refs.lock").touch()
    stage.git(stage.remote, "update-ref", "refs/percy/pending/x", "percy/state")
    sleeper = subprocess.Popen(["sleep", "60"], env=stage.env)
    try:
        kinds = [text.partition(":")[0] for text in verdict.leftovers(stage)]
        assert kinds == ["left", "lock", "ref", f"process {sleeper.pid}"]
    finally:
        sleeper.kill()
        sleeper.wait()
