"""A plan that has ended, done again as a new one: ``percyd plan rerun``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from percyd.config import COMMITTED
from percyd.core.document.names import plan_id_of
from percyd.core.edges import CLOSED
from percyd.core.records import Plan
from percyd.core.refs import Oid
from percyd.errors import IllegalTransition, InvalidPlan, PlanLost, UnknownIdError
from percyd.intake.scan import Intake
from percyd.intake.submit import Taken, take_anew
from percyd.repo import discover
from percyd.state.codec import decode_archive

_NUMBERED = re.compile(r"(.+)-[0-9]+")
_SOURCE = re.compile(r"source\.[a-z]+")


@dataclass(frozen=True, slots=True)
class _Past:
    """A plan as it was, and where: the commit of the state that has its document."""

    record: Plan
    commit: Oid


def rerun(intake: Intake, plan_id: str) -> Taken:
    """Take a plan's document in again, under a new id, from the base of today.

    The newest committed version of its file if it has one, else the document as it was
    taken in; that of an archived plan is in the history of the state.

    Raises:
        UnknownIdError: there is no such plan.
        IllegalTransition: it is still open.
        PlanLost: its document is nowhere.
        InvalidPlan, InvalidConfig: see `Intake.take`.
    """
    past = _past(intake, plan_id)
    if past.record.status not in CLOSED:
        raise IllegalTransition(
            f"plan {plan_id} is {past.record.status}; rerun needs one that has ended",
            hint=f"percyd plan cancel {plan_id} ends it",
        )
    first = _first_id(intake, past.record)
    file = intake.file_of(past.record)
    if file is None:
        return _take_kept(intake, past, first)
    if file.problem:
        raise InvalidPlan(f"{file.path}:1: id: {file.problem}")
    source = intake.source_of(file)
    return take_anew(intake, first, file.name, file.content, source, file.config)


def _past(intake: Intake, plan_id: str) -> _Past:
    state = intake.store.state
    live = state.snapshot.plan(plan_id)
    if live is not None:
        return _Past(live.record, state.tip)
    if plan_id not in state.snapshot.archived:
        raise UnknownIdError(f"there is no plan {plan_id}")
    path = f"archive/{plan_id}.jsonl"
    found = intake.hub.reader.read(f"{state.tip}:{path}")
    folding = intake.hub.git.run("log", "-1", "--format=%P", state.tip, "--", path).text
    if found is None or not folding:
        raise PlanLost(f"the archive of plan {plan_id} cannot be read")
    record, _ = decode_archive(plan_id, found[2])
    return _Past(record, folding.split()[0])


def _take_kept(intake: Intake, past: _Past, first: str) -> Taken:
    """Take in the document that the state has kept, shaped by the config of today."""
    record, name = past.record, ""
    folder = f"plans/{record.id}/"
    listing = intake.hub.git.run("ls-tree", "--name-only", past.commit, folder).text
    for path in listing.splitlines():
        if _SOURCE.fullmatch(path.removeprefix(folder)):
            name = path
    found = intake.hub.reader.read(f"{past.commit}:{name}") if name else None
    if found is None:
        raise PlanLost(
            f"the document of plan {record.id} was not kept",
            hint="submit it once more with percyd plan submit FILE",
        )
    config = discover.read_file(intake.hub.path, intake.remote_tip(), COMMITTED)
    source = record.source.model_copy(update={"submitted_by": intake.submitter()})
    return take_anew(intake, first, name.rpartition("/")[2], found[2], source, config)


def _first_id(intake: Intake, plan: Plan) -> str:
    """The id that the runs of one document have in common.

    A file's is its name. Of other documents, ``p-2`` is a run of ``p`` if both are from
    the same one.
    """
    if plan.source.kind == "file" and plan.source.path:
        return plan_id_of(plan.source.path)[0]
    match = _NUMBERED.fullmatch(plan.id)
    if match is None:
        return plan.id
    try:
        first = _past(intake, match[1]).record
    except (UnknownIdError, PlanLost):
        return plan.id
    return first.id if first.source.blob == plan.source.blob else plan.id
