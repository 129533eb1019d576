"""``percyd bench`` from outside: its shape, and that it leaves nothing. Never times."""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from jsonschema import validate
from rich.console import Console

from percyd.bench.scale import QUICK
from percyd.cli.bench_show import render_bench
from tests.support.newuser import finish, percyd, start

NAMES = [
    "transitions",
    "claims",
    "one-task",
    "dispatch",
    "trigger",
    "throughput",
    "growth",
]

POSITIVE = {"type": "number", "exclusiveMinimum": 0}
SPREAD = {
    "type": "object",
    "properties": {
        "median": POSITIVE,
        "low": POSITIVE,
        "high": POSITIVE,
        "count": {"type": "integer", "minimum": 1},
    },
    "required": ["median", "low", "high", "count"],
    "additionalProperties": False,
}
TARGET = {
    "type": ["object", "null"],
    "properties": {
        "of": {"type": "string"},
        "value": POSITIVE,
        "at_most": POSITIVE,
        "met": {"type": "boolean"},
    },
    "required": ["of", "value", "at_most", "met"],
    "additionalProperties": False,
}
ROW = {
    "type": "object",
    "properties": {
        "case": {"type": "string"},
        "unit": {"type": "string"},
        "raw_unit": {"type": "string"},
        "measured_ms": SPREAD,
        "raw_ms": SPREAD,
        "times_raw": SPREAD,
        "target": TARGET,
        "facts": {"type": "object", "additionalProperties": {"type": "number"}},
    },
    "required": [
        *("case", "unit", "raw_unit", "measured_ms", "raw_ms"),
        *("times_raw", "target", "facts"),
    ],
    "additionalProperties": False,
}
SECTION = {
    "type": "object",
    "properties": {
        "name": {"enum": NAMES},
        "title": {"type": "string"},
        "load": {"type": "array", "items": {"type": "number"}, "minItems": 2},
        "rows": {"type": "array", "items": ROW, "minItems": 1},
    },
    "required": ["name", "title", "load", "rows"],
    "additionalProperties": False,
}
REPORT = {
    "type": "object",
    "properties": {
        "git": {"type": "string"},
        "python": {"type": "string"},
        "cpus": {"type": "integer", "minimum": 1},
        "quick": {"const": True},
        "benchmarks": {"type": "array", "items": SECTION},
    },
    "required": ["git", "python", "cpus", "quick", "benchmarks"],
    "additionalProperties": False,
}


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where percyd makes its temporary folders, and where it is run, both empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    (tmp_path / "here").mkdir()
    return folder


def row(document: Any, name: str, number: int = 0) -> Any:
    (section,) = (s for s in document["benchmarks"] if s["name"] == name)
    return section["rows"][number]


@pytest.mark.timeout(300)
def test_a_quick_run_measures_everything_and_leaves_nothing(
    tmp_path: Path, scratch: Path
) -> None:
    done = finish(start("bench", "--quick", "--json", cwd=tmp_path / "here"), 280)

    assert done.code == 0, done.err
    validate(done.document, REPORT)
    assert [s["name"] for s in done.document["benchmarks"]] == NAMES
    claims = row(done.document, "claims")["facts"]
    assert claims["won_least"] == claims["won_most"] == QUICK.slots
    assert row(done.document, "one-task")["facts"]["told_the_winner"] == QUICK.crowd - 1
    for ratio in (row(done.document, "growth", n)["target"] for n in (1, 2, 3)):
        assert ratio["of"] == f"times {QUICK.sizes.small} tasks"
    assert not list(scratch.iterdir())
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.timeout(120)
def test_one_benchmark_can_be_named_and_is_shown_as_a_table(
    tmp_path: Path, scratch: Path
) -> None:
    done = percyd(tmp_path / "here", "bench", "dispatch", "--quick", "-q")

    assert "TIMES RAW PUSH" in done.out
    assert "two processes" in done.out
    assert "Claims" not in done.out
    assert done.err == ""


def test_a_benchmark_that_is_not_there_is_named(tmp_path: Path, scratch: Path) -> None:
    done = percyd(tmp_path / "here", "bench", "speed", code=2)

    (said,) = done.said
    assert said.startswith("percyd: there is no benchmark 'speed'; one of transitions")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_a_benchmark_that_is_ended(
    tmp_path: Path, scratch: Path, number: signal.Signals
) -> None:
    process = start("bench", "--quick", "one-task", cwd=tmp_path / "here")
    pause = threading.Event()
    while len(claimers := processes_of("percyd.bench.claimer", scratch)) < QUICK.crowd:
        assert process.poll() is None, process.communicate()
        pause.wait(0.01)

    process.send_signal(number)
    done = finish(process)

    assert done.code != 0
    _, alive = psutil.wait_procs(claimers, timeout=20)
    assert not alive
    # One may have been about to start when it was killed.
    late = psutil.wait_procs(processes_of("percyd.bench.claimer", scratch), timeout=20)
    assert not late[1]
    if number != signal.SIGKILL:
        assert done.code == 130
        assert not list(scratch.iterdir())


def processes_of(module: str, scratch: Path) -> list[psutil.Process]:
    """The processes of a benchmark that works in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if module in words and any(str(scratch) in word for word in words):
            found.append(process)
    return found


def test_the_table_says_which_targets_are_missed() -> None:
    spread = {"median": 30.0, "low": 20.0, "high": 40.0, "count": 3}
    target = {"of": "times raw push", "value": 0.1, "at_most": 0.0833, "met": False}
    shown = {
        "case": "64 threads",
        "unit": "ms per transition",
        "raw_unit": "one raw push",
        "measured_ms": spread,
        "raw_ms": {**spread, "median": 1200.0},
        "times_raw": {**spread, "median": 0.025},
        "target": target,
        "facts": {"pushes": 3.0},
    }
    section = {"name": "x", "title": "X", "load": [0.5, 1.25], "rows": [shown]}
    report = {
        "git": "2.39.5",
        "python": "3.11",
        "cpus": 2,
        "quick": False,
        "benchmarks": [section],
    }
    console = Console(file=io.StringIO(), width=200)

    render_bench(console, report)

    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "30 ms: ms per transition  1,200 ms for one raw push" in text
    assert "missed: at most 0.083" in text
    assert "64 threads: pushes 3" in text
    assert "load 0.5 before, 1.2 after" in text
