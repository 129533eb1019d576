"""The commits of the state branch with what each changes, oldest first.

Read in windows by one ``git diff-tree --stdin`` each. A commit whose tree cannot be
read ends that process; it is answered as unreadable, and the next ones are compared
with the last tree that could be read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import objects
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import PERCYD

T = TypeVar("T")

#: Author and committer of every commit that percyd makes for itself.
WHO = f"{PERCYD.name} <{PERCYD.email}>"

_WINDOW = 2000
_DEADLINE_S = 600
_HEADERS = 4
_FORMAT = "--format=tformat:%H%x00%an <%ae>%x00%cn <%ce>%x00%B"
_DIFF = (
    *("diff-tree", "--stdin", "-z", "-r", "--root", "--raw", "--always"),
    *("--no-renames", "--no-abbrev", "--no-ext-diff", "--ignore-submodules=none"),
    *("--encoding=UTF-8", _FORMAT),
)
_PARENT = re.compile(rb"^parent ([0-9a-f]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Link:
    """One commit of the first-parent history, with all its parents."""

    oid: Oid
    parents: tuple[Oid, ...]


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that a commit changes; ``oid`` None means that it is gone."""

    path: str
    mode: str
    oid: Oid | None


@dataclass(frozen=True, slots=True)
class StateCommit:
    """One commit and what it changes.

    ``whole`` means that ``files`` is the whole tree, because there is no earlier one to
    compare it with; ``files`` None, that the tree cannot be read.
    """

    link: Link
    author: str
    committer: str
    message: str
    files: tuple[FileChange, ...] | None
    whole: bool = False


def chain(git: Git, reader: ObjectReader, tip: Oid) -> tuple[list[Link], Oid | None]:
    """The first-parent history up to ``tip``, oldest first.

    Returns:
        The links, and the commit at which the history breaks off because it cannot be
        read, if there is one.
    """
    listing = git.run(
        *("rev-list", "--first-parent", "--parents", "--reverse"),
        *("--end-of-options", tip),
        deadline_s=_DEADLINE_S,
        check=False,
    )
    if listing.ok:
        rows = (line.split() for line in listing.text.splitlines())
        return [Link(row[0], tuple(row[1:])) for row in rows], None
    return _step_back(reader, tip)


def _step_back(reader: ObjectReader, tip: Oid) -> tuple[list[Link], Oid | None]:
    links: list[Link] = []
    oid: Oid | None = tip
    while oid is not None:
        found = reader.read(oid)
        if found is None or found[1] != "commit":
            return links[::-1], oid
        head = found[2].partition(b"\n\n")[0]
        parents = tuple(parent.decode() for parent in _PARENT.findall(head))
        links.append(Link(oid, parents))
        oid = parents[0] if parents else None
    return links[::-1], None


def messages(git: Git, links: Sequence[Link]) -> Iterator[tuple[Oid, str]]:
    """The messages of commits, without looking at their trees."""
    for start in range(0, len(links), _WINDOW):
        window = links[start : start + _WINDOW]
        for commit in _parse(_log(git, window), window):
            yield commit.link.oid, commit.message


def windows(
    git: Git, links: Sequence[Link], base: Oid | None
) -> Iterator[list[StateCommit]]:
    """The commits of a chain, some at a time; git is one window ahead of the caller.

    Args:
        git: The repository.
        links: The chain.
        base: The commit that the first one is compared with.
    """
    return one_ahead(_windows(git, links, base))


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; while the caller looks at one, a thread gets the next."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _windows(
    git: Git, links: Sequence[Link], base: Oid | None
) -> Iterator[list[StateCommit]]:
    at = 0
    while at < len(links):
        window = links[at : at + _WINDOW]
        if base is None and window[0].parents:
            read = [_whole(git, window[0])]
            window = window[:1]
        else:
            read = _compared(git, window, base)
        if len(read) < len(window):
            read.append(
                _parse(_log(git, window[len(read) :][:1]), window[len(read) :])[0]
            )
        at += len(read)
        good = [commit.link.oid for commit in read if commit.files is not None]
        base = good[-1] if good else base
        yield read


def _compared(git: Git, window: Sequence[Link], base: Oid | None) -> list[StateCommit]:
    """The commits of a window up to the first whose tree cannot be read."""
    bases = [base, *(link.oid for link in window[:-1])]
    orders = [
        f"{link.oid} {before}\n" if before else f"{link.oid}\n"
        for link, before in zip(window, bases, strict=True)
    ]
    diffs = git.run(
        *_DIFF, stdin="".join(orders).encode(), deadline_s=_DEADLINE_S, check=False
    )
    return _parse(diffs.stdout, window, with_files=True)


def _whole(git: Git, link: Link) -> StateCommit:
    (commit,) = _parse(_log(git, [link]), [link])
    files = tree(git, link.oid)
    return StateCommit(
        link, commit.author, commit.committer, commit.message, files, whole=True
    )


def tree(git: Git, oid: Oid) -> tuple[FileChange, ...] | None:
    """Every file of a commit's tree; None if it cannot be read."""
    try:
        entries = objects.tree_entries(git, oid, recursive=True)
    except GitError:
        return None
    return tuple(FileChange(_name(e.path), e.mode, e.oid) for e in entries)


def _name(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _log(git: Git, links: Sequence[Link]) -> bytes:
    return git.run(
        *("log", "--no-walk=unsorted", "--stdin", "-z", "--encoding=UTF-8", _FORMAT),
        stdin="".join(f"{link.oid}\n" for link in links).encode(),
        deadline_s=_DEADLINE_S,
    ).stdout


def _parse(
    output: bytes, links: Sequence[Link], *, with_files: bool = False
) -> list[StateCommit]:
    """What git printed for ``links``, as far as it came.

    Neither a message nor a path can contain the NUL that stands between the fields, and
    no commit id starts with the colon of a raw difference.
    """
    words = output.decode("utf-8", "backslashreplace").split("\0")
    read: list[StateCommit] = []
    at = 0
    for link in links:
        if words[at] != link.oid or at + _HEADERS > len(words):
            break
        _, author, committer, message = words[at : at + _HEADERS]
        at += _HEADERS
        files: list[FileChange] = []
        while at + 1 < len(words) and words[at].lstrip("\n").startswith(":"):
            files.append(_change(words[at], words[at + 1]))
            at += 2
        changed = tuple(files) if with_files else None
        read.append(StateCommit(link, author, committer, message, changed))
        if at >= len(words):
            break
    return read


def _change(head: str, path: str) -> FileChange:
    _, mode, _, oid, _ = head.lstrip("\n").split(" ")
    return FileChange(path, mode, oid if oid.strip("0") else None)
