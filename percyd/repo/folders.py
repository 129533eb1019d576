"""Removes folders that a task may have tampered with, and never what they point to."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

from percyd.errors import GitError

_DEADLINE_S = 600


def is_real_folder(path: Path) -> bool:
    """Whether ``path`` itself is a folder, not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_real_file(path: Path) -> bool:
    """Whether ``path`` itself is a file, not a link to one, a pipe or a device."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_small(path: Path, limit: int = 4096) -> str | None:
    """The text of a small real file, without its last newline; else None."""
    try:
        # A pipe put in its place must not make us wait, nor a link lead us away.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return file.read(limit).decode("utf-8", "surrogateescape").rstrip("\n")
    except OSError:
        return None


def _holds(path: Path, content: bytes) -> bool:
    """Whether a real file, which has no second name to be written by, holds this."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        with open(os.open(path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
            found = os.fstat(file.fileno())
            return (
                stat.S_ISREG(found.st_mode)
                and found.st_nlink == 1
                and found.st_size == len(content)
                and file.read(len(content) + 1) == content
            )
    except OSError:
        return False


def write(path: Path, content: bytes) -> None:
    """Put a file in the place of whatever is at ``path``, in one step.

    One that is there already, under no other name, stays: a new file costs some file
    systems as much as a process.

    Raises:
        GitError: it cannot be written; what was there is untouched.
    """
    if _holds(path, content):
        return
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    remove(scratch)
    try:
        # A new name, and exclusively: nothing that is there already is written through.
        with scratch.open("xb") as file:
            file.write(content)
    except OSError as error:
        remove(scratch)
        raise GitError(f"{path} cannot be written: {error.strerror}") from error
    if is_real_folder(path):
        remove(path)
    scratch.replace(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; nothing if it is not there.

    Links are removed, never followed. Folders that nobody may write are no obstacle,
    nor are trees that are too deep for Python.
    """
    if not is_real_folder(path):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        return
    with contextlib.suppress(OSError, RecursionError):
        shutil.rmtree(path)
        return
    # Neither of the two follows a link that it meets on its way.
    for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run(
            [*command, "--", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_DEADLINE_S,
        )
    if is_real_folder(path):
        shutil.rmtree(path)
