"""What a repository remembers: where a branch has been, what a file has held."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from percyd.core.refs import Oid
from percyd.repo.runner import Git
from percyd.repo.values import Clone

#: A file's whole history is walked; that of a large repository takes seconds.
_DEADLINE_S = 300


def was_here(clone: Clone, branch: str, commit: Oid) -> bool:
    """Whether a clone's own branch has contained a commit, or the commit is its own.

    That is what an amended or rebased commit leaves: the branch's reflog knows it, or
    it was made here and published nowhere. What was only fetched does not count.
    """
    git = Git(clone.common_dir)
    if git.ref(f"{commit}^{{commit}}") is None:
        return False
    if _is_within(git, commit, _reflog(git, f"refs/heads/{branch}")):
        return True
    own = [*_reflog(git, "HEAD"), *_tips(git, "refs/heads/")]
    published = _tips(git, "refs/remotes/")
    return _is_within(git, commit, own) and not _is_within(git, commit, published)


def has_held(git_dir: Path, commit: Oid, path: str, blob: Oid) -> bool:
    """Whether a file had this content in a commit, or in one before it."""
    found = Git(git_dir).run(
        *("log", "--max-count=1", "--format=%H", "--full-history", "--no-renames"),
        *(f"--find-object={blob}", commit, "--", path),
        extra_env={"GIT_LITERAL_PATHSPECS": "1"},
        deadline_s=_DEADLINE_S,
        check=False,  # a blob that is not here at all
    )
    return found.ok and bool(found.text)


def _reflog(git: Git, ref: str) -> list[Oid]:
    listing = git.run("log", "--walk-reflogs", "--format=%H", ref, "--", check=False)
    return listing.text.split() if listing.ok else []


def _tips(git: Git, prefix: str) -> list[Oid]:
    listing = git.run("for-each-ref", "--format=%(objectname)", prefix)
    return listing.text.split()


def _is_within(git: Git, commit: Oid, tips: Sequence[Oid]) -> bool:
    """Whether a commit is one of these, or comes before one."""
    if commit in tips:
        return True
    if not tips:
        return False
    wanted = "".join(f"{line}\n" for line in (commit, *(f"^{tip}" for tip in tips)))
    left = git.run(
        *("rev-list", "--max-count=1", "--ignore-missing", "--stdin"),
        stdin=wanted.encode(),
        deadline_s=_DEADLINE_S,
    )
    return not left.text
