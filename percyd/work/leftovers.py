"""Worktrees that a dead process left: their work is kept, then they are removed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from percyd.clock import Clock
from percyd.core.ids import plan_branch, plan_of, rescue_ref
from percyd.core.refs import Oid
from percyd.errors import GitError, PercydError
from percyd.repo.hub import PINS, Hub
from percyd.repo.objects import refs_below
from percyd.repo.values import PERCYD
from percyd.repo.worktrees import SlotClone
from percyd.work.collect import pin_name, pins_of, push_rescue, with_side_tips
from percyd.work.upload import Pace

log = logging.getLogger(__name__)

#: A task and the number of its attempt.
Key = tuple[str, int]

#: How an attempt names its worktree: task and attempt.
_NAME = re.compile(r"(?P<task>[a-z0-9_-]+\.[a-z0-9_-]+)\.(?P<attempt>[0-9]+)")


def worktree_name(task: str, attempt: int) -> str:
    """The name of an attempt's worktree, from which it is known again."""
    return f"{task}.{attempt}"


def rescue_leftovers(hub: Hub, clone: SlotClone, clock: Clock) -> dict[Key, Oid]:
    """Push what a slot's attempts have left to rescue refs, then sweep its worktrees.

    What an attempt had collected is pinned in the hub, and its worktree is the gate's; of
    any other attempt it is the worktree that counts.

    Returns the rescued commits by task and attempt. What could not be pushed stays where
    it is.
    """
    pins = refs_below(hub.git, PINS + pins_of(clone.root))
    keep: set[str] = set()
    rescued: dict[Key, Oid] = {}
    for name in sorted({path.name for path in clone.worktrees()} | pins.keys()):
        path = clone.root / name
        try:
            if name in pins:
                rescued |= _push(hub, *_key(name), pins[name])
            else:
                rescued |= _rescue(hub, clone, path, clock)
        except (PercydError, OSError) as error:
            log.error("not rescued", extra={"path": str(path), "why": str(error)})
            keep.add(name)
    clone.sweep(keep)
    for name in pins.keys() - keep:
        hub.unpin(pin_name(clone.root / name))
    return rescued


def _key(name: str) -> Key:
    match = _NAME.fullmatch(name)
    if match is None:
        raise GitError("it is no worktree of percyd's; look at it and remove it")
    return match["task"], int(match["attempt"])


def _rescue(hub: Hub, clone: SlotClone, path: Path, clock: Clock) -> dict[Key, Oid]:
    _, head = clone.head(path)
    if head is None or _NAME.fullmatch(path.name) is None:
        # Half of a `worktree add` that was killed is not worth a word.
        if path.exists() and any(p.name != ".git" for p in path.iterdir()):
            raise GitError("it is no worktree of percyd's; look at it and remove it")
        return {}
    task, attempt = _key(path.name)
    commit: Oid = hub.ingest(clone.git_dir, head)
    message = f"Unfinished work of {task}, attempt {attempt}\n"
    leftover = None
    if path.exists():
        leftover = hub.snapshot_work_tree(path, commit, message, PERCYD, clock.now())
    work = with_side_tips(hub, clone, path, leftover or commit, None, clock.now())
    return _push(hub, task, attempt, work)


def _push(hub: Hub, task: str, attempt: int, work: Oid) -> dict[Key, Oid]:
    """Put it on its rescue ref, unless nothing was made, or it was published."""
    branch = plan_branch(plan_of(task))
    tip = hub.fetch_refs([branch])[branch]
    if tip is not None and hub.is_ancestor(work, tip):
        return {}
    pace = Pace()
    deadline_s = pace.deadline_s(hub.new_bytes(work, tip, pace.big_bytes))
    if not push_rescue(hub, rescue_ref(task, attempt), work, deadline_s):
        raise GitError("the remote did not take its rescue ref")
    return {(task, attempt): work}
