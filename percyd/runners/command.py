"""Runners that are plain programs: a configured one, and the shell for ``run:``."""

from __future__ import annotations

from typing import Final

from percyd.runners.agent import AgentRunner
from percyd.runners.base import Job, Start
from percyd.settings import COMMAND, RunnerConfig

SHELL: Final = "/bin/sh"


class CommandRunner(AgentRunner):
    """``type = "command"``: the prompt comes on its standard input."""

    type = COMMAND
    default_command = ()
    can_resume = False

    def start(self, job: Job) -> Start:
        """See `Runner`; PERCY_PROMPT_FILE is in the task's environment already."""
        argv = (*self.command, *self.config.args)
        return Start(argv, stdin=job.prompt_file, env=self.environment)

    def reader(self, job: Job) -> None:
        """See `Runner`."""


class ShellRunner(AgentRunner):
    """The runner of one ``run:`` task."""

    type = "run"
    default_command = (SHELL, "-c")
    can_resume = False

    def __init__(self, text: str) -> None:
        super().__init__("run", RunnerConfig(args=(text,)))

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        return Start((*self.command, *self.config.args))

    def reader(self, job: Job) -> None:
        """See `Runner`."""
