"""Plain programs as runners, run for real."""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from percyd.clock import SystemClock
from percyd.core.reasons import Reason
from percyd.runners.base import Job, Runner, RunReport, available, report_of
from percyd.runners.command import CommandRunner, ShellRunner
from percyd.runners.registry import registry
from percyd.settings import Config, RunnerConfig
from percyd.work.supervise import (
    Bounds,
    Command,
    Ending,
    ProcessResult,
    SystemProcesses,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def do(runner: Runner, folder: Path, **changes: float) -> RunReport:
    prompt = folder / "prompt"
    prompt.write_text("do it\n")
    start = runner.start(Job(prompt))
    values = {"timeout_s": 50, "idle_s": 50, "log_bytes": 1000, "grace_s": 0.2}
    bounds = Bounds(**{**values, **changes})  # type: ignore[arg-type]
    env = {"PATH": os.defpath, **start.env}
    command = Command(start.argv, folder, env, start.stdin)
    with SystemProcesses(SystemClock()) as processes:
        result = processes.run(command, bounds, None, threading.Event())
    return report_of(result, None, NOW)


def configured(*command: str, **more: object) -> CommandRunner:
    values = {"command": command, **more}
    return CommandRunner("mytool", RunnerConfig.model_validate(values))


def test_a_program_gets_the_prompt_on_its_input(tmp_path: Path) -> None:
    report = do(configured("cat"), tmp_path)
    assert report == RunReport(summary="do it", said="do it")


def test_arguments_and_environment_come_from_the_configuration(tmp_path: Path) -> None:
    runner = configured("sh", "-c", args=['echo "$GREETING"'], env={"GREETING": "hi"})
    assert do(runner, tmp_path).summary == "hi"


def test_the_prompt_is_never_part_of_the_command_line() -> None:
    start = configured("tool", args=["-x"]).start(Job(Path("/p")))
    assert (start.argv, start.stdin) == (("tool", "-x"), Path("/p"))
    assert ShellRunner("make").start(Job(Path("/p"))).argv == ("/bin/sh", "-c", "make")


def test_a_shell_task_reads_no_prompt(tmp_path: Path) -> None:
    assert do(ShellRunner("cat; echo; echo done"), tmp_path).summary == "done"


def test_the_summary_is_the_last_line_that_says_something(tmp_path: Path) -> None:
    report = do(ShellRunner(r"printf 'one\n two \033[0m\n\n  \n'"), tmp_path)
    assert report.summary == "two"
    assert do(ShellRunner("true"), tmp_path).summary is None
    long = do(ShellRunner("head -c 9000 /dev/zero | tr '\\0' x"), tmp_path).summary
    assert long == "x" * 500


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo oops; exit 3", "exit 3: oops"),
        ("exit 3", "exit 3"),
        ("no-such-program", "exit 127: "),
        ("echo last; kill -9 $$", "ended by signal 9: last"),
    ],
)
def test_a_program_that_fails_has_failed(
    tmp_path: Path, script: str, message: str
) -> None:
    report = do(ShellRunner(script), tmp_path)
    assert report.failed is Reason.RUNNER_FAILED
    assert report.message.startswith(message)
    assert report.summary is None


def test_a_missing_program_is_a_missing_runner(tmp_path: Path) -> None:
    report = do(configured("no-such-program"), tmp_path)
    assert report.failed is Reason.RUNNER_MISSING
    assert "no-such-program" in report.message


def test_bounds_have_reasons_of_their_own(tmp_path: Path) -> None:
    slow = ShellRunner("sleep 600")
    assert do(slow, tmp_path, timeout_s=0.3).failed is Reason.TIMED_OUT
    assert do(slow, tmp_path, idle_s=0.3).failed is Reason.IDLE


def test_other_failures_to_start_may_be_tried_again() -> None:
    result = ProcessResult(Ending.COULD_NOT_START, message="EAGAIN: tool: try again")
    assert report_of(result, None, NOW).failed is Reason.RUNNER_FAILED
    stopped = ProcessResult(Ending.STOPPED, message="stopped")
    assert report_of(stopped, None, NOW).failed is Reason.RELEASED


def test_available_looks_for_the_program(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.touch(mode=0o755)
    assert available(configured("tool"), path=str(tmp_path))
    assert available(configured(str(tool)))
    assert not available(configured("no-such-program"))
    assert available(ShellRunner("anything"))


def test_the_registry_holds_the_configured_runners() -> None:
    config = Config.model_validate(
        {"runners": {"a": {"command": ["x"], "env_allow": ["X_TOKEN"]}}}
    )
    runners = registry(config)
    assert list(runners) == ["a"]
    assert (runners["a"].name, runners["a"].program) == ("a", "x")
    assert (runners["a"].env_allow, runners["a"].env_deny) == (("X_TOKEN",), ())
