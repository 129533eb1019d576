"""What a remote would take, found out without leaving anything there."""

from __future__ import annotations

from percyd.core.refs import Oid
from percyd.repo.wire import Wire


def try_push(wire: Wire, oid: Oid, ref: str, *, atomic: bool = True) -> str | None:
    """What git says against a push of a new ref; None if nothing.

    It asks for the right to push, and sends nothing: what the remote's hooks and
    protections think of the ref is only known when it is pushed.
    """
    how = ("--atomic",) if atomic else ()
    result = wire.git.run(
        *("push", "--dry-run", "--porcelain", *how, "--no-verify"),
        *(f"--force-with-lease={ref}:", "--", wire.remote.url, f"{oid}:{ref}"),
        check=False,
        network=True,
    )
    return None if result.ok else result.problem
