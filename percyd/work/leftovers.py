"""Worktrees that a dead process left: their work is kept, then they are removed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from percyd.clock import Clock
from percyd.core.ids import plan_branch, plan_of, rescue_ref
from percyd.core.refs import Oid
from percyd.errors import GitError, PercydError
from percyd.repo.hub import Hub
from percyd.repo.objects import is_ancestor
from percyd.repo.values import PERCYD
from percyd.repo.worktrees import SlotClone
from percyd.work.collect import push_rescue, with_side_tips

log = logging.getLogger(__name__)

#: A task and the number of its attempt.
Key = tuple[str, int]

#: How an attempt names its worktree: task and attempt.
_NAME = re.compile(r"(?P<task>[a-z0-9_-]+\.[a-z0-9_-]+)\.(?P<attempt>[0-9]+)")


def worktree_name(task: str, attempt: int) -> str:
    """The name of an attempt's worktree, from which it is known again."""
    return f"{task}.{attempt}"


def rescue_leftovers(hub: Hub, clone: SlotClone, clock: Clock) -> dict[Key, Oid]:
    """Push what a slot's leftover worktrees hold to rescue refs, then sweep them.

    Returns the rescued commits by task and attempt. A worktree whose work could not be pushed
    stays where it is.
    """
    keep: set[str] = set()
    rescued: dict[Key, Oid] = {}
    for path in clone.worktrees():
        try:
            rescued |= _rescue(hub, clone, path, clock)
        except (PercydError, OSError) as error:
            log.error("not rescued", extra={"path": str(path), "why": str(error)})
            keep.add(path.name)
    clone.sweep(keep)
    return rescued


def _rescue(hub: Hub, clone: SlotClone, path: Path, clock: Clock) -> dict[Key, Oid]:
    match = _NAME.fullmatch(path.name)
    _, head = clone.head(path)
    if match is None or head is None:
        # Half of a `worktree add` that was killed is not worth a word.
        if path.exists() and any(p.name != ".git" for p in path.iterdir()):
            raise GitError("it is no worktree of percyd's; look at it and remove it")
        return {}
    task, attempt = match["task"], int(match["attempt"])
    commit: Oid = hub.ingest(clone.git_dir, head)
    message = f"Unfinished work of {task}, attempt {attempt}\n"
    leftover = None
    if path.exists():
        leftover = hub.snapshot_work_tree(path, commit, message, PERCYD, clock.now())
    work = with_side_tips(hub, clone, path, leftover or commit, None, clock.now())
    if work == commit and _is_merged(hub, commit, plan_of(task)):
        return {}
    if not push_rescue(hub, rescue_ref(task, attempt), work):
        raise GitError("the remote did not take its rescue ref")
    return {(task, attempt): work}


def _is_merged(hub: Hub, commit: Oid, plan: str) -> bool:
    """Whether the integration branch has it: nothing was made, or it was published."""
    branch = plan_branch(plan)
    tip = hub.fetch_refs([branch])[branch]
    return tip is not None and is_ancestor(hub.git, commit, tip)
