"""Runners that rest until their providers have more to give."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from percyd.parking import Parking
from tests.support.state import FakeClock


def test_a_parked_runner_rests_until_its_time_in_every_process(tmp_path: Path) -> None:
    clock = FakeClock()
    here, there = (Parking(tmp_path / "parked", clock) for _ in range(2))
    until = clock.now() + timedelta(minutes=5)
    here.park("claude", until)
    there.park("codex", clock.now() + timedelta(minutes=1))

    assert set(here.parked()) == {"claude", "codex"}
    assert there.parked()["claude"] == until
    clock.wall += timedelta(minutes=2)
    assert set(here.parked()) == {"claude"}
    clock.wall += timedelta(minutes=3)
    assert here.parked() == {}


def test_a_later_time_wins(tmp_path: Path) -> None:
    clock = FakeClock()
    parking = Parking(tmp_path / "parked", clock)
    late = clock.now() + timedelta(hours=5)
    parking.park("claude", late)
    parking.park("claude", clock.now() + timedelta(minutes=1))

    assert parking.parked()["claude"] == late
    assert [path.name for path in tmp_path.iterdir()] == ["parked"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "b"}', '{"a": 1e300}', "7"])
def test_a_file_that_says_nothing_parks_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "parked").write_text(content)

    assert Parking(tmp_path / "parked", FakeClock()).parked() == {}


def test_where_no_file_can_be_written_the_process_itself_remembers(
    tmp_path: Path,
) -> None:
    parking = Parking(tmp_path / "gone" / "parked", FakeClock())
    until = FakeClock().now() + timedelta(hours=1)
    parking.park("claude", until)

    assert parking.parked() == {"claude": until}
