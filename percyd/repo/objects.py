"""Commits built without an index, and trees and histories read by plumbing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import filelock
from percyd.repo.reader import ObjectReader as ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import PERCYD, Identity, NewCommit

#: Holds the newest chain that was built here, so that no clean-up can take it.
PENDING_REF = "refs/percyd/pending"
#: File in the repository whose lock lets one writer at a time move `PENDING_REF`.
_LOCK_FILE = "percyd-pending"

#: A push carries packed objects as they are, and before it moves a ref the remote reads
#: every tree of the parent commit: with 50,000 tasks, inflating them was a third of a
#: push, and behind delta chains of git's 50 each of 10,000 changes made it slower.
_FAST_TO_READ = ("-c", "pack.compression=0", "fast-import", "--depth=10")

_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9._/-]+\Z")

GITLINK = "160000"
ABSENT_MODE = "000000"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree."""

    mode: str
    type: str
    oid: Oid
    path: str


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees; ``new`` None means that it is gone."""

    path: str
    old: Oid | None
    new: Oid | None
    #: The mode in the new tree; "000000" if the path is gone.
    mode: str


def write_commits(
    git: Git, parent: Oid | None, commits: Sequence[NewCommit]
) -> list[Oid]:
    """Build a chain of commits on ``parent`` in one ``git fast-import``.

    Returns:
        The commits' ids in order. `PENDING_REF` holds the last one.
    """
    if not commits:
        return []
    stream = _stream(parent, commits)
    # Two writers of one repository would race for `PENDING_REF`, threads included.
    with filelock.held(git.git_dir / _LOCK_FILE):
        try:
            result = git.run(
                *_FAST_TO_READ,
                *("--quiet", "--force", "--done", "--date-format=raw"),
                stdin=stream,
            )
        except GitError:
            # It leaves a report each time, on a full disk above all.
            for report in git.git_dir.glob("fast_import_crash_*"):
                report.unlink(missing_ok=True)
            raise
    oids = result.text.split()
    if len(oids) != len(commits) or not all(_OID.match(oid) for oid in oids):
        raise GitError("git fast-import: did not name the commits that it made")
    return oids


def tree_entries(
    git: Git, commit: Oid, *paths: str, recursive: bool = False
) -> list[TreeEntry]:
    """The entries of a commit's tree, or of the ``paths`` in it."""
    options = ["-r"] if recursive else []
    literal = {"GIT_LITERAL_PATHSPECS": "1"}
    listing = git.run(
        *("ls-tree", *options, "-z", "--full-tree", commit, "--", *paths),
        extra_env=literal,
    )
    return [_entry(row) for row in _rows(listing.stdout)]


def history(git: Git, old: Oid | None, new: Oid) -> list[tuple[Oid, tuple[Oid, ...]]]:
    """Every commit that ``new`` has and ``old`` has not, oldest first, with parents.

    Not only the first parents: a merge must be seen with all that it brings.
    """
    wanted = [new] if old is None else [new, f"^{old}"]
    listing = git.run(
        *("rev-list", "--parents", "--topo-order", "--reverse", "--end-of-options"),
        *wanted,
        deadline_s=300,
    )
    rows = [line.split() for line in listing.text.splitlines()]
    return [(row[0], tuple(row[1:])) for row in rows]


def is_ancestor(git: Git, old: Oid, new: Oid) -> bool:
    """Whether ``old`` is ``new`` or an ancestor of it."""
    result = git.run("merge-base", "--is-ancestor", old, new, check=False)
    if result.code not in (0, 1):
        raise GitError(f"git merge-base: {result.problem}")
    return result.ok


def new_bytes(git: Git, commit: Oid, base: Oid | None) -> int:
    """How many bytes on disk are the objects of ``commit`` that ``base`` has not."""
    known = [f"^{base}"] if base else []
    found = git.run("rev-list", "--objects", "--disk-usage", commit, *known)
    return int(found.text)


def refs_below(git: Git, prefix: str) -> dict[str, Oid]:
    """The refs of a repository below ``prefix``, by what follows it."""
    listing = git.run("for-each-ref", "--format=%(refname) %(objectname)", prefix)
    rows = (line.split(" ") for line in listing.text.splitlines())
    return {name.removeprefix(prefix): oid for name, oid in rows}


def commit_tree(
    git: Git,
    tree: Oid,
    parents: Sequence[Oid],
    message: str,
    when: datetime,
    author: Identity = PERCYD,
) -> Oid:
    """Make a commit of a tree that exists; percyd is its committer."""
    date = f"@{int(when.timestamp())} +0000"
    who = {
        "GIT_AUTHOR_NAME": author.name,
        "GIT_AUTHOR_EMAIL": author.email,
        "GIT_AUTHOR_DATE": date,
        "GIT_COMMITTER_NAME": PERCYD.name,
        "GIT_COMMITTER_EMAIL": PERCYD.email,
        "GIT_COMMITTER_DATE": date,
    }
    links = [part for parent in parents for part in ("-p", parent)]
    text = message if message.endswith("\n") else message + "\n"
    made = git.run("commit-tree", *links, tree, stdin=text.encode(), extra_env=who)
    return made.text


def _stream(parent: Oid | None, commits: Sequence[NewCommit]) -> bytes:
    """The fast-import commands that build the chain and print its ids."""
    parts: list[bytes] = []
    for number, commit in enumerate(commits, start=1):
        who = f"{PERCYD.name} <{PERCYD.email}> {int(commit.when.timestamp())} +0000"
        parts.append(f"commit {PENDING_REF}\nmark :{number}\n".encode())
        parts.append(f"author {who}\ncommitter {who}\n".encode())
        parts.append(_data(commit.message.encode()))
        if number == 1 and parent is not None:
            parts.append(f"from {parent}\n".encode())
        for path, content in commit.changes.items():
            name = _quoted(path)
            if content is None:
                parts.append(b"D %s\n" % name)
            else:
                parts.append(b"M 100644 inline %s\n" % name + _data(content))
        parts.append(f"\nget-mark :{number}\n".encode())
    parts.append(b"done\n")
    return b"".join(parts)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _quoted(path: str) -> bytes:
    """``path`` as fast-import reads it: C-style quotes where they are needed."""
    raw = path.encode()
    if _PLAIN_PATH.match(raw):
        return raw
    escaped = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return b'"%s"' % escaped


def _rows(output: bytes) -> list[str]:
    rows = output.decode("utf-8", "surrogateescape").split("\0")
    return rows[:-1]


def _entry(row: str) -> TreeEntry:
    head, _, path = row.partition("\t")
    mode, kind, oid = head.split(" ")
    return TreeEntry(mode, kind, oid, path)
