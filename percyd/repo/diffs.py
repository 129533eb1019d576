"""What differs between two commits, for people and for programs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo.runner import Git

_PIECE_BYTES = 64 * 1024
_DEADLINE_S = 300
#: Programs of the user's own must not turn a diff into something else.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-color", "--find-renames", "-r")


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file: lines added and removed, None for a binary file."""

    path: str
    old_path: str | None
    added: int | None
    removed: int | None


def file_changes(git: Git, old: Oid, new: Oid) -> list[FileChange]:
    """The files that differ between two commits, by their paths."""
    listing = git.run(
        *("diff-tree", *_PLAIN, "--numstat", "-z", "--end-of-options", old, new),
        deadline_s=_DEADLINE_S,
    )
    fields = iter(listing.stdout.decode("utf-8", "backslashreplace").split("\0"))
    found = []
    for field in fields:
        if not field:
            continue
        added, removed, path = field.split("\t", 2)
        # Of a renamed file, both paths follow.
        old_path = next(fields) if not path else None
        path = path or next(fields)
        found.append(FileChange(path, old_path, _count(added), _count(removed)))
    return found


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def stat(git: Git, old: Oid, new: Oid, width: int) -> str:
    """Git's own summary of a diff, a line for each file; odd paths are quoted by git."""
    return git.run(
        *("diff-tree", *_PLAIN, f"--stat={width}", "--summary"),
        *("--end-of-options", old, new),
        deadline_s=_DEADLINE_S,
    ).stdout.decode("utf-8", "replace")


def patch(git: Git, old: Oid, new: Oid) -> Iterator[bytes]:
    """The diff as a patch, piece by piece: however long it is, little is in memory.

    Raises:
        GitError: git could not make it to its end.
    """
    process = git.start("diff-tree", *_PLAIN, "--patch", "--end-of-options", old, new)
    with contextlib.ExitStack() as held:
        held.callback(process.wait)
        held.callback(process.kill)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                held.callback(pipe.close)
        while process.stdout and (piece := process.stdout.read(_PIECE_BYTES)):
            yield piece
        if process.wait():
            raise GitError(f"git diff-tree: exit code {process.returncode}")


def merge_base(git: Git, one: Oid, other: Oid) -> Oid | None:
    """The commit that two histories have gone on from; None if there is none."""
    found = git.run("merge-base", "--end-of-options", one, other, check=False)
    if found.code not in (0, 1):
        raise GitError(f"git merge-base: {found.problem}")
    return found.text.splitlines()[0] if found.text else None


@dataclass(frozen=True, slots=True)
class CommitLine:
    """One commit for a listing."""

    commit: Oid
    subject: str
    author: str
    #: Seconds since 1970, by the clock of whoever made it.
    when_s: int


def commits_between(git: Git, old: Oid | None, new: Oid) -> list[CommitLine]:
    """The commits that ``new`` has and ``old`` has not, newest first."""
    wanted = [new] if old is None else [new, f"^{old}"]
    listing = git.run(
        *("log", "-z", "--format=tformat:%H%x00%ct%x00%an%x00%s", "--encoding=UTF-8"),
        *("--end-of-options", *wanted, "--"),
        deadline_s=_DEADLINE_S,
    )
    fields = listing.stdout.decode("utf-8", "replace").split("\0")
    return [
        CommitLine(oid, subject, author, int(when) if when.isdecimal() else 0)
        for oid, when, author, subject in zip(*(iter(fields[:-1]),) * 4, strict=True)
    ]
