"""A changed plan file and the plan that was taken in from it (DESIGN 4)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from percyd.core.document.names import plan_id_of
from percyd.core.document.parse import parse
from percyd.core.edges import CLOSED, PlanStatus
from percyd.core.operations.landing import is_being_landed
from percyd.core.operations.reconcile import Reconcile, Reconciled, Version
from percyd.core.records import Plan, Source
from percyd.core.snapshot import Snapshot, SourceFile
from percyd.errors import (
    EditRefused,
    InvalidPlan,
    PercydError,
    PlanChanged,
    PlanDiverged,
    PlanFinished,
    PlanRenamed,
)
from percyd.intake.build import Base, build
from percyd.intake.documents import Checked, read, refuse_landing
from percyd.intake.files import PlanFile
from percyd.intake.standing import AMENDED, Standing, Standings
from percyd.intake.told import Told, Word
from percyd.repo import discover
from percyd.repo.discover import Clone
from percyd.repo.hub import Hub
from percyd.settings import Config
from percyd.state.follower import State
from percyd.state.store import StateStore
from percyd.state.tickets import Applied

log = logging.getLogger(__name__)

#: What is told of a good plan file that changes nothing, once for each version of it.
REPORTS = (PlanFinished, PlanDiverged, PlanRenamed)
#: Word for a version of a file that an archived plan has run.
_ARCHIVED = "archived"
#: How often an edit is worked out anew because somebody else has edited the plan.
_TRIES = 3


@dataclass(slots=True)
class Edits:
    """Lets the plans of one clone follow their files."""

    store: StateStore
    hub: Hub
    clone: Clone
    told: Told
    standings: Standings

    @classmethod
    def of(cls, store: StateStore, hub: Hub, clone: Clone, told: Told) -> Edits:
        """The edits of one clone."""
        return cls(store, hub, clone, told, Standings(hub, clone, told))

    def plan_of(self, file: PlanFile, snapshot: Snapshot) -> Plan | None:
        """The live plan that follows a file: the newest, if it was run again."""
        return self.standings.plan_of(snapshot, file.name)

    def follow(
        self, file: PlanFile, plan: Plan, branch: str, source: Source
    ) -> Applied | None:
        """Let a plan follow a version of its file. None: there is nothing to follow.

        Raises:
            PlanFinished, PlanDiverged, PlanRenamed: nothing was done, as a person
                should know.
            PlanChanged: somebody else was quicker, several times.
            InvalidPlan, InvalidConfig: with every problem.
        """
        for _ in range(_TRIES):
            try:
                return self._follow(file, plan, branch, source)
            except PlanChanged as error:
                changed = error
                snapshot = self.store.refresh().snapshot
                plan = self.plan_of(file, snapshot) or plan
        raise changed

    def _follow(
        self, file: PlanFile, plan: Plan, branch: str, source: Source
    ) -> Applied | None:
        if plan.status in CLOSED and _word(PlanFinished.code, file) in self.told:
            # A look costs ten git commands, and there may be many such files.
            raise _finished(plan.id, plan.status, file)
        state = self.store.state
        standing = self.standings.of(file, plan, branch, state)
        if standing in (Standing.SAME, Standing.OLDER):
            return None
        if plan.status in CLOSED:
            raise _finished(plan.id, plan.status, file)
        if is_being_landed(state.snapshot.plans[plan.id]):
            raise _finished(plan.id, "being landed", file)
        if standing is Standing.APART:
            raise PlanDiverged(
                f"{file.path} was edited on another line of history than "
                f"{(plan.source.commit or '')[:12]}, which plan {plan.id} follows; the "
                "plan goes on as it was",
                hint="merge that commit, then commit the file as it should be",
            )
        applied = self._reconcile(file, plan, branch, source, state)
        if standing is Standing.AMENDED:
            self.told.add((AMENDED, file.name, file.tip))
        return applied

    def has_run(self, file: PlanFile, state: State) -> bool:
        """Whether an archived plan has run a file without a live plan, as it is now.

        Raises:
            PlanFinished: an archived plan has run another version of it.
            PlanRenamed: it is the file of a plan that is there, renamed.
        """
        word = _word(_ARCHIVED, file)
        if plan_id_of(file.name)[0] in state.snapshot.archived:
            if word in self.told:
                return True
            archived = self.standings.archived(file, state)
            if archived is not None:
                name, is_same = archived
                if not is_same:
                    raise _finished(name, "archived", file)
                self.told.add(word)
                return True
        plan = self.standings.renamed_from(file, state.snapshot)
        if plan is not None:
            raise PlanRenamed(
                f"{file.path} is {plan.source.path} of plan {plan.id}, renamed: it is "
                "not taken in a second time",
                hint="rename it back to go on editing that plan; any change in it "
                "makes it a plan of its own",
            )
        return False

    def tell(self, file: PlanFile, error: PercydError) -> None:
        """Tell of one version of a file, once for ever in this clone."""
        word = _word(error.code, file)
        if word not in self.told:
            said = "not taken in" if isinstance(error, PlanRenamed) else "not followed"
            log.warning(said, extra={"plan": file.name, "why": str(error)})
            self.told.add(word)

    def _reconcile(
        self, file: PlanFile, plan: Plan, branch: str, source: Source, state: State
    ) -> Applied:
        checked = read(file.path, file.content, file.config)
        base = Base(checked.base(branch), plan.base_commit)
        new = build(plan.id, checked.document, checked.shaped, base, source)
        refuse_landing(
            checked, new[0].land, plan.base_branch, self.clone, self.hub.remote
        )
        old = self.followed(plan, state, checked.shaped, branch)
        kept = SourceFile(plan.id, checked.parsed.extension, file.content)
        edit = Reconcile(self.store.stamp(), old, Version(*new), kept)
        try:
            return self.store.apply(edit)
        except EditRefused as error:
            raise _refused(checked, error) from error

    def followed(
        self, plan: Plan, state: State, shaped: Config, branch: str
    ) -> Version:
        """The version that the plan follows, as it was taken in.

        Filled in from the same configuration as the new one, so that only what was
        edited differs. Where it cannot be read any more, the plan's records stand for
        it, but for what percyd itself has added.
        """
        ext = state.snapshot.plans[plan.id].source
        path = f"plans/{plan.id}/source.{ext}"
        content = discover.read_file(self.hub.path, state.tip, path) if ext else None
        document = parse(path, content).document if content is not None else None
        if document is None:
            tasks = state.snapshot.plans[plan.id].tasks.values()
            return Version(plan, tuple(task for task in tasks if task.type != "land"))
        base = Base(document.base or shaped.base or branch, plan.base_commit)
        return Version(*build(plan.id, document, shaped, base, plan.source))


def _word(what: str, file: PlanFile) -> Word:
    return what, file.name, file.blob


def _finished(plan_id: str, status: str, file: PlanFile) -> PlanFinished:
    again = f"percyd plan rerun {plan_id} runs it as a new plan"
    if status == PlanStatus.FAILED:
        again = f"percyd task retry takes it up for a task that has failed; {again}"
    return PlanFinished(
        f"plan {plan_id} is {status}: the edit of {file.path} changes nothing",
        hint=again,
    )


def _refused(checked: Checked, error: EditRefused) -> InvalidPlan:
    """The refusal with the line that the document would have to change."""
    short = error.task.partition(".")[2]
    tasks = checked.document.tasks or ()
    place = next((n for n, task in enumerate(tasks) if task.id == short), 0)
    text = f"{error.message}; the plan goes on as it was"
    return InvalidPlan(
        str(checked.parsed.problem_at(text, "tasks", place, "depends_on"))
    )


def log_edit(edit: Reconciled) -> None:
    """One line with the counts, one with what stays, and one for each note."""
    plan_id, changes = edit.plan, edit.changes
    log.info("reconciled", extra={"plan": plan_id, "why": changes.words})
    if changes.kept:
        shown = ", ".join(map(str, changes.kept[:10]))
        more = len(changes.kept) - 10
        why = f"{shown}{f' and {more} more' if more > 0 else ''}: as it was"
        log.warning("kept", extra={"plan": plan_id, "why": why})
    for note in changes.notes:
        log.warning("kept", extra={"plan": plan_id, "why": note})
