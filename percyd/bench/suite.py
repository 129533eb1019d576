"""All benchmarks by name, and what they say together."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from percyd.bench import claims, dispatch, growth, throughput, transitions, trigger
from percyd.bench.lab import Lab, Say, load, open_lab
from percyd.bench.scale import FULL, QUICK
from percyd.bench.values import Report, Row, Section
from percyd.repo.runner import require_git


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One thing to measure."""

    title: str
    measure: Callable[[Lab], list[Row]]


BENCHMARKS: Mapping[str, Benchmark] = {
    "transitions": Benchmark(transitions.TITLE, transitions.measure),
    "claims": Benchmark(claims.TITLE, claims.measure),
    "one-task": Benchmark(claims.TITLE_ONE, claims.measure_one),
    "dispatch": Benchmark(dispatch.TITLE, dispatch.measure),
    "trigger": Benchmark(trigger.TITLE, trigger.measure),
    "throughput": Benchmark(throughput.TITLE, throughput.measure),
    "growth": Benchmark(growth.TITLE, growth.measure),
}


def run(
    names: Sequence[str], environ: Mapping[str, str], say: Say, *, quick: bool
) -> Report:
    """Measure these, in this order, in a temporary folder.

    Raises:
        PercydError: something went wrong that is no matter of speed: a task that was
            claimed twice, a history that is not legal, a process that died.
    """
    version = ".".join(map(str, require_git(environ)))
    with open_lab(environ, QUICK if quick else FULL, say) as lab:
        sections = [_section(lab, name) for name in names]
    cpus = os.cpu_count() or 1
    return Report(version, platform.python_version(), cpus, quick, sections)


def _section(lab: Lab, name: str) -> Section:
    benchmark = BENCHMARKS[name]
    before = load()
    rows = benchmark.measure(lab)
    return Section(name, benchmark.title, rows, (before, load()))
