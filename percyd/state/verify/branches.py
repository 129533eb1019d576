"""The integration branches of plans, read back to where they began."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo.reader import ObjectReader
from percyd.state import codec

#: So many more commits than merges are looked at for the base of a plan.
_FOREIGN_LIMIT = 1000
_HEADER = re.compile(rb"^(tree|parent|author|committer) (.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Commit:
    """What is looked at in a commit of an integration branch."""

    tree: Oid
    parents: tuple[Oid, ...]
    people: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(slots=True)
class Line:
    """The first parents of one tip, newest first, down to a base.

    ``problem`` says why they do not get there.
    """

    tip: Oid
    base: Oid
    merges: int
    commits: dict[Oid, Commit] = field(default_factory=dict)
    problem: str | None = None

    @property
    def places(self) -> Mapping[Oid, int]:
        """Each commit's distance from the base, which is at 0."""
        above = reversed(self.commits)
        return {self.base: 0, **{oid: at for at, oid in enumerate(above, start=1)}}


def follow(reader: ObjectReader, lines: list[Line]) -> None:
    """Read all lines at once, one commit of each at a time, through one process."""
    wanted = {number: line.tip for number, line in enumerate(lines)}
    while wanted:
        going = [n for n, oid in wanted.items() if _goes_on(lines[n], oid)]
        contents = _read(reader, [wanted[number] for number in going])
        following: dict[int, Oid] = {}
        for number, content in zip(going, contents, strict=True):
            line, oid = lines[number], wanted[number]
            if content is None:
                line.problem = f"{oid}, which is part of it, cannot be read"
                continue
            line.commits[oid] = commit = _parse(content)
            if commit.parents:
                following[number] = commit.parents[0]
            else:
                line.problem = f"does not start at base_commit {line.base}"
        wanted = following


def _goes_on(line: Line, oid: Oid) -> bool:
    if oid == line.base:
        return False
    if len(line.commits) >= line.merges + _FOREIGN_LIMIT:
        line.problem = f"does not start at base_commit {line.base}"
        return False
    return True


def _read(reader: ObjectReader, oids: list[Oid]) -> list[bytes | None]:
    try:
        return list(reader.read_many(oids))
    except GitError:
        return [None] * len(oids)


def _parse(content: bytes) -> Commit:
    head, _, message = content.partition(b"\n\n")
    found: dict[bytes, list[str]] = {}
    for key, value in _HEADER.findall(head):
        found.setdefault(key, []).append(value.decode("utf-8", "backslashreplace"))
    people = (*found.get(b"author", ()), *found.get(b"committer", ()))
    trailers = codec.parse_trailers(message.decode("utf-8", "backslashreplace"))
    return Commit(
        tree=(*found.get(b"tree", ()), "")[0],
        parents=tuple(found.get(b"parent", ())),
        people=tuple(who.rsplit(" ", 2)[0] for who in people),
        tasks=trailers.get("Percy-Task", ()),
    )
