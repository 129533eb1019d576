"""What an attempt begins with: the task, its plan, what it builds on, what was before."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from percyd.core.records import Attempt, Plan, Task
from percyd.core.refs import Oid
from percyd.errors import PercydError
from percyd.repo import lineage
from percyd.work.prompt import Done, block, review_values, worker_values
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color")
#: A longer diff is left to the program to look at, file by file.
_DIFF_CHARS = 100_000


def first_prompt(shop: Workshop, plan: Plan, task: Task, branch: str, base: Oid) -> str:
    """The text that a program gets first in an attempt."""
    # A command is not told so much; nobody reads it there.
    done = _dependencies(shop, task) if task.run is None else []
    if task.type == "review":
        diffs = [f"{merge}^1 {merge}" for d in done if (merge := _merge_of(d.task))]
        diffs = diffs or [f"{plan.base_commit} {base}"]
        values = review_values(
            plan,
            task,
            diffs=[f"git diff {pair}" for pair in diffs],
            diff=_shown(shop, diffs),
            done=done,
        )
        return shop.prompts.fill("review", values)
    before = _before(shop, task, base)
    values = worker_values(
        plan, task, branch=branch, base=base, done=done, before=before
    )
    return shop.prompts.fill("worker", values)


def _dependencies(shop: Workshop, task: Task) -> list[Done]:
    snapshot = shop.store.state.snapshot
    found = [snapshot.task(name) for name in task.depends_on]
    return [Done(each, _files(shop, each)) for each in found if each is not None]


def _files(shop: Workshop, task: Task) -> list[str]:
    """The files that a completed task has changed."""
    merge = _merge_of(task)
    if merge is None:
        return []
    try:
        before = shop.hub.reader.resolve(f"{merge}^1")
        if before is None:
            return []
        changes = lineage.changed_files(shop.hub.reader, before, merge)
        return sorted(change.path for change in changes)
    except PercydError as error:
        # Worth a line of the prompt, and no more.
        log.warning("not told", extra={"task": task.id, "why": str(error)})
        return []


def _merge_of(task: Task) -> Oid | None:
    return task.result.integration_commit if task.result else None


def _shown(shop: Workshop, diffs: Sequence[str]) -> str:
    """What is to be reviewed, for programs without a shell; nothing if it is long."""
    texts = []
    for pair in diffs:
        found = shop.hub.git.run(*_DIFF, *pair.split(), check=False)
        texts.append(found.stdout.decode("utf-8", "replace"))
    text = "\n".join(texts)
    return text if len(text) <= _DIFF_CHARS else ""


def _before(shop: Workshop, task: Task, base: Oid) -> str:
    """What the last attempt left, and why it ended."""
    last = task.attempts[-1] if task.attempts else None
    if last is None or last.reason is None or last.outcome == "completed":
        return ""
    why = f"{last.reason.code}: {last.reason.message}".rstrip(": ")
    ended = f"It ended so:\n\n{block('reason', why)}"
    # The last one may have been over before it began.
    kept = next((each for each in task.attempts[::-1] if each.rescue), last)
    work = _work_of(shop, kept)
    if work is None:
        left = "is not to be had here" if kept.rescue else "came to nothing"
        return f"What an earlier attempt at this task made {left}. {ended}"
    values = {"why": ended, "commit": work, "base": base}
    return shop.prompts.fill("resume", values)


def _work_of(shop: Workshop, attempt: Attempt) -> Oid | None:
    """The commit with an attempt's work, here; None if it left none."""
    if attempt.rescue is None:
        return None
    try:
        return shop.hub.fetch_refs([attempt.rescue])[attempt.rescue]
    except PercydError as error:
        log.warning("not fetched", extra={"ref": attempt.rescue, "why": str(error)})
        return None  # the work goes on without it
