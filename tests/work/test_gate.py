"""The four verdicts of a gate, with a real shell."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from percyd.clock import SystemClock
from percyd.core.records import Verdict
from percyd.work.gate import GateReport, run_gate
from percyd.work.supervise import Bounds, SystemProcesses

ENV = {"PATH": os.defpath}


def gate(
    command: str,
    cwd: Path,
    *,
    timeout_s: float = 50,
    idle_s: float = 50,
    log: Path | None = None,
    stop: threading.Event | None = None,
) -> GateReport:
    with SystemProcesses(SystemClock()) as processes:
        return run_gate(
            processes,
            command,
            cwd,
            ENV,
            Bounds(timeout_s, idle_s, 1000, 0.2),
            log,
            stop or threading.Event(),
            tree="t" * 40,
        )


def test_a_gate_that_exits_with_0_has_passed(tmp_path: Path) -> None:
    report = gate("echo fine && pwd", tmp_path, log=tmp_path / "log")
    assert report.verdict == Verdict(
        status="passed",
        command="echo fine && pwd",
        exit_code=0,
        tree="t" * 40,
        duration_s=report.verdict.duration_s,
    )
    assert report.verdict.duration_s is not None
    assert report.verdict.duration_s > 0
    assert report.tail == f"fine\n{tmp_path}"
    assert (tmp_path / "log").read_text() == f"fine\n{tmp_path}\n"
    assert not report.stopped


@pytest.mark.parametrize(
    ("command", "status", "code"),
    [
        ("exit 1", "failed", 1),
        ("exit 2", "failed", 2),
        ("false && true", "failed", 1),
        ("kill -SEGV $$", "failed", 139),
        ("no-such-program", "could_not_run", 127),
        ("./not-executable", "could_not_run", 126),
        ("exit 126", "could_not_run", 126),
        ("if", "failed", 2),
    ],
)
def test_the_verdict_follows_the_exit_code(
    tmp_path: Path, command: str, status: str, code: int
) -> None:
    (tmp_path / "not-executable").touch(mode=0o644)
    verdict = gate(command, tmp_path).verdict
    assert (verdict.status, verdict.exit_code) == (status, code)


def test_the_end_of_the_output_says_what_failed(tmp_path: Path) -> None:
    assert gate("echo 1 failed >&2; exit 1", tmp_path).tail == "1 failed"


def test_a_gate_in_a_folder_that_is_gone_could_not_run(tmp_path: Path) -> None:
    report = gate("true", tmp_path / "gone")
    assert (report.verdict.status, report.verdict.exit_code) == ("could_not_run", None)
    assert "No such file or directory" in report.message


def test_a_gate_that_takes_too_long_has_timed_out(tmp_path: Path) -> None:
    report = gate("sleep 600", tmp_path, timeout_s=0.3)
    assert (report.verdict.status, report.verdict.exit_code) == ("timed_out", None)


def test_a_gate_may_be_silent_for_as_long_as_it_may_run(tmp_path: Path) -> None:
    report = gate("sleep 0.6", tmp_path, idle_s=0.2)
    assert report.verdict.status == "passed"


def test_a_gate_that_percyd_stopped_says_nothing_about_the_tree(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    report = gate("true", tmp_path, stop=stop)
    assert report.stopped
    assert report.verdict.status == "could_not_run"
