"""What every coding program looks like to a worker, and what its run left."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from percyd.core.reasons import Reason
from percyd.core.records import Usage
from percyd.runners.events import Event
from percyd.runners.limits import rest_until
from percyd.work.masking import masked_text
from percyd.work.supervise import Ending, ProcessResult

SUMMARY_CHARS = 500
SAID_CHARS = 20_000
#: Errors of starting a program that no second attempt can cure.
MISSING = ("ENOENT:", "EACCES:", "ENOEXEC:", "ENOTDIR:", "ELOOP:")


@dataclass(frozen=True, slots=True)
class Job:
    """What a program is started for: one round of an attempt.

    Args:
        prompt_file: The text that it gets.
        session: The session to go on with; None for a new one.
        read_only: It is to read the worktree and change nothing.
        spent: What the session has used before, where it goes on.
    """

    prompt_file: Path
    session: str | None = None
    read_only: bool = False
    spent: Usage | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a program; ``env`` comes on top of the task's environment."""

    argv: tuple[str, ...]
    stdin: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Ran:
    """What a program has told of its run so far.

    ``is_done`` is None until it says how it has ended: an exit code says nothing.
    ``problem`` is why it failed, ``status`` that of the provider's last answer, and
    ``denied`` what it was not allowed to do.
    """

    said: str = ""
    session: str | None = None
    usage: Usage | None = None
    is_done: bool | None = None
    problem: str = ""
    status: int | None = None
    denied: tuple[str, ...] = ()

    def fail(self, why: str, status: int | None = None) -> None:
        """It says that it has failed."""
        self.is_done, self.problem, self.status = False, why, status


class Reader(ABC):
    """Reads what one run prints, line by line as it comes; ``ran`` is what it has told.

    Lines without ``marks`` say nothing, and need not be read.
    """

    marks: ClassVar[bytes]

    def __init__(self) -> None:
        self.ran = Ran()

    @abstractmethod
    def read(self, line: bytes) -> Iterable[Event]:
        """What a line says; nothing for one that is not understood."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run left. ``failed`` None means that the program says it is done.

    ``said`` is its last word whole, ``summary`` as much of it as records keep.
    ``rest_until`` is set where its provider has no more to give before that time.
    """

    summary: str | None = None
    said: str = ""
    session: str | None = None
    usage: Usage | None = None
    failed: Reason | None = None
    message: str = ""
    denied: tuple[str, ...] = ()
    rest_until: datetime | None = None


class Runner(Protocol):
    """A program that does tasks."""

    @property
    def name(self) -> str:
        """The name that plans use."""
        ...

    @property
    def type(self) -> str:
        """How it is spoken to: its name in the configuration."""
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

    @property
    def can_resume(self) -> bool:
        """Whether it goes on with a session that has ended."""
        ...

    def obeys(self, worktree: Path) -> str | None:
        """A file of the repository that it would obey, and must not."""
        ...

    def start(self, job: Job) -> Start:
        """How to start it."""
        ...

    def reader(self, job: Job) -> Reader | None:
        """What reads the output of that run; None where its exit code has to do."""
        ...


def available(runner: Runner, path: str | None = None) -> bool:
    """Whether the runner's program is on ``path`` (default: percyd's own PATH)."""
    return shutil.which(runner.program, path=path) is not None


def last_line(text: str) -> str:
    """The last line of ``text`` that says something, cut for a record."""
    lines = (line.strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "")[:SUMMARY_CHARS]


def report_of(result: ProcessResult, ran: Ran | None, now: datetime) -> RunReport:
    """What a run came to: by what the program said, never by its exit code alone.

    Without ``ran``, of a program that says nothing of itself, the exit code has to do.

    A run that was stopped is ``released``: whoever stopped it knows the real reason.
    """
    ran = ran or Ran(is_done=True, said=last_line(result.tail))
    denied = tuple(map(masked_text, ran.denied))
    left = RunReport(session=ran.session, usage=ran.usage, denied=denied)
    failed = _outside(result)
    if failed is not None:
        return replace(left, failed=failed[0], message=failed[1])
    if ran.is_done and result.ending is Ending.EXITED and result.code == 0:
        said = masked_text(ran.said)[:SAID_CHARS]
        return replace(left, said=said, summary=said[:SUMMARY_CHARS] or None)
    message = masked_text(_how(result, ran))
    # Only where it names its error itself: anything may be printed before a crash.
    names_it = ran.is_done is False
    until = rest_until(message, now, ran.status) if names_it else None
    reason = Reason.RUNNER_FAILED if until is None else Reason.PARKED
    return replace(left, failed=reason, message=message, rest_until=until)


def _outside(result: ProcessResult) -> tuple[Reason, str] | None:
    """What percyd or the system has to say of a run, whatever the program said."""
    match result.ending:
        case Ending.COULD_NOT_START if result.message.startswith(MISSING):
            return Reason.RUNNER_MISSING, result.message
        case Ending.COULD_NOT_START:
            return Reason.RUNNER_FAILED, result.message
        case Ending.TIMED_OUT:
            return Reason.TIMED_OUT, result.message
        case Ending.IDLE:
            return Reason.IDLE, result.message
        case Ending.STOPPED:
            return Reason.RELEASED, result.message
        case _:
            return None


def _how(result: ProcessResult, ran: Ran) -> str:
    """Why a run has failed, in one line."""
    was_killed = result.ending is Ending.SIGNALLED
    how = result.message if was_killed else f"exit {result.code}"
    if ran.is_done is None:
        how = f"it ended without a result ({how})"
    elif ran.is_done is False:
        return f"{how}: {ran.problem}" if ran.problem else how
    said = last_line(result.tail)
    return f"{how}: {said}" if said else how
