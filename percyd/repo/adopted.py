"""Names in the last good state, for whoever needs an answer at once."""

from __future__ import annotations

from pathlib import Path

from percyd.repo.runner import Git

#: Where the hub remembers the last good tip of the state.
ADOPTED_REF = "refs/percyd/adopted"
_DEADLINE_S = 2


def adopted_names(hub: Path, folder: str, *, recursive: bool) -> list[str]:
    """The paths of what lies in a folder of the last good state; none if there is none.

    Args:
        hub: percyd's own repository; it need not be there.
        folder: Its path in the tree, with a slash at the end.
        recursive: Look into the folders in it too.
    """
    options = ["-r"] if recursive else []
    listing = Git(hub).run(
        *("ls-tree", *options, "--name-only", "-z", ADOPTED_REF, "--", folder),
        deadline_s=_DEADLINE_S,
        check=False,
    )
    return listing.text.split("\0") if listing.ok else []
