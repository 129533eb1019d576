"""Runners that are plain programs: a configured one, and the shell for ``run:``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from percyd.runners.base import Runner, RunReport, Start, failure, last_line
from percyd.settings import Config, RunnerConfig
from percyd.work.supervise import ProcessResult

SHELL = "/bin/sh"


def _report(result: ProcessResult) -> RunReport:
    failed = failure(result)
    if failed is not None:
        return RunReport(failed=failed[0], message=failed[1])
    return RunReport(summary=last_line(result.tail) or None)


@dataclass(frozen=True, slots=True)
class CommandRunner:
    """A program of ``[runners.<name>]``: the prompt comes on its standard input."""

    name: str
    config: RunnerConfig

    @property
    def program(self) -> str:
        """See `Runner`."""
        return self.config.command[0]

    @property
    def env_allow(self) -> tuple[str, ...]:
        """See `Runner`."""
        return self.config.env_allow

    @property
    def env_deny(self) -> tuple[str, ...]:
        """See `Runner`."""
        return self.config.env_deny

    def start(self, prompt_file: Path) -> Start:
        """See `Runner`; PERCY_PROMPT_FILE is in the task's environment already."""
        argv = (*self.config.command, *self.config.args)
        return Start(argv, stdin=prompt_file, env=dict(self.config.env))

    def finish(self, result: ProcessResult) -> RunReport:
        """See `Runner`."""
        return _report(result)


@dataclass(frozen=True, slots=True)
class ShellRunner:
    """The runner of one ``run:`` task."""

    command: str
    name: str = "run"
    program: str = SHELL
    env_allow: tuple[str, ...] = ()
    env_deny: tuple[str, ...] = ()

    def start(self, prompt_file: Path) -> Start:
        """See `Runner`."""
        return Start((SHELL, "-c", self.command))

    def finish(self, result: ProcessResult) -> RunReport:
        """See `Runner`."""
        return _report(result)


def registry(config: Config) -> dict[str, Runner]:
    """The configured runners by name."""
    return {name: CommandRunner(name, it) for name, it in config.runners.items()}
