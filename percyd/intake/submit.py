"""A plan taken in because somebody asked for it, not because a commit was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from percyd.config import COMMITTED
from percyd.core.document.parse import parse, plan_id_of
from percyd.core.ids import slug
from percyd.core.records import Source
from percyd.core.snapshot import Snapshot
from percyd.errors import InvalidPlan, NotARepository, UsageError
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
    if name != "-" and _is_plan_file(intake, Path(name)):
        return _submit_committed(intake, Path(name), content)
    plan_id = _new_id(intake.store.state.snapshot, name, content)
    tip = intake.remote_tip()
    config = discover.read_file(intake.hub.path, tip, COMMITTED)
    source = Source(
        kind="cli",
        path=None if name == "-" else PurePath(name).name,
        commit=tip,
        blob=intake.hub.blob_id(content),
        submitted_by=intake.submitter(),
    )
    applied = intake.take(plan_id, PurePath(name).name, content, source, config)
    return _taken(plan_id, applied)


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


def _new_id(snapshot: Snapshot, name: str, content: bytes) -> str:
    """The id from a file's name; from standard input a slug of the title, unused."""
    if name != "-":
        plan_id, problem = plan_id_of(PurePath(name).name)
        if problem:
            raise InvalidPlan(f"{name}:1: id: {problem}")
        return plan_id
    parsed = parse(name, content)
    if parsed.document is None:
        raise InvalidPlan(lines(parsed.problems))
    first = slug(parsed.document.title)
    used = {*snapshot.plans, *snapshot.archived}
    return next(name for name in _variants(first) if name not in used)


def _variants(first: str) -> list[str]:
    return [first, *(f"{first[:42]}-{number}" for number in range(2, 10_000))]
