"""What has become of one commit in another, asked of the process that stays up.

Following the state branch is part of every lost race: with commands of git's own each
look cost four processes, about 20 ms (measured); this is one question a commit, and one
a level of changed folders. What is not one short line is left to git.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo.objects import ABSENT_MODE, Change
from percyd.repo.reader import ObjectReader

#: The longest line that is read commit by commit; git is quicker beyond.
LONGEST = 200
_FOLDER = "40000"
REGULAR = ("100644", "100755")

#: One folder's entries: name to mode and id.
Entries = Mapping[bytes, tuple[str, Oid]]


def line_between(reader: ObjectReader, old: Oid, new: Oid) -> list[Oid] | None:
    """The commits after ``old`` up to ``new``, oldest first, where each has one parent.

    None if that is not so, or not within `LONGEST` commits: then it proves nothing.
    """
    line: list[Oid] = []
    oid = new
    while oid != old:
        parents = _parents(reader, oid)
        if len(parents) != 1 or len(line) == LONGEST:
            return None
        line.append(oid)
        oid = parents[0]
    return line[::-1]


def _parents(reader: ObjectReader, oid: Oid) -> list[Oid]:
    found = reader.read(oid)
    if found is None or found[1] != "commit":
        raise GitError(f"commit {oid} is missing")
    head = found[2].partition(b"\n\n")[0]
    return [
        line[len(b"parent ") :].decode()
        for line in head.split(b"\n")
        if line.startswith(b"parent ")
    ]


def changed_files(reader: ObjectReader, old: Oid, new: Oid) -> Iterator[Change]:
    """The files that differ between the trees of two commits, in no certain order."""
    pairs: list[tuple[str, Oid | None, Oid | None]] = [
        ("", tree_of(reader, old), tree_of(reader, new))
    ]
    while pairs:
        wanted = [oid for _, *sides in pairs for oid in sides if oid]
        trees = dict(zip(wanted, _folders(reader, wanted), strict=True))
        deeper: list[tuple[str, Oid | None, Oid | None]] = []
        for prefix, before, after in pairs:
            ours, theirs = trees.get(before or "", {}), trees.get(after or "", {})
            for name in ours.keys() | theirs.keys():
                pair = ours.get(name), theirs.get(name)
                if pair[0] == pair[1]:
                    continue
                path = prefix + name.decode("utf-8", "surrogateescape")
                folders = [e[1] if e and e[0] == _FOLDER else None for e in pair]
                if any(folders):
                    deeper.append((f"{path}/", folders[0], folders[1]))
                files = [e if e and e[0] != _FOLDER else None for e in pair]
                if any(files):
                    yield _change(path, *files)
        pairs = deeper


def _change(
    path: str, before: tuple[str, Oid] | None, after: tuple[str, Oid] | None
) -> Change:
    return Change(
        path,
        old=before[1] if before else None,
        new=after[1] if after else None,
        mode=after[0] if after else ABSENT_MODE,
    )


def tree_of(reader: ObjectReader, commit: Oid) -> Oid:
    """The tree of a commit, or of a tree.

    Raises:
        GitError: it is not here.
    """
    tree = reader.resolve(f"{commit}^{{tree}}")
    if tree is None:
        raise GitError(f"{commit} is missing or has no tree")
    return tree


def files_in(reader: ObjectReader, commit: Oid, folder: str) -> list[tuple[str, Oid]]:
    """Name and id of the regular files directly in ``folder`` of a commit's tree.

    A name that is no UTF-8 is escaped as Python does it.

    Raises:
        GitError: the commit is not here.
    """
    tree_of(reader, commit)
    found = reader.read(f"{commit}:{folder}")
    if found is None or found[1] != "tree":
        return []
    return [
        (name.decode("utf-8", "surrogateescape"), oid)
        for name, (mode, oid) in entries_of(found[2], len(found[0]) // 2)
        if mode in REGULAR
    ]


def _folders(reader: ObjectReader, oids: list[Oid]) -> Iterator[Entries]:
    for oid, content in zip(oids, reader.read_many(oids), strict=True):
        if content is None:
            raise GitError(f"tree {oid} is missing")
        yield dict(entries_of(content, len(oid) // 2))


def entries_of(content: bytes, size: int) -> Iterator[tuple[bytes, tuple[str, Oid]]]:
    """The entries of one tree: mode, space, name, NUL, the id's bytes."""
    at = 0
    while at < len(content):
        nul = content.index(0, at)
        mode, _, name = content[at:nul].partition(b" ")
        end = nul + 1 + size
        yield name, (mode.decode(), content[nul + 1 : end].hex())
        at = end
