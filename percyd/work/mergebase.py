"""The work of a task ``land-N``: the base branch merged into the integration branch.

percyd's own doing, with no program but the gate, unless the two conflict: then the plan's
runner merges them. The commit that comes of it lands as any task's result does.
"""

from __future__ import annotations

from percyd.core.reasons import Reason
from percyd.core.refs import MergeConflict, Oid
from percyd.work.collect import refuse_unsupported
from percyd.work.failure import AttemptFailed
from percyd.work.held import HeldClaim
from percyd.work.workshop import Workshop

#: So many files in conflict are named.
_SHOWN = 20


class BaseConflict(AttemptFailed):
    """The base branch does not merge; ``theirs`` is its commit."""

    def __init__(self, message: str, theirs: Oid) -> None:
        super().__init__(Reason.CONFLICT, message)
        self.theirs = theirs


def merge_base(shop: Workshop, held: HeldClaim, tip: Oid, pin: str) -> Oid:
    """Merge the plan's base branch, as the remote has it now, into ``tip``.

    Answers the merge commit, kept in the hub under ``pin`` until it is published.

    Raises:
        BaseConflict: the two do not merge.
        AttemptFailed: the base branch is not there.
    """
    task = held.task
    branch = shop.store.state.snapshot.plans[task.plan].record.base_branch
    ref = f"refs/heads/{branch}"
    # Not a tip that is remembered: the base branch moves without the state.
    base = held.patiently(lambda: shop.hub.fetch_refs([ref])[ref])
    if base is None:
        raise AttemptFailed(
            Reason.WORKSPACE_FAILED, f"base branch {branch} is not on the remote"
        )
    message = (
        f"Merge {branch} into percy/plan/{task.plan}\n\n"
        f"Percy-Task: {task.id}\nPercy-Attempt: {task.attempt}\n"
    )
    merged = shop.hub.merge(tip, base, message, shop.clock.now())
    if isinstance(merged, MergeConflict):
        paths = ", ".join(merged.paths[:_SHOWN])
        more = f" and {len(merged.paths) - _SHOWN} more" * (len(merged.paths) > _SHOWN)
        raise BaseConflict(f"{branch} conflicts with the plan in {paths}{more}", base)
    refuse_unsupported(shop.hub, merged.commit)
    shop.hub.pin(pin, merged.commit)
    return merged.commit
