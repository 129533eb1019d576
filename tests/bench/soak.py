"""Does a daemon grow with what it has done? ``python -m tests.bench.soak [TASKS]``.

One `percyd serve` works through so many tasks that do nothing, plan after plan. Printed
are, as tasks end: the daemon's memory, its open files and threads, what its local state
takes on the disk, and at the end the growth of memory for each task in the second half,
where caches are warm. A daemon holds the tasks of all live plans, up to 8 KB each. These
plans land, so that beyond the newest 50 they go into the archive.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from percyd.core.ids import STATE_REF
from tests.support.gitrepo import commit, git
from tests.support.newuser import NewUser, new_user, start

_TASKS = 2000
_A_PLAN = 10
_ROWS = 20
_LOOK_S = 1.0


@dataclass(frozen=True)
class Sample:
    """The daemon at one moment."""

    ended: int
    seconds: float
    rss_kib: int
    files: int
    threads: int
    disk_kib: int

    def __str__(self) -> str:
        numbers = (self.rss_kib, self.files, self.threads, self.disk_kib)
        rest = "".join(f"{number:9}" for number in numbers)
        return f"{self.ended:6}{self.seconds:9.0f}{rest}"


def main(tasks: int = _TASKS) -> int:
    """Run so many tasks; 1 if the daemon did not complete them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _settle_in(folder)
        user = new_user(folder)
        for number in range(-(-tasks // _A_PLAN)):
            _add_plan(user, number, min(_A_PLAN, tasks - number * _A_PLAN))
        user.push()
        print(f"{'ended':>6}{'seconds':>9}{'rss KiB':>9}{'files':>9}", end="")
        print(f"{'threads':>9}{'disk KiB':>9}")
        return _watch(user, tasks, folder / "state")


def _settle_in(folder: Path) -> None:
    """A home and a state directory of its own."""
    config = folder / "gitconfig"
    config.write_text("[user]\n\tname = Soak\n\temail = soak@example.org\n")
    os.environ["GIT_CONFIG_GLOBAL"] = str(config)
    os.environ["PERCYD_STATE_DIR"] = str(folder / "state")


def _add_plan(user: NewUser, number: int, tasks: int) -> None:
    # One after the other, so that plans close, and are archived, all the time.
    more = f"run: 'true', allow_empty: true, priority: {-number}"
    rows = "".join(
        f"  - {{id: t{n:03}, title: Nothing, {more}}}\n" for n in range(tasks)
    )
    path = f".percy/plans/p{number:03}.yaml"
    commit(user.clone, {path: f"title: Nothing {number}\nland: auto\ntasks:\n{rows}"})


def _watch(user: NewUser, tasks: int, state: Path) -> int:
    process = start("serve", "--until-idle", "-q", cwd=user.clone)
    samples: list[Sample] = []
    try:
        for sample in _samples(user, process.pid, tasks, state):
            samples.append(sample)
            print(sample, flush=True)
        out, err = process.communicate()
    finally:
        process.kill()
    half = [s for s in samples if s.ended >= tasks / 2]
    if len(half) > 1:
        grown = half[-1].rss_kib - half[0].rss_kib
        done = half[-1].ended - half[0].ended
        print(f"second half: {1024 * grown / max(1, done):.0f} bytes a task")
    if process.returncode:
        print(out, err, sep="\n")
    return process.returncode


def _samples(user: NewUser, pid: int, tasks: int, state: Path) -> Iterator[Sample]:
    """A look each time that so many more have ended, until all have."""
    daemon, began_s = psutil.Process(pid), time.monotonic()
    ended, due = 0, 0
    while ended < tasks:
        threading.Event().wait(_LOOK_S)
        ended = _ended(user)
        if ended < due:
            continue
        due = min(tasks, ended + max(1, tasks // _ROWS))
        try:
            sample = _sample(daemon, ended, time.monotonic() - began_s, state)
        except psutil.Error:
            return
        if sample.rss_kib == 0:
            return  # it has ended, and only waits to be collected
        yield sample


def _ended(user: NewUser) -> int:
    words = ("--count", "--grep=^complete: ", STATE_REF)
    return int(git(user.remote, "rev-list", *words, check=False) or 0)


def _sample(daemon: psutil.Process, ended: int, seconds: float, state: Path) -> Sample:
    rss = daemon.memory_info().rss
    disk = sum(
        _size(Path(folder, n)) for folder, _, names in os.walk(state) for n in names
    )
    return Sample(
        ended,
        seconds,
        rss // 1024,
        daemon.num_fds(),
        daemon.num_threads(),
        disk // 1024,
    )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # it goes on working
        return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
