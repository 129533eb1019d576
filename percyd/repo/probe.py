"""What a remote would take, found out without leaving anything there."""

from __future__ import annotations

from percyd.core.refs import Oid
from percyd.repo.wire import Wire


def try_push(wire: Wire, oid: Oid, ref: str) -> str | None:
    """What git says against an atomic push of a new ref; None if nothing.

    It asks for the right to push, and sends nothing: what the remote's hooks and
    protections think of the ref is only known when it is pushed.
    """
    result = wire.git.run(
        *("push", "--dry-run", "--porcelain", "--atomic", "--no-verify"),
        *(f"--force-with-lease={ref}:", "--", wire.remote.url, f"{oid}:{ref}"),
        check=False,
        network=True,
    )
    return None if result.ok else result.problem
