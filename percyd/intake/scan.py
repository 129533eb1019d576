"""The plan files of the base branch, as they are committed, become plans (DESIGN 4).

Only committed files count: intake reads one branch, at its local tip and at the
remote's, never the working directory. Every trigger ends in the same idempotent
operation, keyed by plan and blob, so that ten triggers make one plan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from percyd.clock import Clock
from percyd.core.document.names import FOLDER, is_plan_file, plan_id_of
from percyd.core.edges import CLOSED
from percyd.core.operations.base import Operation
from percyd.core.operations.plans import TakeIn
from percyd.core.operations.reconcile import Reconciled
from percyd.core.records import Plan, Source
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot, SourceFile
from percyd.errors import (
    BaseMissing,
    ContentionError,
    InvalidConfig,
    InvalidPlan,
    PercydError,
    PlanChanged,
    PlanExists,
    PushRefused,
    StatePushRefused,
    UnsupportedRepository,
)
from percyd.failpoints import hit
from percyd.intake.base import base_branch
from percyd.intake.build import Base, build
from percyd.intake.documents import PROBLEMS_SHOWN as PROBLEMS_SHOWN
from percyd.intake.documents import lines as lines
from percyd.intake.documents import read, refuse_landing
from percyd.intake.edits import REPORTS, Edits, log_edit
from percyd.intake.files import PlanFile, plan_files
from percyd.repo import discover, lineage
from percyd.repo.discover import Clone
from percyd.repo.hub import Hub
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import Heads
from percyd.settings import Config
from percyd.state.store import StateStore
from percyd.state.tickets import Applied

log = logging.getLogger(__name__)

#: What is wrong with a plan file itself, or with what it asks for.
#: A push is refused for a plan's own branch: a rule of the remote, a name in the way.
REFUSALS = (
    *(InvalidPlan, InvalidConfig, PlanExists, UnsupportedRepository),
    *(PushRefused, ContentionError),
)
#: Of these, what somebody may mend without touching the plan file.
MAY_PASS = (
    BaseMissing,
    PlanExists,
    UnsupportedRepository,
    PushRefused,
    ContentionError,
)
#: A file that was saved so lately is about to be committed, seconds.
_COMMITTING_S = 5.0
#: What of the plans decides whether the files are looked at again.
_Plans = frozenset[tuple[str, bool, str | None]]
#: The base branch's tips: the local one, the remote's.
_TwoTips = tuple[Oid | None, Oid | None]


@dataclass(slots=True)
class Intake:
    """Takes in the plans of one clone's base branch."""

    store: StateStore
    hub: Hub
    clone: Clone
    config: Config
    edits: Edits
    clock: Clock
    #: How a new plan is committed, where something is to travel behind it; what it is
    #: given besides is called before anything of that begins.
    apply: Callable[[Operation, Callable[[Applied], object]], Applied] | None = None
    problems: list[str] = field(default_factory=list)
    _branch: str | None = None
    _reader: ObjectReader | None = None
    #: The two tips that were read last, and what was found there.
    _read: tuple[_TwoTips, list[PlanFile]] | None = None
    #: The remote's tip, while it is the one of this very look.
    _fresh: Oid | None = None
    _submitter: tuple[str | None] | None = None
    _seen: _TwoTips | None = None
    _plans: _Plans = frozenset()
    _reported: set[tuple[str, str]] = field(default_factory=set)
    _mentioned: set[str] = field(default_factory=set)
    _has_looked: bool = False

    def step(self, listed: Mapping[str, Oid] | None = None) -> list[Applied]:
        """Take in what is new on the base branch, if one of its tips has moved.

        Args:
            listed: Where branches stood on the remote a moment ago, if that is known.

        Raises:
            PercydError: what is nobody's plan's fault; the next step tries again.
        """
        tips = self._tips(listed)
        self._fresh = tips[1]
        try:
            return self._take_in(tips)
        finally:
            self._fresh = None

    def _take_in(self, tips: _TwoTips) -> list[Applied]:
        self._mention_uncommitted(tips)
        plans = _plans(self.store.state.snapshot)
        if (tips, plans) == (self._seen, self._plans):
            return []
        taken = []
        self.problems = []
        again = False
        for file in self._files(*tips):
            try:
                applied = self.take_file(file)
            except REPORTS as error:
                self.edits.tell(file, error)
                continue
            except PlanChanged:
                again = True  # by somebody else: the next look sees how
                continue
            except StatePushRefused:
                raise  # nobody's plan can be taken in
            except REFUSALS as error:
                self._report(file, error)
                again = again or isinstance(error, MAY_PASS)
                continue
            if applied is not None and applied.commit is not None:
                if isinstance(applied.decision, Reconciled):
                    log_edit(applied.decision)
                self._mention_what_is_not_pushed(file, *tips)
                taken.append(applied)
        # What the remote alone can mend is looked at again each time.
        self._seen = None if again else tips
        self._plans = plans
        return taken

    def _mention_what_is_not_pushed(
        self, file: PlanFile, local: Oid | None, remote: Oid | None
    ) -> None:
        if local is None or remote is None or file.tip != local:
            return
        if self.hub.remote.is_local:
            return
        ahead = discover.count_between(self.clone, remote, local)
        if ahead:
            what = "1 commit is" if ahead == 1 else f"{ahead} commits are"
            why = f"work starts from the remote's {self.branch}; {what} not pushed"
            log.warning("not pushed", extra={"why": why})

    def _mention_uncommitted(self, tips: tuple[Oid | None, Oid | None]) -> None:
        """Say once of a saved plan file that it starts nothing yet (DESIGN 4)."""
        top = self.clone.work_tree
        if top is None or self.config.trigger == "push":
            return
        folder = top / FOLDER
        saved = {
            path.name
            for path in folder.glob("*")
            if is_plan_file(path.name) and path.is_file() and not path.is_symlink()
            # Not at the first look: whoever starts percyd is through with saving.
            if not (self._has_looked and self._is_just_saved(path))
        }
        self._has_looked = True
        if saved <= self._mentioned:
            return
        committed = {file.name for file in self._files(*tips)}
        for name in sorted(saved - committed - self._mentioned):
            why = f"not committed on {self.branch}: nothing starts"
            log.warning("saved", extra={"plan": name, "why": why})
        self._mentioned |= saved

    def _is_just_saved(self, path: Path) -> bool:
        try:
            age_s = self.clock.now().timestamp() - path.stat().st_mtime
        except OSError:
            return True  # gone already
        return abs(age_s) < _COMMITTING_S

    def files(self) -> list[PlanFile]:
        """Every committed plan file of the base branch."""
        return self._files(*self._tips())

    def file_of(self, plan: Plan) -> PlanFile | None:
        """The committed file of a plan, if there is one; its ending may have changed."""
        path = plan.source.path
        if plan.source.kind != "file" or path is None:
            return None
        files = {file.path: file for file in self.files()}
        stem = plan_id_of(path)[0]
        others = (file for file in files.values() if plan_id_of(file.name)[0] == stem)
        return files.get(path) or next(others, None)

    def source_of(self, file: PlanFile) -> Source:
        """What a plan's record says of the version of a file that it follows."""
        return Source(
            kind="file",
            path=file.path,
            commit=file.tip,
            blob=file.blob,
            submitted_by=self.submitter(),
        )

    def remote_tip(self) -> Oid:
        """The remote's tip of the base branch, its objects in the hub.

        Raises:
            InvalidPlan: the branch is not there.
        """
        return self._base(self.branch).commit

    def submitter(self) -> str | None:
        """Who takes in plans here."""
        if self._submitter is None:
            identity = discover.user_identity(self.clone)
            self._submitter = (identity.name if identity else None,)
        return self._submitter[0]

    def _tips(self, listed: Mapping[str, Oid] | None = None) -> _TwoTips:
        """The base branch's tips: the local one, the remote's; their objects are here."""
        ref = f"refs/heads/{self.branch}"
        local = self._local_tip(self.branch)
        known = self._read[0][1] if self._read else None
        if listed is not None and known is not None and known == listed.get(ref):
            return local, known
        return local, self.hub.fetch_refs([ref])[ref]

    @property
    def branch(self) -> str:
        """The branch that plans are read from."""
        if self._branch is None:
            chosen = self.config.base
            # Where it is configured, nobody need be asked.
            heads = self.hub.heads() if chosen is None else Heads({}, None)
            self._branch = base_branch(heads, self.clone, chosen)
        return self._branch

    def _local_tip(self, branch: str) -> Oid | None:
        if self.config.trigger == "push":
            return None
        return self._own.resolve(f"refs/heads/{branch}")

    @property
    def _own(self) -> ObjectReader:
        """Reads the clone; it stays up, as the local tip is asked for at every look."""
        if self._reader is None:
            self._reader = ObjectReader(Git(self.clone.common_dir))
        return self._reader

    def close(self) -> None:
        """End the process that reads the clone's branch, if there is one."""
        if self._reader is not None:
            self._reader.close()

    def _files(self, local: Oid | None, remote: Oid | None) -> list[PlanFile]:
        """The plan files of the newer tip; of both where neither is the newer."""
        if self._read is None or self._read[0] != (local, remote):
            self._read = (local, remote), self._read_files(local, remote)
        return self._read[1]

    def _read_files(self, local: Oid | None, remote: Oid | None) -> list[PlanFile]:
        places: list[tuple[ObjectReader, Oid]] = []
        if remote is not None:
            places.append((self.hub.reader, remote))
        if local is not None and local != remote:
            here = self._own, local
            if remote is None or self._is_ahead(local, remote):
                places = [here]
            elif not discover.follows(self.hub.path, remote, local):
                places.append(here)
        return [
            file
            for reader, tip in places
            for file in plan_files(reader, tip, local=tip == local)
        ]

    def _is_ahead(self, local: Oid, remote: Oid) -> bool:
        """Whether the clone's own branch is ahead of the remote's."""
        if self._own.resolve(f"{remote}^{{commit}}") is None:
            return False
        if lineage.line_between(self._own, remote, local) is not None:
            return True
        return discover.follows(self.clone.common_dir, local, remote)

    def take_file(self, file: PlanFile) -> Applied | None:
        """Take in one plan file, or let its plan follow it. None: all is so already.

        Raises:
            InvalidPlan, InvalidConfig: with every problem.
            PlanExists: there is another plan of this id.
            PlanFinished, PlanDiverged, PlanRenamed, PlanChanged: see `Edits`.
        """
        plan_id, problem = plan_id_of(file.name)
        problem = problem or file.problem
        if problem:
            raise InvalidPlan(f"{file.path}:1: id: {problem}")
        source = self.source_of(file)
        state = self.store.state
        plan = self.edits.plan_of(file, state.snapshot)
        if plan is not None:
            return self.edits.follow(file, plan, self.branch, source)
        if plan_id not in state.snapshot.plans and self.edits.has_run(file, state):
            return None
        return self.take(plan_id, file.name, file.content, source, file.config)

    def take(
        self,
        plan_id: str,
        name: str,
        content: bytes,
        source: Source,
        config: bytes | None,
    ) -> Applied:
        """Take in a document: check it, fill it in, and commit it to the state."""
        checked = read(source.path or name, content, config)
        base = self._base(checked.base(self.branch))
        plan, tasks = build(plan_id, checked.document, checked.shaped, base, source)
        refuse_landing(checked, plan.land, base.branch, self.clone, self.hub.remote)
        hit("taking-in")
        kept = SourceFile(plan_id, checked.parsed.extension, content)
        operation = TakeIn(self.store.stamp(), plan, tasks, kept)
        if self.apply is not None:
            return self.apply(operation, _tell)
        applied = self.store.apply(operation)
        _tell(applied)
        return applied

    def _base(self, branch: str) -> Base:
        """The remote's tip of a base branch: what the user has not pushed stays his."""
        ref = f"refs/heads/{branch}"
        tip = self._fresh if branch == self.branch else None
        tip = tip or self.hub.fetch_refs([ref])[ref]
        if tip is None:
            raise BaseMissing(
                f"base branch {branch} is not on the remote",
                hint=f"push it first: git push REMOTE {branch}",
            )
        facts = self.hub.facts(tip)
        for what, found in (
            ("submodules", facts.submodules),
            ("filter attributes", facts.filters),
        ):
            if found:
                raise UnsupportedRepository(
                    f"branch {branch} has {what}, which this version cannot handle "
                    f"safely: {found[0]}",
                    hint="choose another base branch",
                )
        return Base(branch, tip)

    def _report(self, file: PlanFile, error: PercydError) -> None:
        """Say once what is wrong with one version of a file."""
        self.problems.append(str(error))
        key = (file.name, file.blob)
        if key in self._reported:
            return
        self._reported.add(key)
        for line in str(error).splitlines():
            log.error("plan refused", extra={"plan": file.name, "why": line})


def _tell(applied: Applied) -> None:
    if applied.commit is None or applied.decision is None:
        return
    for entry in applied.decision.puts:
        if isinstance(entry, Plan):
            log.info("taken in", extra={"plan": entry.id})


def _plans(snapshot: Snapshot) -> _Plans:
    return frozenset(
        (name, state.record.status in CLOSED, state.record.source.blob)
        for name, state in snapshot.plans.items()
    )
