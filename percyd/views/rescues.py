"""Unpublished work that was kept: on rescue refs, and on pins of this machine.

A rescue ref is the truth: the state names it only if the attempt's own end brought it
along. Work of an agent that was called lost comes to its ref later, by a push of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from percyd.core.edges import HELD
from percyd.core.graph import nearest
from percyd.core.ids import RESCUE_REFS, plan_branch, plan_of, short_ref
from percyd.core.records import Attempt, Task
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import RefusedError, UnknownIdError, UsageError
from percyd.repo import diffs
from percyd.repo.hub import PINS, WORK_PINS, Hub
from percyd.repo.objects import is_ancestor, refs_below
from percyd.repo.wire import seen_ref
from percyd.views.times import as_text

_KEY = re.compile(r"(?P<task>[a-z0-9_-]+\.[a-z0-9_-]+)[/.](?P<attempt>[0-9]{1,9})")
#: So many refs are fetched at a time: a command line is not endless.
_FETCHED = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """The work of one attempt, and the ref that keeps it."""

    task: str
    attempt: int
    ref: str
    commit: Oid
    #: A pin in the hub of this clone: nobody else has it.
    only_here: bool = False

    @property
    def key(self) -> str:
        """How it is named on the command line."""
        return f"{self.task}/{self.attempt}"


def on_remote(hub: Hub, task: str | None = None) -> list[Kept]:
    """What is on the remote's rescue refs, of one task or of all.

    Raises:
        RemoteUnreachable: nobody answered.
    """
    found = hub.ls_remote(f"{RESCUE_REFS}{task or '*'}/*")
    return _kept(
        (ref, ref.removeprefix(RESCUE_REFS), oid) for ref, oid in found.items()
    )


def seen_before(hub: Hub) -> list[Kept]:
    """What of it this clone has fetched before, for while the remote is down."""
    below = seen_ref(RESCUE_REFS)
    found = refs_below(hub.git, below)
    return _kept((RESCUE_REFS + name, name, oid) for name, oid in found.items())


def pinned_here(hub: Hub, published: Sequence[Kept]) -> list[Kept]:
    """Work that only this machine has: pins that no ref of the remote contains."""
    known = {(kept.task, kept.attempt): kept.commit for kept in published}
    prefix = PINS + WORK_PINS
    pins = refs_below(hub.git, prefix)
    rows = ((prefix + name, name.partition("/")[2], oid) for name, oid in pins.items())
    return [
        Kept(kept.task, kept.attempt, kept.ref, kept.commit, only_here=True)
        for kept in _kept(rows)
        if kept.commit != known.get((kept.task, kept.attempt))
        and not _has_landed(hub, kept)
    ]


def kept_of(hub: Hub, task: str, *, ask_remote: bool) -> list[Kept]:
    """What is kept of one task; without asking, what this clone has seen of it.

    Raises:
        RemoteUnreachable: it was asked, and nobody answered.
    """
    published = on_remote(hub, task) if ask_remote else seen_before(hub)
    mine = [kept for kept in published if kept.task == task]
    here = [kept for kept in pinned_here(hub, published) if kept.task == task]
    return [*here, *mine]


def _kept(rows: Iterable[tuple[str, str, Oid]]) -> list[Kept]:
    found = []
    for ref, name, oid in rows:
        match = _KEY.fullmatch(name)
        if match is not None:
            found.append(Kept(match["task"], int(match["attempt"]), ref, oid))
    return sorted(found, key=lambda kept: (kept.task, kept.attempt))


def _has_landed(hub: Hub, kept: Kept) -> bool:
    tip = hub.git.ref(seen_ref(plan_branch(plan_of(kept.task))))
    return tip is not None and is_ancestor(hub.git, kept.commit, tip)


def bring(hub: Hub, snapshot: Snapshot, found: Sequence[Kept]) -> list[Kept]:
    """The same, their objects here; without those that have gone meanwhile.

    Raises:
        RemoteUnreachable: nobody answered.
    """
    wanted = [kept.ref for kept in found if not kept.only_here]
    plans = {plan_of(kept.task) for kept in found}
    wanted += sorted({ref for plan in plans for ref in _sources(snapshot, plan)})
    tips: dict[str, Oid | None] = {}
    for start in range(0, len(wanted), _FETCHED):
        tips |= hub.fetch_refs(wanted[start : start + _FETCHED])
    brought = []
    for kept in found:
        commit = kept.commit if kept.only_here else tips.get(kept.ref)
        if commit is not None:
            brought.append(
                Kept(kept.task, kept.attempt, kept.ref, commit, kept.only_here)
            )
    return brought


def _sources(snapshot: Snapshot, plan: str) -> list[str]:
    """The branches that work on a plan begins from; once it has landed, one may be gone."""
    state = snapshot.plan(plan)
    base = [f"refs/heads/{short_ref(state.record.base_branch)}"] if state else []
    return [plan_branch(plan), *base]


def base_of(hub: Hub, snapshot: Snapshot, kept: Kept) -> Oid | None:
    """What the work began from, as far as branches tell that were fetched before."""
    for ref in _sources(snapshot, plan_of(kept.task)):
        tip = hub.git.ref(seen_ref(ref))
        if tip is not None:
            return diffs.merge_base(hub.git, kept.commit, tip)
    return None


def commits_of(hub: Hub, base: Oid | None, kept: Kept) -> list[diffs.CommitLine]:
    """The commits of the work, newest first; without a base the newest alone."""
    return diffs.commits_between(hub.git, base or f"{kept.commit}^@", kept.commit)


def find(found: Sequence[Kept], name: str) -> Kept:
    """The one that ``TASK/ATTEMPT`` names; the remote's before a pin.

    Raises:
        UsageError: it is no such name.
        UnknownIdError: nothing is kept under it.
    """
    match = _KEY.fullmatch(name)
    if match is None:
        first = f"{name}/1" if _KEY.fullmatch(f"{name}/1") else "p.a/1"
        own = [kept.key for kept in found if kept.task == name]
        raise UsageError(
            f"{name!r:.80} does not name an attempt",
            hint=f"write TASK/ATTEMPT: {own[-1] if own else first}",
        )
    key = f"{match['task']}/{int(match['attempt'])}"
    for kept in sorted(found, key=lambda kept: kept.only_here):
        if kept.key == key:
            return kept
    near = nearest(key, sorted({kept.key for kept in found}))
    hint = f"did you mean {near}?" if near else "percyd rescue list shows what is kept"
    raise UnknownIdError(f"nothing is kept of {key}", hint=hint)


def entry_of(snapshot: Snapshot, kept: Kept) -> Attempt | None:
    """The attempt's end, if the state still has it."""
    task = snapshot.task(kept.task)
    ended = task.attempts if task is not None else ()
    return next((entry for entry in ended if entry.number == kept.attempt), None)


def row(hub: Hub, snapshot: Snapshot, kept: Kept) -> dict[str, Any]:
    """One kept work as ``rescue list`` shows it, its objects here."""
    task, entry = snapshot.task(kept.task), entry_of(snapshot, kept)
    base = base_of(hub, snapshot, kept)
    commits = commits_of(hub, base, kept)
    files = diffs.file_changes(hub.git, base, kept.commit) if base else None
    when = datetime.fromtimestamp(commits[0].when_s, UTC) if commits else None
    return {
        "task": kept.task,
        "attempt": kept.attempt,
        "ref": kept.ref,
        "only_here": kept.only_here,
        "commit": kept.commit,
        "base": base,
        "agent": entry.agent if entry else _holder(task, kept),
        "outcome": entry.outcome if entry else _state_of(task, kept),
        "reason": entry.reason.model_dump(mode="json")
        if entry and entry.reason
        else None,
        "when": as_text(when) if when else None,
        "commits": len(commits) if base else None,
        "files": len(files) if files is not None else None,
    }


def _holder(task: Task | None, kept: Kept) -> str | None:
    if task is not None and task.attempt == kept.attempt:
        return task.assigned_to
    return None


def _state_of(task: Task | None, kept: Kept) -> str | None:
    """What there is to say of an attempt that has no end yet; None: it is not known."""
    if task is None or task.attempt != kept.attempt or task.status not in HELD:
        return None
    return str(task.status)


def require_base(base: Oid | None, kept: Kept) -> Oid:
    """The base, or a refusal: nothing tells what the work has changed."""
    if base is None:
        raise RefusedError(
            f"nothing tells what {kept.key} began from: the branches of "
            f"{plan_of(kept.task)} are gone",
            hint=f"percyd rescue restore {kept.key} makes a branch of it",
        )
    return base
