"""Who sits in the daemon's seat, and who only seems to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from percyd.clock import SystemClock
from percyd.errors import DaemonRuns, RefusedError
from percyd.home import Home
from percyd.life import seat
from percyd.life.seat import daemon_seat, find_daemon, worker_seat
from percyd.life.stop import stop

#: Holds the lock that it is given, with this number in its file.
_HOLDER = """
import fcntl, os, signal, sys
path, number = sys.argv[1:]
file = open(path, "a+")
fcntl.flock(file, fcntl.LOCK_EX)
file.truncate(0)
file.write(number or str(os.getpid()))
file.flush()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "state" / "shop-0")
    made.ensure()
    return made


@contextmanager
def holder(home: Home, number: str = "") -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(home.lock(seat.DAEMON)), number],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


def test_a_seat_is_free_again_however_its_holder_has_ended(home: Home) -> None:
    with daemon_seat(home, 7.0) as log:
        assert log == home.path / "daemon.log"
        found = find_daemon(home)
        assert found is not None
        assert (found.pid, found.grace_s) == (os.getpid(), 7.0)
    assert find_daemon(home) is None
    with holder(home) as process:
        assert (found := find_daemon(home)) is not None
        assert (found.pid, found.grace_s) == (process.pid, 0.0)
        with (
            pytest.raises(DaemonRuns, match=f"process {process.pid}; percyd stop"),
            daemon_seat(home, 1.0),
        ):
            pass
        process.kill()
    assert home.lock(seat.DAEMON).read_text() == str(process.pid)
    assert find_daemon(home) is None
    with daemon_seat(home, 1.0):
        pass


def test_workers_sit_side_by_side_and_beside_a_daemon(home: Home) -> None:
    with daemon_seat(home, 1.0), worker_seat(home) as one, worker_seat(home) as two:
        assert [one.name, two.name] == ["worker-0.log", "worker-1.log"]
    with worker_seat(home) as again:
        assert again == one


def test_a_number_of_somebody_else_is_not_believed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder in another container has a number that means another process here."""
    monkeypatch.setattr(seat, "_LOOKS", 2)
    ended: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    try:
        with (
            holder(home, str(os.getpid())),
            pytest.raises(RefusedError, match="cannot be seen from here"),
        ):
            stop(home, SystemClock())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended == []
    assert stop(home, SystemClock()) is None


def test_a_daemon_that_does_not_end_is_named_with_what_helps(home: Home) -> None:
    class Impatient(SystemClock):
        """Every look takes a quarter of an hour."""

        looks = 0

        def boot_s(self) -> float:
            self.looks += 1
            return self.looks * 900.0

    with holder(home) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        words = f"process {process.pid}, has not ended .* kill -CONT {process.pid} "
        with pytest.raises(RefusedError, match=words):
            stop(home, Impatient())
        process.send_signal(signal.SIGCONT)
        assert process.wait() == -signal.SIGTERM
