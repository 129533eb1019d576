"""What every coding program looks like to a worker, and what its run left."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from percyd.core.reasons import Reason
from percyd.core.records import Usage
from percyd.work.supervise import Ending, ProcessResult

SUMMARY_CHARS = 500
#: Errors of starting a program that no second attempt can cure.
MISSING = ("ENOENT:", "EACCES:", "ENOEXEC:", "ENOTDIR:", "ELOOP:")


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a program; ``env`` comes on top of the task's environment."""

    argv: tuple[str, ...]
    stdin: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run left. ``failed`` None means that the program says it is done."""

    summary: str | None = None
    session: str | None = None
    usage: Usage | None = None
    failed: Reason | None = None
    message: str = ""


class Runner(Protocol):
    """A program that does tasks."""

    @property
    def name(self) -> str:
        """The name that plans use."""
        ...

    @property
    def program(self) -> str:
        """The executable, for `available`."""
        ...

    @property
    def env_allow(self) -> tuple[str, ...]:
        """Credentials that the program gets."""
        ...

    @property
    def env_deny(self) -> tuple[str, ...]:
        """Variables that it does not get."""
        ...

    def start(self, prompt_file: Path) -> Start:
        """How to start it on the prompt in ``prompt_file``."""
        ...

    def finish(self, result: ProcessResult) -> RunReport:
        """What its run came to."""
        ...


def available(runner: Runner, path: str | None = None) -> bool:
    """Whether the runner's program is on ``path`` (default: percyd's own PATH)."""
    return shutil.which(runner.program, path=path) is not None


def last_line(text: str) -> str:
    """The last line of ``text`` that says something, cut for a record."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "")[:SUMMARY_CHARS]


def failure(result: ProcessResult) -> tuple[Reason, str] | None:
    """Why a run counts as failed, or None; the same for every runner.

    A run that was stopped is ``released``: whoever stopped it knows the real reason.
    """
    said = last_line(result.tail)
    match result.ending:
        case Ending.EXITED if result.code == 0:
            return None
        case Ending.EXITED:
            text = f"exit {result.code}: {said}" if said else f"exit {result.code}"
            return Reason.RUNNER_FAILED, text
        case Ending.COULD_NOT_START if result.message.startswith(MISSING):
            return Reason.RUNNER_MISSING, result.message
        case Ending.TIMED_OUT:
            return Reason.TIMED_OUT, result.message
        case Ending.IDLE:
            return Reason.IDLE, result.message
        case Ending.STOPPED:
            return Reason.RELEASED, result.message
        case _:
            text = f"{result.message}: {said}" if said else result.message
            return Reason.RUNNER_FAILED, text
