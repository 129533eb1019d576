"""How large a repository is, and whether all of it hangs together."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.core.refs import Oid
from percyd.repo.runner import Git

#: Objects are counted and followed; their bytes are read where they are used.
_DEADLINE_S = 120


@dataclass(frozen=True, slots=True)
class Size:
    """What the objects of a repository take on the disk."""

    bytes_used: int
    packs: int


def size_of(git: Git) -> Size:
    """The size of a repository's objects."""
    rows = (row.partition(": ") for row in _lines(git, "count-objects", "-v"))
    counts = {key: int(value) for key, _, value in rows if value.isdecimal()}
    kib = counts.get("size", 0) + counts.get("size-pack", 0)
    return Size(kib * 1024, counts.get("packs", 0))


def fsck(git: Git, tip: Oid) -> str | None:
    """What git finds missing or broken in the history of ``tip``; None if nothing."""
    done = git.run(
        *("fsck", "--connectivity-only", "--no-dangling", "--no-progress", tip),
        deadline_s=_DEADLINE_S,
        check=False,
    )
    if done.ok or done.timed_out:
        return None
    return (done.text.splitlines() or [done.problem])[0]


def _lines(git: Git, *args: str) -> list[str]:
    return git.run(*args).text.splitlines()
