"""A plan taken in because somebody asked for it, not because a commit was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from percyd.config import COMMITTED
from percyd.core.document.names import FOLDER, plan_id_of
from percyd.core.document.parse import parse
from percyd.core.edges import CLOSED, PlanStatus
from percyd.core.ids import slug
from percyd.core.operations.reconcile import Changes, Reconciled
from percyd.core.records import Source
from percyd.errors import (
    InvalidPlan,
    NotARepository,
    PlanExists,
    RefusedError,
    UsageError,
)
from percyd.intake.files import PlanFile
from percyd.intake.scan import Intake, lines
from percyd.repo import discover
from percyd.state.tickets import Applied

#: So many tasks of one kind of change are named.
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Taken:
    """What a submission came to; ``commit`` None means that it was there already.

    ``changes`` is what the edited file of an open plan has changed in it; ``status`` is
    the plan's, where nothing was done.
    """

    plan: str
    tasks: int
    commit: str | None
    changes: Changes | None = None
    status: PlanStatus | None = None

    @property
    def words(self) -> str:
        """One line for people, and after an edit one for each kind of change."""
        if self.changes is not None:
            return "\n".join(_edit_words(self.plan, self.changes))
        if self.commit is None:
            there = f"plan {self.plan} is there already, from this very document"
            if self.status not in CLOSED:
                return there
            return (
                f"{there}, and is {self.status}\n"
                f"percyd plan rerun {self.plan} runs it again as a new plan"
            )
        return f"taken in: plan {self.plan}, {self.tasks} task{'s' * (self.tasks != 1)}"

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        changes = self.changes.as_json() if self.changes is not None else None
        return {
            "plan": self.plan,
            "tasks": self.tasks,
            "commit": self.commit,
            "changes": changes,
        }


def _edit_words(plan: str, changes: Changes) -> Iterator[str]:
    yield f"reconciled: plan {plan}, {changes.words}"
    kinds: dict[str, Sequence[object]] = {
        "added": changes.added,
        "updated": changes.updated,
        "cancelled": changes.cancelled,
        "reopened": changes.reopened,
        "kept as it was": changes.kept,
    }
    for what, tasks in kinds.items():
        if tasks:
            shown = ", ".join(str(task) for task in tasks[:_SHOWN])
            more = len(tasks) - _SHOWN
            yield f"{what}: {shown}{f' and {more} more' if more > 0 else ''}"
    yield from changes.notes


def submit(intake: Intake, name: str, content: bytes) -> Taken:
    """Take in a document now.

    A file in ``.percy/plans`` counts as its committed version; any other file, and
    standard input, as it is.

    Raises:
        UsageError: a plan file that is not committed, or differs from its commit.
        InvalidPlan, InvalidConfig, PlanExists: see `Intake.take`.
        PlanFinished, PlanDiverged, PlanRenamed: see `Edits`.
        RefusedError: the plan follows a later version of the file.
    """
    if name == "-":
        return submit_untitled(intake, name, content)
    if _is_plan_file(intake, Path(name)):
        return _submit_committed(intake, Path(name), content)
    plan_id, problem = plan_id_of(PurePath(name).name)
    if problem:
        raise InvalidPlan(f"{name}:1: id: {problem}")
    source, config = _from_the_base(intake, PurePath(name).name, content)
    applied = intake.take(plan_id, PurePath(name).name, content, source, config)
    return _taken(intake, plan_id, applied)


def submit_untitled(intake: Intake, name: str, content: bytes) -> Taken:
    """Take in a document without a file; its id is a slug of its title, made unique.

    Raises:
        InvalidPlan, InvalidConfig: see `Intake.take`; it is called ``name`` there.
    """
    parsed = parse(name, content)
    if parsed.document is None:
        raise InvalidPlan(lines(parsed.problems))
    source, config = _from_the_base(intake, None, content)
    first = slug(parsed.document.title)
    return take_anew(intake, first, name, content, source, config)


def take_anew(
    intake: Intake,
    first: str,
    name: str,
    content: bytes,
    source: Source,
    config: bytes | None,
) -> Taken:
    """Take in a document as a plan that was not there: ``first``, ``first-2``, ...

    Somebody who does the same at this moment gets a plan of their own.
    """
    for plan_id in variants(first):
        snapshot = intake.store.state.snapshot
        if plan_id in snapshot.plans or plan_id in snapshot.archived:
            continue
        try:
            applied = intake.take(plan_id, name, content, source, config)
        except PlanExists:
            snapshot = intake.store.refresh().snapshot
            if plan_id in snapshot.plans or plan_id in snapshot.archived:
                continue
            raise
        if applied.commit is not None:
            return _taken(intake, plan_id, applied)
    raise PlanExists(f"every id from {first} on is taken")


def variants(first: str) -> Iterator[str]:
    """The ids of a plan and of those that are run again: ``p``, ``p-2``, ``p-3``, ..."""
    yield first
    for number in range(2, 100_000):
        yield f"{first[:42]}-{number}"


def _from_the_base(
    intake: Intake, path: str | None, content: bytes
) -> tuple[Source, bytes | None]:
    """Where a document of the command line comes from, and what shapes its plan."""
    tip = intake.remote_tip()
    source = Source(
        kind="cli",
        path=path,
        commit=tip,
        blob=intake.hub.blob_id(content),
        submitted_by=intake.submitter(),
    )
    return source, discover.read_file(intake.hub.path, tip, COMMITTED)


def _is_plan_file(intake: Intake, path: Path) -> bool:
    """Whether it lies in the plans folder of any work tree of this clone."""
    folder = path.resolve().parent
    if folder.parts[-2:] != tuple(FOLDER.split("/")):
        return False
    try:
        around = discover.discover(folder)
    except NotARepository:
        return False
    return around.common_dir == intake.clone.common_dir


def _submit_committed(intake: Intake, path: Path, content: bytes) -> Taken:
    for file in intake.files():
        if file.name == path.name and file.content == content:
            return _submit_file(intake, file)
    raise UsageError(
        f"{FOLDER}/{path.name} is not committed on {intake.branch} as it is on disk",
        hint="commit it first",
    )


def _submit_file(intake: Intake, file: PlanFile) -> Taken:
    """Take in one committed plan file, or let its open plan follow it."""
    applied = intake.take_file(file)
    if applied is not None and isinstance(applied.decision, Reconciled):
        edit = applied.decision
        return Taken(edit.plan, len(edit.tasks), applied.commit, edit.changes)
    plan = intake.edits.plan_of(file, intake.store.state.snapshot)
    if applied is None and plan is not None and plan.source.blob != file.blob:
        raise RefusedError(
            f"plan {plan.id} follows a later version of {file.path} than this one",
            hint=f"pull {intake.branch} first",
        )
    return _taken(intake, plan.id if plan else plan_id_of(file.name)[0], applied)


def _taken(intake: Intake, plan_id: str, applied: Applied | None) -> Taken:
    if applied is None or applied.decision is None:
        there = intake.store.state.snapshot.plan(plan_id)
        return Taken(plan_id, 0, None, status=there.record.status if there else None)
    return Taken(plan_id, len(applied.decision.tasks), applied.commit)
