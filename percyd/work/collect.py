"""What an attempt made, brought from its workspace into the hub; rescue of the rest.

Never through the workspace's own configuration, which the task may have changed:
committed work is fetched, leftover files are committed with the hub's git directory
and a scratch index (DESIGN 6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from percyd.core.ids import agent_branch, short_ref
from percyd.core.reasons import Reason
from percyd.core.records import Task
from percyd.core.refs import Oid, RefMove
from percyd.repo.hub import WORK_PINS, Hub
from percyd.repo.objects import commit_tree
from percyd.repo.values import PERCYD, Identity, PushOutcome
from percyd.repo.worktrees import SlotClone
from percyd.work.failure import AttemptFailed

#: How long a push of work outside a claim may take.
_PUSH_S = 60.0
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Collector:
    """Brings one attempt's work into the hub."""

    hub: Hub
    clone: SlotClone
    path: Path
    task: Task
    base: Oid
    author: Identity | None

    def result(self, now: datetime) -> Oid:
        """The commit that the attempt comes to, pinned until it is published.

        The gate resets the worktree: from here on the pin holds the work (`leftovers`).

        Raises:
            AttemptFailed: it left its branch, or made nothing although it had to.
        """
        commit = self._result(now)
        self.hub.pin(pin_name(self.path), commit)
        return commit

    def _result(self, now: datetime) -> Oid:
        branch = agent_branch(self.task.assigned_to or "", self.task.id)
        found, head = self.clone.head(self.path)
        if found != branch:
            there = short_ref(found) if found else "a detached HEAD"
            raise AttemptFailed(
                Reason.LEFT_BRANCH,
                f"the task ended on {there}, not on {short_ref(branch)}",
            )
        commit = self._all_on(head, now)
        if commit != self.base and not self.hub.is_ancestor(self.base, commit):
            raise AttemptFailed(
                Reason.LEFT_BRANCH,
                f"{short_ref(branch)} no longer contains its base {self.base[:10]}",
            )
        refuse_unsupported(self.hub, commit)
        if self.hub.tree_of(commit) == self.hub.tree_of(self.base):
            return self._empty(commit, now)
        return commit

    def _empty(self, commit: Oid, now: datetime) -> Oid:
        if not self.task.allow_empty:
            raise AttemptFailed(Reason.EMPTY_RESULT, "the task changed nothing")
        if commit != self.base:
            return commit
        tree = self.hub.tree_of(self.base)
        author = self.author or PERCYD
        return commit_tree(
            self.hub.git, tree, [self.base], self._message(), now, author
        )

    def everything(self, now: datetime) -> Oid:
        """All work there is, committed or not, as one commit in the hub."""
        return self._all_on(self.clone.head(self.path)[1], now)

    def _all_on(self, head: Oid | None, now: datetime) -> Oid:
        commit = self.base
        if head is not None and head != self.base:
            commit = self.hub.ingest(self.clone.git_dir, head)
        leftover = self.hub.snapshot_work_tree(
            self.path,
            commit,
            self._message(),
            self.author or PERCYD,
            now,
            self.clone.index_of(self.path, commit),
        )
        return leftover or commit

    def rescue(self, now: datetime) -> Oid:
        """All work there is, also what the task has put on other branches or stashed.

        One commit on one ref reaches everything.
        """
        commit = self.everything(now)
        return with_side_tips(self.hub, self.clone, self.path, commit, self.base, now)

    def _message(self) -> str:
        return (
            f"{self.task.title}\n\n"
            f"Percy-Task: {self.task.id}\nPercy-Attempt: {self.task.attempt}\n"
        )


def with_side_tips(
    hub: Hub,
    clone: SlotClone,
    path: Path,
    commit: Oid,
    base: Oid | None,
    now: datetime,
) -> Oid:
    """A commit that reaches ``commit`` and every other tip of a slot's clone."""
    more: list[Oid] = []
    for tip in clone.side_tips(path):
        oid = hub.ingest(clone.git_dir, tip)
        known = (commit, base, *more) if base else (commit, *more)
        if not any(hub.is_ancestor(oid, other) for other in known):
            more.append(oid)
    if not more:
        return commit
    message = "What the task had put elsewhere: other branches, the stash\n"
    tree = hub.tree_of(commit)
    return commit_tree(hub.git, tree, [commit, *more], message, now)


def refuse_unsupported(hub: Hub, commit: Oid) -> None:
    """Refuse a tree with submodules or filters, which no worktree could hold safely.

    Raises:
        AttemptFailed: for the base that a task would start from, and for a result that
            would bring them in and so stop every other task of its plan.
    """
    facts = hub.facts(commit)
    found = (*facts.submodules, *facts.filters)
    if found:
        raise AttemptFailed(
            Reason.UNSUPPORTED_REPOSITORY,
            f"submodules and filters are not supported: {found[0]}",
        )


def pin_name(path: Path) -> str:
    """The hub's pin of what was collected from a slot's worktree.

    It names the slot, whose lock says whether somebody is still at work on it.
    """
    return f"{pins_of(path.parent)}{path.name}"


def pins_of(slot: Path) -> str:
    """How the names of a slot's pins begin."""
    return f"{WORK_PINS}{slot.name}/"


def push_rescue(hub: Hub, ref: str, commit: Oid, deadline_s: float = _PUSH_S) -> bool:
    """Keep work on its rescue ref, outside of any claim; false if the remote did not.

    Only one attempt of one agent writes there, so that whatever is on it is older. What
    gets in its way is an older push of its own that nobody answered.
    """
    move = RefMove(ref, None, commit, forced=True)
    outcome = PushOutcome.CONFLICT
    for _ in range(_TRIES):
        outcome = hub.push([move], deadline_s).refs[ref].outcome
        if outcome is not PushOutcome.CONFLICT:
            break
    return outcome is PushOutcome.APPLIED
