"""Programs of a task: started under a supervisor, bounded, and ended as a whole tree.

The other half is `percyd.work.supervisor`, which runs as a process of its own. percyd
holds its standard input open for as long as the program may live: whatever ends
percyd, ``kill -9`` included, also ends everything that the program has started. One
that says that all of its program is gone is kept for the next.
"""

from __future__ import annotations

import ast
import contextlib
import marshal
import os
import selectors
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, Self

from percyd.clock import Clock
from percyd.work.output import Listener, Output
from percyd.work.supervisor import LENGTH_BYTES
from percyd.work.supervisors import (
    DRAIN_S,
    Supervisors,
    cut_lifeline,
    end,
    kill_below,
)

POLL_S = 0.1
#: How much longer than the grace a supervisor may take: it kills for at most 10 s.
SLACK_S = 15.0
CHUNK = 65536
REPORT_BYTES = 16 * 1024
#: The reports after which the program itself is no more.
ENDED = frozenset({"exit", "signal", "error"})


class Ending(StrEnum):
    """How a run ended."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed_out"
    IDLE = "idle"
    STOPPED = "stopped"
    COULD_NOT_START = "could_not_start"


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``env`` is the whole environment; no ``stdin`` means an empty one."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: Path | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long, how silent and how talkative a run may be."""

    timeout_s: float
    idle_s: float
    log_bytes: int
    grace_s: float = 30.0


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """What became of a run.

    ``code`` is the exit code of `Ending.EXITED` and the signal of `Ending.SIGNALLED`.
    ``truncated`` counts the bytes that the log did not take.
    """

    ending: Ending
    code: int | None = None
    duration_s: float = 0.0
    tail: str = ""
    truncated: int = 0
    message: str = ""


class Processes(Protocol):
    """The port through which work runs programs."""

    def run(
        self,
        command: Command,
        bounds: Bounds,
        log: Path | None,
        stop: threading.Event,
        listener: Listener | None = None,
    ) -> ProcessResult:
        """Run ``command`` to its end, or to a bound, or until ``stop`` is set."""
        ...


class SystemProcesses:
    """Real processes.

    What ``keep`` names stays open in the supervisors, and never in the programs: a lock
    that such a descriptor holds is free only when percyd *and* all that it ran are gone.
    Once ``kill`` is set, a program that is to stop gets no time to do so. `close` ends
    the supervisors that wait for another program.
    """

    def __init__(
        self,
        clock: Clock,
        keep: tuple[int, ...] = (),
        kill: threading.Event | None = None,
    ) -> None:
        self._clock = clock
        self._kill = kill or threading.Event()
        self._supervisors = Supervisors(keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the supervisors that have nothing to do, and wait until they are gone."""
        self._supervisors.close()

    def run(
        self,
        command: Command,
        bounds: Bounds,
        log: Path | None,
        stop: threading.Event,
        listener: Listener | None = None,
    ) -> ProcessResult:
        """See `Processes`."""
        if stop.is_set():
            return ProcessResult(Ending.STOPPED, message="stopped before it started")
        started = self._clock.boot_s()
        with Output(log, bounds.log_bytes, listener) as output:
            try:
                while True:
                    run, is_new = self._once(command, bounds, output, stop)
                    if is_new or not run.is_untouched:
                        break
            except OSError as error:
                text = f"cannot start a supervisor: {error.strerror}"
                return ProcessResult(Ending.COULD_NOT_START, message=text)
            output.end()
            result = run.result()
            problems = [text for text in (result.message, output.problem) if text]
            return replace(
                result,
                duration_s=self._clock.boot_s() - started,
                tail=output.tail(),
                truncated=output.truncated,
                message="; ".join(problems),
            )

    def _once(
        self, command: Command, bounds: Bounds, output: Output, stop: threading.Event
    ) -> tuple[_Run, bool]:
        """Run it under the next supervisor; and whether that is a new one.

        One that waited may have been killed at this very moment: then it has not said
        that it took the program, and another one may.
        """
        process, is_new = self._supervisors.take(command.env)
        run = _Run(self._clock, process, bounds, output, stop, self._kill)
        try:
            run.send(command)
            run.watch()
        finally:
            if run.is_done:
                self._supervisors.give_back(process)
            else:
                run.close()
        return run, is_new


def _spec(command: Command, bounds: Bounds) -> bytes:
    def text(value: str | Path) -> str:
        return os.fsencode(value).decode("utf-8", "surrogateescape")

    # As a shell does that goes there: some programs work where it says they are.
    env = {**command.env, "PWD": str(command.cwd)}
    env.pop("OLDPWD", None)
    spec = {
        "argv": [text(word) for word in command.argv],
        "cwd": text(command.cwd),
        "env": {text(k): text(v) for k, v in env.items()},
        "stdin": text(command.stdin) if command.stdin else None,
        "grace_s": bounds.grace_s,
    }
    data = marshal.dumps(spec)
    return len(data).to_bytes(LENGTH_BYTES) + data


class _Run:
    """One supervisor and its program, from percyd's side."""

    def __init__(
        self,
        clock: Clock,
        process: subprocess.Popen[bytes],
        bounds: Bounds,
        output: Output,
        stop: threading.Event,
        kill: threading.Event,
    ) -> None:
        self._clock = clock
        self._process = process
        self._bounds = bounds
        self._output = output
        self._stop = stop
        self._kill = kill
        self._reports = bytearray()
        self._ending: Ending | None = None
        #: Whether all of the program is gone, and its supervisor waits for another.
        self.is_done = False
        self._give_up: float | None = None

    @property
    def is_untouched(self) -> bool:
        """Whether the program was not begun for certain, and for no bound's sake."""
        return self._ending is None and "taken" not in self._said()

    def send(self, command: Command) -> None:
        """Tell the supervisor what to run."""
        stdin = self._process.stdin
        spec = _spec(command, self._bounds)
        # A supervisor that is gone already explains itself on its standard error.
        with contextlib.suppress(BrokenPipeError):
            while spec and stdin is not None:
                spec = spec[stdin.write(spec) or 0 :]

    def watch(self) -> None:
        """Copy output and keep the bounds until the supervisor is gone."""
        stdout, stderr = self._process.stdout, self._process.stderr
        if stdout is None or stderr is None:
            return
        now = started = heard = self._clock.boot_s()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(stderr, selectors.EVENT_READ)
            while selector.get_map() and (self._give_up is None or now < self._give_up):
                ready = [key.fileobj for key, _ in selector.select(POLL_S)]
                now = self._clock.boot_s()
                if stdout in ready:
                    heard = now
                    data = os.read(stdout.fileno(), CHUNK)
                    if data:
                        self._output.feed(data)
                    else:
                        selector.unregister(stdout)
                if stderr in ready and not self._hear(stderr.fileno(), now):
                    selector.unregister(stderr)
                if self._give_up is None:
                    self._check(now, started, heard)
                elif self._kill.is_set() and self._stop.is_set():
                    # Its guard sees to what is left then.
                    kill_below(self._process.pid)
                if self._ending is None and "done" in self._said():
                    self._drain(stdout.fileno())
                    self.is_done = True
                    return

    def _hear(self, fd: int, now: float) -> bool:
        """Take a report; false once the supervisor is gone."""
        data = os.read(fd, CHUNK)
        self._reports += data[: REPORT_BYTES - len(self._reports)]
        if not data:
            self._give_up = now + DRAIN_S
        elif self._give_up is None and not ENDED.isdisjoint(self._said()):
            self._give_up = now + self._bounds.grace_s + SLACK_S
        return bool(data)

    def _drain(self, fd: int) -> None:
        """Take what the program has printed last: nobody is left to print more."""
        os.set_blocking(fd, False)
        try:
            while data := os.read(fd, CHUNK):
                self._output.feed(data)
        except BlockingIOError:
            return
        finally:
            os.set_blocking(fd, True)

    def _check(self, now: float, started: float, heard: float) -> None:
        """End the run if a bound is crossed."""
        if self._stop.is_set():
            self._ending = Ending.STOPPED
        elif now - started >= self._bounds.timeout_s:
            self._ending = Ending.TIMED_OUT
        elif now - heard >= self._bounds.idle_s:
            self._ending = Ending.IDLE
        else:
            return
        cut_lifeline(self._process)
        self._give_up = now + self._bounds.grace_s + SLACK_S

    def close(self) -> None:
        """Make sure that nothing of this run is left."""
        cut_lifeline(self._process)
        bounded = self._give_up is not None
        end(self._process, DRAIN_S if bounded else self._bounds.grace_s + SLACK_S)

    def _said(self) -> dict[str, Any]:
        """All that the supervisor has reported so far."""
        said: dict[str, Any] = {}
        for line in self._reports.split(b"\n")[:-1]:
            with contextlib.suppress(ValueError, SyntaxError):
                report = ast.literal_eval(line.decode())
                said |= report if isinstance(report, dict) else {}
        return said

    def result(self) -> ProcessResult:
        """What became of the run, without the parts that `SystemProcesses` adds."""
        said = self._said()
        if self._ending is not None:
            result = ProcessResult(self._ending, message=self._crossed())
        elif "error" in said:
            result = ProcessResult(Ending.COULD_NOT_START, message=str(said["error"]))
        elif "exit" in said:
            result = ProcessResult(Ending.EXITED, int(said["exit"]))
        elif "signal" in said:
            code = int(said["signal"])
            text = f"ended by signal {code}"
            result = ProcessResult(Ending.SIGNALLED, code, message=text)
        elif "started" in said or self._process.returncode < 0:
            text = "its supervisor was killed"
            result = ProcessResult(Ending.SIGNALLED, message=text)
        else:
            words = self._reports.decode("utf-8", "replace").strip()
            last = words.rpartition("\n")[2] or f"code {self._process.returncode}"
            last = str(said.get("failed", last))
            text = f"the supervisor failed: {last}"
            result = ProcessResult(Ending.COULD_NOT_START, message=text)
        if "left" in said:
            text = f"processes that could not be ended: {said['left']}"
            result = replace(result, message=f"{result.message}; {text}".lstrip("; "))
        return result

    def _crossed(self) -> str:
        if self._ending is Ending.TIMED_OUT:
            return f"ran longer than {self._bounds.timeout_s:g} s"
        if self._ending is Ending.IDLE:
            return f"printed nothing for {self._bounds.idle_s:g} s"
        return "stopped"
