"""Processes of percyd's own that start together: the parent's side.

A child says that it is ready, waits for the word, and answers in lines of JSON. It ends
when its standard input does, so that none outlives the parent, however that ends; see
`percyd.bench.peer` for its side.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import percyd
from percyd.bench.values import Json
from percyd.clock import Clock
from percyd.errors import PercydError

#: What a child gets between the end of its input and its own.
_END_S = 5.0


class Child:
    """One process, and what it says."""

    def __init__(
        self, module: str, job: Json, environ: Mapping[str, str], errors: Path
    ) -> None:
        self._errors = errors
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, json.dumps(job)],
                env=_environment(environ),
                # Away from folders that hold a package of the same name.
                cwd=errors.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        self._said: queue.Queue[Json | None] = queue.Queue()
        assert self._process.stdout is not None  # noqa: S101
        args = (self._process.stdout,)
        self._ear = threading.Thread(target=self._listen, args=args, daemon=True)
        self._ear.start()

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with suppress(ValueError):
                    self._said.put(json.loads(line))
        self._said.put(None)

    def release(self) -> None:
        """Give it the word."""
        stream = self._process.stdin
        if stream is not None:
            with suppress(OSError):  # it is gone: `hear` says why
                stream.write(b"go\n")
                stream.flush()

    def hear(self, timeout_s: float) -> Json:
        """The next thing it says.

        Raises:
            PercydError: it said nothing in time, or has ended.
        """
        try:
            said = self._said.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            raise PercydError("a process of the benchmark does not answer") from None
        if said is None:
            lines = self._errors.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "no error"
            raise PercydError(f"a process of the benchmark has ended: {last:.300}")
        return said

    def dismiss(self) -> None:
        """Close its input, on which it ends."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def end(self) -> None:
        """Wait for its end; one that takes too long is killed."""
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ear.join(_END_S)


class Command:
    """A command of percyd's own, as it is installed; what it logs can be waited for."""

    def __init__(
        self, args: Sequence[str], folder: Path, environ: Mapping[str, str]
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "percyd", *args],
            env=_environment(environ),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with self._process.stderr as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def hear(self, word: str, timeout_s: float) -> None:
        """Wait for a line of the log with this word in it.

        Raises:
            PercydError: it did not come in time, or the command has ended.
        """
        last = ""
        while True:
            try:
                line = self._lines.get(timeout=timeout_s)
            except queue.Empty:
                raise PercydError("a process of the benchmark does not start") from None
            if line is None:
                raise PercydError(f"a process of the benchmark has ended: {last:.300}")
            if word in line:
                return
            last = line

    def wait(self, timeout_s: float) -> None:
        """Wait for its end.

        Raises:
            PercydError: it failed.
        """
        if self._process.wait(timeout_s):
            raise PercydError("a command of the benchmark has failed")

    def end(self) -> None:
        """Ask it to end; one that takes too long is killed."""
        self._process.terminate()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._ear.join(_END_S)


def shell(script: str, folder: Path, environ: Mapping[str, str]) -> None:
    """Run a script of ``sh`` as a user would, with git's own defaults.

    Raises:
        PercydError: it failed.
    """
    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        env=_environment(environ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PercydError(f"the script beside percyd failed: {done.stderr:.300}")


@contextmanager
def command(
    args: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> Iterator[Command]:
    """A command of percyd's that runs in ``folder``; it has ended afterwards."""
    running = Command(args, folder, environ)
    try:
        yield running
    finally:
        running.end()


class Children:
    """A group of processes with one deadline for all that they do."""

    def __init__(
        self, children: Sequence[Child], clock: Clock, deadline_s: float
    ) -> None:
        self.all = children
        self._clock = clock
        self._give_up_s = clock.boot_s() + deadline_s

    def hear_each(self) -> list[Json]:
        """The next thing that each of them says."""
        return [
            child.hear(self._give_up_s - self._clock.boot_s()) for child in self.all
        ]

    def release(self) -> float:
        """Let all begin; the moment on the boot clock, which all processes share."""
        started_s = self._clock.boot_s()
        for child in self.all:
            child.release()
        return started_s


@contextmanager
def children(
    module: str,
    jobs: Sequence[Json],
    *,
    folder: Path,
    environ: Mapping[str, str],
    clock: Clock,
    deadline_s: float,
) -> Iterator[Children]:
    """One process for each job, all of them ready; none is left at the end."""
    started: list[Child] = []
    try:
        for number, job in enumerate(jobs):
            errors = folder / f"child-{number}.err"
            whole = {**job, "deadline_s": deadline_s}
            started.append(Child(module, whole, environ, errors))
        group = Children(started, clock, deadline_s)
        group.hear_each()
        yield group
    finally:
        for child in started:
            child.dismiss()
        for child in started:
            child.end()


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, with the very percyd that runs here found first."""
    home = str(Path(percyd.__file__).parents[1])
    path = os.pathsep.join(filter(None, [home, environ.get("PYTHONPATH")]))
    return {**environ, "PYTHONPATH": path}
