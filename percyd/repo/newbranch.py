"""A new branch in the user's repository, and nothing else there."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from percyd.core.ids import short_ref
from percyd.core.refs import Oid
from percyd.errors import RefusedError, UsageError
from percyd.repo.runner import Git
from percyd.repo.values import Clone
from percyd.repo.wire import FETCH

_FETCH_S = 600


def make_branch(
    clone: Clone, source: Path, commit: Oid, name: str, reserved: Collection[str]
) -> None:
    """Make the branch ``name`` at a commit that the repository ``source`` has.

    Checkout, index and whatever branches there are stay as they are.

    Args:
        clone: The user's repository.
        source: The folder of a repository that has the commit.
        commit: Where the branch shall be.
        name: Its short name.
        reserved: Full refs below which no branch is made.

    Raises:
        UsageError: it is no name for a branch, or one of percyd's own.
        RefusedError: there is such a branch, or one in its way.
    """
    git = Git(clone.common_dir)
    ref = f"refs/heads/{name}"
    if name.startswith("-") or not git.run("check-ref-format", ref, check=False).ok:
        raise UsageError(f"{name!r:.80} is no name for a branch")
    if any(ref == own or ref.startswith(f"{own}/") for own in reserved):
        raise UsageError(
            f"branches such as {name:.80} are percyd's own", hint="choose another name"
        )
    if git.ref(ref) is not None:
        raise RefusedError(
            f"there is a branch {name:.80} already", hint="choose another name"
        )
    git.run(
        *("-c", "protocol.version=2", *FETCH, "--", str(source.absolute()), commit),
        deadline_s=_FETCH_S,
    )
    made = git.run(
        "update-ref", "-m", "percyd", ref, commit, "0" * len(commit), check=False
    )
    if not made.ok:
        raise RefusedError(
            f"the branch {short_ref(ref):.80} cannot be made: {made.problem}",
            hint="choose another name",
        )
