"""A plan taken in because somebody asked for it, not because a commit was found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from percyd.config import COMMITTED
from percyd.core.document.parse import parse, plan_id_of
from percyd.core.ids import slug
from percyd.core.records import Source
from percyd.errors import InvalidPlan, NotARepository, PlanExists, UsageError
from percyd.intake.scan import FOLDER, Intake, lines
from percyd.repo import discover
from percyd.state.tickets import Applied


@dataclass(frozen=True, slots=True)
class Taken:
    """What a submission came to; ``commit`` None means that it was there already."""

    plan: str
    tasks: int
    commit: str | None

    @property
    def words(self) -> str:
        """One line for people."""
        if self.commit is None:
            return f"plan {self.plan} is there already, from this very document"
        return f"taken in: plan {self.plan}, {self.tasks} task{'s' * (self.tasks != 1)}"

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {"plan": self.plan, "tasks": self.tasks, "commit": self.commit}


def submit(intake: Intake, name: str, content: bytes) -> Taken:
    """Take in a document now.

    A file in ``.percy/plans`` counts as its committed version; any other file, and
    standard input, as it is.

    Raises:
        UsageError: a plan file that is not committed, or differs from its commit.
        InvalidPlan, InvalidConfig, PlanExists: see `Intake.take`.
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
    return _taken(plan_id, applied)


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
            return _taken(plan_id, applied)
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
            applied = intake.take_file(file)
            return _taken(plan_id_of(file.name)[0], applied)
    raise UsageError(
        f"{FOLDER}/{path.name} is not committed on {intake.branch} as it is on disk",
        hint="commit it first",
    )


def _taken(plan_id: str, applied: Applied | None) -> Taken:
    if applied is None or applied.decision is None:
        return Taken(plan_id, 0, None)
    return Taken(plan_id, len(applied.decision.tasks), applied.commit)
