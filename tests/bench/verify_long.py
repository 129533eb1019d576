"""How long the verification of a long history takes: ``python -m tests.bench.verify_long``.

Prints the commits, the seconds by the clock, the seconds of processor time of percyd
and of the git processes it waits for, and the ratio to the history of half the length,
which is 2 where the time is linear.
"""

from __future__ import annotations

import gc
import resource
import sys
import tempfile
import time
from pathlib import Path

from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.state.verify.walk import verify
from tests.bench.long_history import write_history

_LENGTHS = (12_500, 25_000, 50_000)


def main(lengths: tuple[int, ...] = _LENGTHS) -> int:
    """Measure each length in turn; 1 if a violation is found, which would be a bug."""
    with tempfile.TemporaryDirectory() as folder:
        git, tip = write_history(Path(folder), max(lengths))
        listing = git.run("rev-list", "--first-parent", "--reverse", tip)
        oids = listing.text.split()
        earlier = 0.0
        print("commits  seconds  percyd  git   ratio")
        # As `percyd verify` does.
        gc.disable()
        for length in lengths:
            seconds, own, others = _measure(git, oids[length - 1])
            ratio = f"{(own + others) / earlier:5.2f}" if earlier else "    -"
            earlier = own + others
            print(f"{length:7}  {seconds:7.2f}  {own:6.2f}  {others:4.2f}  {ratio}")
    return 0


def _measure(git: Git, tip: str) -> tuple[float, float, float]:
    """Seconds by the clock, of this process, and of its children."""
    before, started = _used(), time.perf_counter()
    with ObjectReader(git) as reader:
        report = verify(git, reader, tip)
    seconds = time.perf_counter() - started
    after = _used()
    if report.violations:
        raise SystemExit("\n".join(map(str, report.violations[:10])))
    return seconds, after[0] - before[0], after[1] - before[1]


def _used() -> tuple[float, float]:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


if __name__ == "__main__":
    sys.exit(main(tuple(int(word) for word in sys.argv[1:]) or _LENGTHS))
