"""Pages of the documentation as a reader with a shell sees them.

Blocks marked ``sh`` are for the reader to run: all of a page, in order, in one folder.
A ``text`` block behind one shows what it prints. Blocks marked ``console`` are not run:
they need something that a test has not, such as a second machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
TIMEOUT_S = 50

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
#: What differs from run to run: ids, times, process numbers, durations.
_VARIES = re.compile(
    r"\b\d\d\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\dZ?\b|\b[0-9a-f]{6,40}\b"
    r"|(?<=process )\d+|[\d.]+(?= s\b)|[\d.]+(?= MB\b)"
)
#: The reader of the pages lives here.
_READER = "/home/you"


@dataclass(frozen=True)
class Step:
    """One ``sh`` block, and what the page says that it prints."""

    line: int
    script: str
    shown: str | None


def steps(text: str) -> list[Step]:
    """What a page tells its reader to run."""
    found: list[Step] = []
    for block in _BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "sh":
            line = text.count("\n", 0, block.start()) + 1
            found.append(Step(line, content, None))
        elif kind == "text":
            last = found.pop()
            if last.shown is not None:
                raise ValueError(f"line {last.line}: two blocks of output")
            found.append(Step(last.line, last.script, content))
    return found


def difference(shown: str, printed: str) -> list[str]:
    """Lines that are only in one of the two.

    Lines may come in another order, as tasks run side by side. ``...`` in a line is
    anything, ``...`` alone any lines that are not shown.
    """
    left = [_plain(line) for line in printed.splitlines()]
    wrong = []
    wanted = [_plain(line) for line in shown.splitlines()]
    for line in wanted:
        if line == "...":
            continue
        pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
        found = next((other for other in left if pattern.fullmatch(other)), None)
        if found is None:
            wrong.append(f"is not printed: {line}")
        else:
            left.remove(found)
    if "..." not in wanted:
        wrong += [f"is not shown: {line}" for line in left if line]
    return wrong


def _plain(line: str) -> str:
    return " ".join(_VARIES.sub("#", line).split())


@dataclass
class Reader:
    """Somebody who types what a page says, in a home of their own."""

    home: Path
    folder: Path | None = None

    def begin(self, script: str) -> None:
        """Do what a page takes for granted."""
        self._do(Step(0, script, None))

    def follow(self, text: str) -> Iterator[tuple[Step, str]]:
        """Do the steps of a page; answers each with what it printed."""
        for step in steps(text):
            yield step, self._do(step)

    def _do(self, step: Step) -> str:
        here = self.home / ".here"
        script = f"set -e\n{step.script}\npwd > '{here}'\n"
        done = subprocess.run(
            ["sh", "-c", script],
            cwd=self.folder or self.home,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"line {step.line}: {done.stdout}"
        self.folder = Path(here.read_text().rstrip("\n"))
        return done.stdout.replace(str(self.home), _READER)

    def _environment(self) -> dict[str, str]:
        path = f"{self._bin()}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PERCYD_WORKER__NAME": "laptop"}

    def _bin(self) -> Path:
        """A folder with a ``percyd`` that is the one of this tree."""
        folder = self.home / ".bin"
        program = folder / "percyd"
        if not program.exists():
            folder.mkdir()
            program.write_text(
                f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m percyd "$@"\n'
            )
            program.chmod(0o755)
        return folder
