"""Reads objects through one git process that stays up."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Self, TypeVar

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo.runner import Git

#: The largest object that percyd reads into memory.
SIZE_LIMIT = 64 * 1024 * 1024
#: So many requests fit into a pipe (64 KiB; 4 KiB at the very least) without anybody
#: reading it, also with the 64 digits of SHA-256: neither side can wait for the other.
_CHUNK = 60
_TRIES = 2

#: Id, type and content of an object; id, type and size.
Found = tuple[Oid, str, bytes]
Header = tuple[Oid, str, int]
T = TypeVar("T")


class _CutShort(Exception):
    """The rest of an answer is still in the pipe and is not wanted."""

    def __init__(self, found: Found) -> None:
        self.found = found


class ObjectReader:
    """A ``git cat-file`` that any thread may ask; restarted when it dies."""

    def __init__(self, git: Git) -> None:
        self._git = git
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, name: str) -> Found | None:
        """The id, type and content of an object, or None if there is none.

        Args:
            name: Anything that git takes for an object: an id, a full ref name,
                ``<commit>:<path>``.
        """
        return self._ask([name])[0]

    def read_blob(self, oid: Oid) -> bytes:
        """The content of a blob that must be there."""
        found = self.read(oid)
        if found is None or found[1] != "blob":
            raise GitError(f"{oid} is not a blob" if found else f"{oid} is missing")
        return found[2]

    def resolve(self, name: str) -> Oid | None:
        """The id that ``name`` stands for, or None."""
        found = self._info([name])[0]
        return None if found is None else found[0]

    def sizes(self, oids: Sequence[Oid]) -> Iterator[int]:
        """The sizes of many objects in order, in bytes, uncompressed.

        Raises:
            GitError: one of them is missing.
        """
        for start in range(0, len(oids), _CHUNK):
            for found in self._info(oids[start : start + _CHUNK]):
                if found is None:
                    raise GitError("an object is missing")
                yield found[2]

    def read_start(self, oid: Oid, limit: int) -> bytes | None:
        """At most the first ``limit`` bytes of an object; None if it is missing."""
        try:
            found = self._ask([oid], cut=limit)[0]
        except _CutShort as short:
            found = short.found
        return None if found is None else found[2]

    def read_many(self, oids: Sequence[Oid]) -> Iterator[bytes | None]:
        """The contents of many objects in order; None for one that is missing."""
        for start in range(0, len(oids), _CHUNK):
            for found in self._ask(oids[start : start + _CHUNK]):
                yield None if found is None else found[2]

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._stop()

    def _ask(self, names: Sequence[str], cut: int | None = None) -> list[Found | None]:
        return self._exchange("contents", names, lambda out: _contents(out, cut))

    def _info(self, names: Sequence[str]) -> list[Header | None]:
        return self._exchange("info", names, _header)

    def _exchange(
        self, command: str, names: Sequence[str], answer: Callable[[IO[bytes]], T]
    ) -> list[T]:
        """Put all ``names`` into the pipe, then read all answers."""
        if any("\n" in name or not name for name in names):
            raise GitError("an object name may not be empty or contain a newline")
        request = "".join(f"{command} {name}\n" for name in names).encode()
        with self._lock:
            for _ in range(_TRIES):
                # It may have died since the last question, or been killed.
                with contextlib.suppress(OSError, EOFError):
                    return self._once(request, len(names), answer)
        raise GitError("git cat-file: ended without an answer")

    def _once(
        self, request: bytes, count: int, answer: Callable[[IO[bytes]], T]
    ) -> list[T]:
        process = self._running()
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise EOFError
        try:
            stdin.write(request)
            stdin.flush()
            return [answer(stdout) for _ in range(count)]
        except BaseException:
            # The rest of the answers is still in the pipe.
            self._stop()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = self._git.start("cat-file", "--batch-command")
        return self._process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _header(stdout: IO[bytes]) -> Header | None:
    """The first line of an answer: ``<oid> <type> <size>``, or ``... missing``."""
    header = stdout.readline()
    if not header.endswith(b"\n"):
        raise EOFError
    words = header.decode("utf-8", "replace").rstrip("\n").rsplit(" ", 2)
    if len(words) != 3 or not words[2].isdecimal():
        if words[-1] in ("missing", "ambiguous", "submodule"):
            return None
        raise GitError(f"git cat-file: answered {header[:80]!r}")
    return words[0], words[1], int(words[2])


def _contents(stdout: IO[bytes], cut: int | None) -> Found | None:
    """One answer: the header, the content, a newline."""
    header = _header(stdout)
    if header is None:
        return None
    oid, kind, size = header
    if cut is not None and size > cut:
        raise _CutShort((oid, kind, _exactly(stdout, cut)))
    if size > SIZE_LIMIT:
        raise GitError(f"object {oid} has {size} bytes; {SIZE_LIMIT} can be read")
    return oid, kind, _exactly(stdout, size + 1)[:-1]


def _exactly(stdout: IO[bytes], size: int) -> bytes:
    content = stdout.read(size)
    if len(content) != size:
        raise EOFError
    return content
