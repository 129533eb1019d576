"""How long the logs of tasks are kept, and how much of them."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from percyd.core.edges import PlanStatus
from percyd.core.snapshot import Snapshot
from percyd.home import Home
from percyd.life.housekeeping import KEEP_DAYS, Housekeeping
from tests.support.state import FakeClock, plan


def log_of(
    home: Home, clock: FakeClock, task: str, days: float, size: int = 10
) -> None:
    for path in (home.log_of(task, 1), home.run_of(task, 1) / "prompt.md"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
        at = (clock.now() - timedelta(days=days)).timestamp()
        for each in (path, path.parent, *path.parents[:2]):
            os.utime(each, (at, at))


def test_only_old_logs_of_closed_plans_go_and_the_oldest_first(tmp_path: Path) -> None:
    home, clock = Home(tmp_path / "state" / "shop-0"), FakeClock()
    home.ensure()
    state = Snapshot().put(plan("open"), plan("shut", status=PlanStatus.DONE))
    for task, days in (
        *(("open.old", 400), ("shut.new", 1), ("shut.old", KEEP_DAYS + 1)),
        *(("gone.new", 2), ("gone.old", 400)),
    ):
        log_of(home, clock, task, days)

    keeper = Housekeeping(home, clock)
    keeper.step(state)
    assert left(home) == {"open.old", "shut.new", "gone.new"}

    log_of(home, clock, "gone.big", 3, size=5000)
    keeper.step(state)
    assert "gone.big" in left(home)
    clock.boot += 3600
    keeper.step(state)
    assert "gone.big" in left(home)
    Housekeeping(home, clock, keep_bytes=4000).step(state)
    assert left(home) == {"open.old", "shut.new", "gone.new"}


def left(home: Home) -> set[str]:
    logs = {path.name for path in home.logs.iterdir()}
    assert {path.name for path in home.runs.iterdir()} == logs
    return logs
