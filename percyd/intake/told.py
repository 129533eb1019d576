"""What this clone has told its user, so that nothing is told twice over restarts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

#: What was told, of which file, in which version of it.
Word = tuple[str, str, str]


class Told:
    """A set of words in a file of the clone's own; it only ever grows.

    One line of about 100 bytes for each version of a plan file that could not be
    followed. A file that cannot be read or written means that something is told again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._here: set[str] = set()

    def __contains__(self, word: Word) -> bool:
        line = " ".join(word)
        if line not in self._here:
            with suppress(OSError):
                lines = self._path.read_text("utf-8", "replace").splitlines()
                self._here |= set(lines)
        return line in self._here

    def add(self, word: Word) -> None:
        """Remember a word."""
        if word in self:
            return
        line = " ".join(word)
        self._here.add(line)
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            fd = os.open(self._path, flags, 0o600)
            try:
                os.write(fd, f"{line}\n".encode())
            finally:
                os.close(fd)
