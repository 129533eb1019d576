"""Work that did not land goes back to the program that made it (DESIGN 6.5, 6.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from percyd.core.edges import TaskStatus
from percyd.core.ids import short_ref
from percyd.core.reasons import Reason
from percyd.core.records import Task
from percyd.core.refs import MergeConflict, Oid
from percyd.errors import MergeConflictError
from percyd.repo.objects import commit_tree, tree_entries
from percyd.repo.values import PERCYD
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import RunReport
from percyd.work.collect import pin_name
from percyd.work.conversation import Conversation
from percyd.work.failure import AttemptFailed, GateRefused
from percyd.work.prompt import block, output_block, task_block, verdict_text
from percyd.work.workshop import Workshop

#: So many tasks that landed meanwhile are told of.
_OTHERS_SHOWN = 10


@dataclass(slots=True)
class Conflict:
    """What a program is asked to resolve: its own work, and what it meets."""

    ours: Oid
    theirs: Oid
    #: The commit with both sides and the marks between them.
    marked: Oid
    paths: tuple[str, ...]

    @property
    def parents(self) -> list[Oid]:
        """Of the merge that comes of it."""
        return [self.ours, self.theirs]


@dataclass(slots=True)
class Mender:
    """Puts one attempt's worktree where the trouble is, and has its program mend it."""

    shop: Workshop
    clone: SlotClone
    path: Path
    task: Task
    branch: str
    talk: Conversation
    #: What a program is told that does not know the task any more.
    intro: str

    def prepare(self, refused: GateRefused, result: Oid) -> None:
        """Put the very tree into the worktree that the gate has refused."""
        hub = self.shop.hub
        start = result
        if not hub.is_ancestor(refused.tip, result):
            both = [result, refused.tip]
            now = self.shop.clock.now()
            start = commit_tree(hub.git, refused.tree, both, self._message(), now)
        self._begin(start)

    def gate(self, refused: GateRefused) -> RunReport:
        """Have it mend what the gate has refused.

        Raises:
            AttemptFailed: the program did not end as it should.
        """
        values = {
            "branch": short_ref(self.branch),
            "verdict": verdict_text(refused.verdict) if refused.verdict else "",
            "output": output_block(refused.tail),
            "task": task_block(self.task),
        }
        return self._say("fix-gate", values)

    def meet(self, ours: Oid, theirs: Oid) -> Conflict | None:
        """Put both sides into the worktree; None if they do merge by now."""
        hub, now = self.shop.hub, self.shop.clock.now()
        merged = hub.merge(ours, theirs, self._message(), now)
        if not isinstance(merged, MergeConflict):
            return None
        both = [ours, theirs]
        marked = commit_tree(hub.git, merged.tree, both, self._message(), now)
        self._begin(marked)
        return Conflict(ours, theirs, marked, merged.paths)

    def conflict(self, conflict: Conflict, paths: Sequence[str]) -> RunReport:
        """Have both sides merged by hand in the files that are still to be merged.

        Raises:
            AttemptFailed: the program did not end as it should.
        """
        names = "\n".join(paths)
        values = {
            "branch": short_ref(self.branch),
            "files": f"In conflict:\n\n{block('files', names)}",
            "ours": conflict.ours,
            "theirs": conflict.theirs,
            "others": self._others(conflict),
            "task": task_block(self.task),
        }
        return self._say("resolve-conflict", values)

    def resolved(self, conflict: Conflict, commit: Oid) -> Oid:
        """The merge commit of both sides, with the tree of ``commit``.

        Raises:
            MergeConflictError: there are conflict markers left; names the files.
            AttemptFailed: it does not go on from both sides, or undoes its own.
        """
        hub = self.shop.hub
        if not hub.is_ancestor(conflict.marked, commit):
            # Of one side alone, it would undo whatever the other has landed.
            raise AttemptFailed(
                Reason.LEFT_BRANCH,
                f"{short_ref(self.branch)} no longer contains both sides of the conflict",
            )
        left = tuple(self._marked(conflict, commit))
        if left:
            raise MergeConflictError(left)
        self.refuse_nothing(commit, conflict.theirs)
        merge = commit_tree(
            hub.git,
            hub.tree_of(commit),
            conflict.parents,
            self._message(),
            self.shop.clock.now(),
            self.shop.author or PERCYD,
        )
        hub.pin(pin_name(self.path), merge)
        return merge

    def refuse_nothing(self, commit: Oid, landed: Oid) -> None:
        """Refuse work of which nothing is left beside what has landed already.

        Raises:
            AttemptFailed: that is so, and the task has to change something.
        """
        hub, task = self.shop.hub, self.task
        may = task.allow_empty or task.type == "land"
        if not may and hub.tree_of(commit) == hub.tree_of(landed):
            raise AttemptFailed(
                Reason.EMPTY_RESULT, "nothing of the task's own work is left"
            )

    def _begin(self, commit: Oid) -> None:
        """Put the worktree on its branch at ``commit``: from now on that is the work."""
        self.clone.switch_branch(self.path, self.branch, commit)
        self.shop.hub.unpin(pin_name(self.path))

    def _say(self, name: str, values: dict[str, str]) -> RunReport:
        prompt = self.shop.prompts.fill(name, values)
        return self.talk.say(prompt, self.intro, self.path)

    def _message(self) -> str:
        return (
            f"Merge percy/plan/{self.task.plan} into {self.task.id}\n\n"
            f"Percy-Task: {self.task.id}\nPercy-Attempt: {self.task.attempt}\n"
        )

    def _marked(self, conflict: Conflict, commit: Oid) -> Iterator[str]:
        """The files that still hold marks of the merge.

        Its marks name the two commits, so that no text of the repository is taken for
        one; the line between them does not, and is counted.
        """
        marks = re.compile(
            rb"^[<>|]{2,} (%b|%b)" % (conflict.ours.encode(), conflict.theirs.encode()),
            re.MULTILINE,
        )
        texts = self._texts(commit, conflict.paths)
        sides = [self._texts(oid, conflict.paths) for oid in conflict.parents]
        for path, text in texts.items():
            # Both sides may have added a heading that is underlined so.
            before = sum(_between(side.get(path, b"")) for side in sides)
            if marks.search(text) or _between(text) > before:
                yield path

    def _texts(self, commit: Oid, paths: Sequence[str]) -> dict[str, bytes]:
        """What those of the files hold that a commit has."""
        hub = self.shop.hub
        found = [
            entry
            for entry in tree_entries(hub.git, commit, *paths)
            if entry.type == "blob"
        ]
        contents = hub.reader.read_many([entry.oid for entry in found])
        return {
            entry.path: content or b""
            for entry, content in zip(found, contents, strict=True)
        }

    def _others(self, conflict: Conflict) -> str:
        """The tasks that have landed since the work began."""
        state = self.shop.store.state.snapshot.plans[self.task.plan]
        hub = self.shop.hub
        landed = [
            task
            for task in state.tasks.values()
            if task.status is TaskStatus.COMPLETED
            and task.result is not None
            and (merge := task.result.integration_commit) is not None
            and hub.is_ancestor(merge, conflict.theirs)
            and not hub.is_ancestor(merge, conflict.ours)
        ]
        lines = []
        for task in landed[:_OTHERS_SHOWN]:
            lines.append(f"{task.id}: {task.title}")
            if task.result and task.result.summary:
                lines.append(f"  summary: {task.result.summary}")
        if not lines:
            return ""
        told = block("landed", "\n".join(lines))
        return f"What has landed meanwhile:\n\n{told}"


def _between(text: bytes) -> int:
    return len(re.findall(rb"^={7}\r?$", text, re.MULTILINE))
