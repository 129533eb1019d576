"""Holds what a test has left on a remote against the format and the protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from percyd.core.ids import STATE_REF
from percyd.core.refs import Oid
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.state.verify.report import Verified
from percyd.state.verify.walk import verify


class OwnRefs:
    """A repository's refs, as a remote's: its objects are here already."""

    def __init__(self, git: Git) -> None:
        self._git = git

    def ls_remote(self, *patterns: str) -> Mapping[str, Oid]:
        prefixes = [pattern.rstrip("*") for pattern in patterns]
        listing = self._git.run(
            "for-each-ref", "--format=%(refname) %(objectname)", *prefixes
        )
        rows = (line.partition(" ") for line in listing.text.splitlines())
        return {ref: oid for ref, _, oid in rows}

    def fetch_refs(self, refs: Sequence[str]) -> Mapping[str, Oid | None]:
        return {ref: self._git.ref(ref) for ref in refs}


def verified(remote: Path) -> Verified | None:
    """What `verify` says of a repository, bare or not; None without a state branch."""
    git = Git(remote / ".git" if (remote / ".git").is_dir() else remote)
    tip = git.ref(STATE_REF)
    if tip is None:
        return None
    with ObjectReader(git) as reader:
        return verify(git, reader, tip, refs=OwnRefs(git))


def assert_verified(remote: Path) -> None:
    """Fail unless every commit of the remote's state branch is a legal one.

    A remote without a state branch, or that is no longer there, is no failure.
    """
    if not remote.is_dir():
        return
    found = verified(remote)
    if found is not None:
        assert not found.violations, "\n".join(map(str, found.violations))


def assert_verified_below(folder: Path) -> None:
    """`assert_verified` for every repository in a folder that has a state branch."""
    for path, folders, names in os.walk(folder):
        if "HEAD" in names and {"objects", "refs"} <= set(folders):
            folders.clear()
            if _has_state(Path(path)):
                assert_verified(Path(path))


def _has_state(git_dir: Path) -> bool:
    """Without git: most repositories of most tests have none."""
    packed = git_dir / "packed-refs"
    return (git_dir / STATE_REF).is_file() or (
        packed.is_file() and STATE_REF in packed.read_text(errors="replace")
    )
