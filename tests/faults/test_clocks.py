"""Wall clocks that jump, and that differ from host to host, decide nothing.

Nobody may move the clock of the machine that tests run on, and a time namespace has no
wall clock. So each percyd gets one of its own from within: a `sitecustomize` that adds
what a file says to every wall clock that Python has. Its other clocks stay as they are;
the processes that percyd starts have the machine's time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.checker import check
from tests.support.daemonised import until
from tests.support.gitrepo import commit, git
from tests.support.newuser import PROJECT, NewUser, finish, new_user, start

DAY_S = 86_400
LEASE = "[lease]\nbeat_s = 0.2\nlease_s = 1.5\nidle_beat_s = 1.0\n"
#: Slow beats: the planted observer must look twice before the next one.
SLOW = "[lease]\nbeat_s = 3.0\nlease_s = 12.0\nidle_beat_s = 3.0\n"
#: More than a lease.
BEATS = 9
WITHIN_S = 60

SITECUSTOMIZE = """\
import datetime, os, time
real, elapsed, Real = time.time, time.clock_gettime, datetime.datetime

def offset():
    with open(os.environ["WALL_OFFSET"]) as file:
        return float(file.read())

def clock_gettime(clock):
    return time.time() if clock == time.CLOCK_REALTIME else elapsed(clock)

class Same(type):
    def __instancecheck__(cls, thing):
        return isinstance(thing, Real)

class Shifted(Real, metaclass=Same):
    @classmethod
    def now(cls, tz=None):
        return Real.now(tz) + datetime.timedelta(seconds=offset())

    @classmethod
    def utcnow(cls):
        return Real.utcnow() + datetime.timedelta(seconds=offset())

time.time = lambda: real() + offset()
time.time_ns = lambda: int(time.time() * 1e9)
time.clock_gettime = clock_gettime
datetime.datetime = Shifted
"""
#: An observer that measures how long it has seen a heartbeat on its wall clock.
PLANTED = """
from percyd.state import heartbeat

class Window(heartbeat._Window):
    def __init__(self, value, since_s, claims):
        self.value, self.claims, self.since_wall = value, claims, time.time()

    @property
    def since_s(self):
        return elapsed(time.CLOCK_BOOTTIME) - (time.time() - self.since_wall)

heartbeat._Window = Window
"""


class Host:
    """A clone on a machine with a wall clock of its own."""

    def __init__(self, folder: Path, name: str, days: float, bug: str = "") -> None:
        self.folder = folder / f"clock-of-{name}"
        self.folder.mkdir()
        (self.folder / "sitecustomize.py").write_text(SITECUSTOMIZE + bug)
        self._offset = self.folder / "offset"
        self.set(days)

    def set(self, days: float) -> None:
        """Move the clock, also of what runs already."""
        new = self.folder / "new"
        new.write_text(str(days * DAY_S))
        new.rename(self._offset)

    def start(self, *args: str, cwd: Path) -> subprocess.Popen[str]:
        path = f"{self.folder}:{PROJECT}"
        return start(*args, cwd=cwd, PYTHONPATH=path, WALL_OFFSET=str(self._offset))


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    yield new_user(tmp_path)
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in " ".join([*process.cmdline(), process.cwd()]):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def set_lease(user: NewUser, text: str) -> None:
    config = user.clone / ".percy/config.toml"
    commit(user.clone, {".percy/config.toml": config.read_text() + text}, "lease")
    user.push()


def wait_a_lease(user: NewUser, is_over: Callable[[], bool]) -> None:
    """Wait until a heartbeat has moved often on the remote, or it is over anyway."""
    moved: set[tuple[str, str]] = set()

    def look() -> bool:
        moved.update(user.refs("refs/percy/agents/").items())
        return len(moved) > BEATS or is_over()

    until(look, "heartbeats", WITHIN_S)


def two_hosts_at_work(
    user: NewUser, folder: Path, days_ahead: Iterable[float], bug: str = ""
) -> tuple[list[list[str]], list[int]]:
    """One task that lasts while clocks jump, and what follows it, on two hosts.

    Answers the outcomes of each task's attempts, and the exit codes.
    """
    started, go = folder / "started", folder / "go"
    run = (
        f"echo $PERCY_ATTEMPT >> {started}; n=0;"
        f" while [ ! -e {go} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done;"
        " echo a > a.txt"
    )
    tasks = [
        {"id": "a", "title": "A", "run": run},
        {"id": "b", "title": "B", "run": "cat a.txt > b.txt", "depends_on": ["a"]},
    ]
    user.commit_plan("p.yaml", {"title": "P", "tasks": tasks})
    ahead, behind = Host(folder, "ahead", 1), Host(folder, "behind", -1, bug)
    other = user.clone_again("other")
    fleet = [ahead.start("serve", "--until-idle", "--slots", "1", cwd=user.clone)]
    until(started.exists, "the task begins", WITHIN_S)
    fleet.append(behind.start("worker", "--until-idle", cwd=other))

    def is_lost() -> bool:
        return len(started.read_text().split()) > 1

    for days in days_ahead:
        if not bug:
            wait_a_lease(user, is_lost)
        if is_lost():
            break
        ahead.set(days)
        behind.set(-days)
        user.refs()  # takes a moment: the clock moves a hundred days a second
    go.touch()
    codes = [finish(process).code for process in fleet]
    found = {task["id"]: task["attempts"] for task in user.status()["tasks"]}
    return [[a["outcome"] for a in found[name]] for name in sorted(found)], codes


@pytest.mark.timeout(120)
def test_clocks_that_jump_by_days_take_no_task_from_anybody(
    user: NewUser, tmp_path: Path
) -> None:
    set_lease(user, LEASE)
    outcomes, codes = two_hosts_at_work(user, tmp_path, (-1, 1, 0))

    assert outcomes == [["completed"], ["completed"]]
    assert codes == [0, 0]
    assert user.file("p", "b.txt") == "a"
    assert check(user.remote) == []
    times = git(user.remote, "log", "--format=%ct", "refs/heads/percy/state").split()
    assert max(map(int, times)) - min(map(int, times)) > DAY_S


@pytest.mark.timeout(120)
def test_they_would_if_an_observer_counted_on_its_wall_clock(
    user: NewUser, tmp_path: Path
) -> None:
    set_lease(user, SLOW)
    outcomes, _ = two_hosts_at_work(user, tmp_path, range(0, -2000, -1), PLANTED)

    assert "lost" in outcomes[0]
