"""Which branch plans are read from and start on (CLI 3)."""

from __future__ import annotations

from percyd.core.ids import short_ref
from percyd.errors import UsageError
from percyd.repo import discover
from percyd.repo.values import Clone, Heads

_OWN = ("percy/", "agent/")


def base_branch(heads: Heads, clone: Clone, configured: str | None) -> str:
    """The configured one, else the remote's HEAD, else the current one, else the only.

    Branches of percyd's own are never candidates.

    Raises:
        UsageError: none of these is there.
    """
    if configured is not None:
        return configured
    branches = [
        short_ref(ref) for ref in heads.branches if not short_ref(ref).startswith(_OWN)
    ]
    for candidate in (
        short_ref(heads.head) if heads.head else None,
        discover.current_branch(clone),
    ):
        if candidate in branches:
            return str(candidate)
    if len(branches) == 1:
        return branches[0]
    raise UsageError(
        "which branch plans start from is not clear",
        hint='set base = "..." in .percy/config.toml, or push the branch first',
    )
