"""The plan files of the base branch, as they are committed, become plans (DESIGN 4).

Only committed files count: intake reads one branch, at its local tip and at the
remote's, never the working directory. Every trigger ends in the same idempotent
operation, keyed by plan and blob, so that ten triggers make one plan.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from percyd.config import COMMITTED, shaping
from percyd.core.document.parse import is_plan_file, parse, plan_id_of
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Source
from percyd.core.refs import Oid
from percyd.core.snapshot import SourceFile
from percyd.errors import (
    BaseMissing,
    InvalidConfig,
    InvalidPlan,
    PercydError,
    PlanExists,
    UnsupportedRepository,
)
from percyd.failpoints import hit
from percyd.intake.base import base_branch
from percyd.intake.build import Base, build
from percyd.repo import discover
from percyd.repo.discover import Clone
from percyd.repo.hub import Hub
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.settings import Config
from percyd.state.store import StateStore
from percyd.state.tickets import Applied

log = logging.getLogger(__name__)

FOLDER = ".percy/plans"
#: What is wrong with a plan file itself, or with what it asks for.
REFUSALS = (InvalidPlan, InvalidConfig, PlanExists, UnsupportedRepository)
#: Of these, what somebody may mend without touching the plan file.
MAY_PASS = (BaseMissing, PlanExists, UnsupportedRepository)
PROBLEMS_SHOWN = 50
_NOT_MOVED = (
    "is auto, but {} is checked out in this repository, which is its own remote; "
    "manual is allowed, or another branch checked out"
)


@dataclass(frozen=True, slots=True)
class PlanFile:
    """One committed plan file, and the tip in whose tree it was found."""

    name: str
    blob: Oid
    content: bytes
    tip: Oid
    config: bytes | None
    problem: str | None = None


def plan_files(git_dir: Path, tip: Oid) -> list[PlanFile]:
    """The plan files in one commit's tree."""
    config = discover.read_file(git_dir, tip, COMMITTED)
    found = [
        PlanFile(name, blob, content, tip, config)
        for name, _, blob, content in discover.read_files(git_dir, tip, FOLDER)
        if is_plan_file(name)
    ]
    names: dict[str, list[str]] = {}
    for file in found:
        names.setdefault(plan_id_of(file.name)[0], []).append(file.name)
    return [
        replace(file, problem=_twins(file.name, names[plan_id_of(file.name)[0]]))
        for file in found
    ]


def _twins(name: str, names: list[str]) -> str | None:
    others = [other for other in names if other != name]
    if not others:
        return None
    return f"{', '.join(others)} has the same plan id; rename one of them"


def lines(problems: Sequence[object]) -> str:
    """The first problems, one a line."""
    shown = [str(problem) for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        shown.append(f"and {len(problems) - PROBLEMS_SHOWN} more")
    return "\n".join(shown)


@dataclass(slots=True)
class Intake:
    """Takes in the plans of one clone's base branch."""

    store: StateStore
    hub: Hub
    clone: Clone
    config: Config
    problems: list[str] = field(default_factory=list)
    _branch: str | None = None
    #: Stays up: the local tip is asked for at every look.
    _local: ObjectReader | None = None
    _seen: tuple[Oid | None, Oid | None] | None = None
    _reported: set[tuple[str, str]] = field(default_factory=set)
    _mentioned: set[str] = field(default_factory=set)

    def step(self, listed: Mapping[str, Oid] | None = None) -> list[Applied]:
        """Take in what is new on the base branch, if one of its tips has moved.

        Args:
            listed: Where branches stood on the remote a moment ago, if that is known.

        Raises:
            PercydError: what is nobody's plan's fault; the next step tries again.
        """
        tips = self._tips(listed)
        self._mention_uncommitted(tips)
        if tips == self._seen:
            return []
        taken = []
        self.problems = []
        again = False
        for file in self._files(*tips):
            try:
                applied = self.take_file(file)
            except REFUSALS as error:
                self._report(file, error)
                again = again or isinstance(error, MAY_PASS)
                continue
            if applied is not None and applied.commit is not None:
                log.info("taken in", extra={"plan": plan_id_of(file.name)[0]})
                self._mention_what_is_not_pushed(file, *tips)
                taken.append(applied)
        # What the remote alone can mend is looked at again each time.
        self._seen = None if again else tips
        return taken

    def _mention_what_is_not_pushed(
        self, file: PlanFile, local: Oid | None, remote: Oid | None
    ) -> None:
        if local is None or remote is None or file.tip != local:
            return
        ahead = discover.count_between(self.clone, remote, local)
        if ahead and not self.hub.remote.is_local:
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
        }
        if saved <= self._mentioned:
            return
        committed = {file.name for file in self._files(*tips)}
        for name in sorted(saved - committed - self._mentioned):
            why = f"not committed on {self.branch}: nothing starts"
            log.warning("saved", extra={"plan": name, "why": why})
        self._mentioned |= saved

    def files(self) -> list[PlanFile]:
        """Every committed plan file of the base branch."""
        return self._files(*self._tips())

    def remote_tip(self) -> Oid:
        """The remote's tip of the base branch, its objects in the hub.

        Raises:
            InvalidPlan: the branch is not there.
        """
        return self._base(self.branch).commit

    def submitter(self) -> str | None:
        """Who takes in plans here."""
        identity = discover.user_identity(self.clone)
        return identity.name if identity else None

    def _tips(
        self, listed: Mapping[str, Oid] | None = None
    ) -> tuple[Oid | None, Oid | None]:
        """The base branch's tips: the local one, the remote's; their objects are here."""
        ref = f"refs/heads/{self.branch}"
        local = self._local_tip(self.branch)
        if listed is not None and self._seen == (local, listed.get(ref)):
            return self._seen
        return local, self.hub.fetch_refs([ref])[ref]

    @property
    def branch(self) -> str:
        """The branch that plans are read from."""
        if self._branch is None:
            self._branch = base_branch(self.hub, self.clone, self.config.base)
        return self._branch

    def _local_tip(self, branch: str) -> Oid | None:
        if self.config.trigger == "push":
            return None
        if self._local is None:
            self._local = ObjectReader(Git(self.clone.common_dir))
        return self._local.resolve(f"refs/heads/{branch}")

    def close(self) -> None:
        """End the process that reads the clone's branch, if there is one."""
        if self._local is not None:
            self._local.close()

    def _files(self, local: Oid | None, remote: Oid | None) -> list[PlanFile]:
        """The plan files of both tips; of one name, that of the newer tip."""
        tips: list[tuple[Path, Oid]] = []
        if remote is not None:
            tips.append((self.hub.path, remote))
        if local is not None and local != remote:
            ahead = remote is not None and discover.follows(
                self.clone.common_dir, local, remote
            )
            tips.insert(
                0 if ahead or remote is None else 1, (self.clone.common_dir, local)
            )
        found: dict[str, PlanFile] = {}
        for git_dir, tip in tips:
            for file in plan_files(git_dir, tip):
                found.setdefault(file.name, file)
        return list(found.values())

    def take_file(self, file: PlanFile) -> Applied | None:
        """Take in one plan file. None: the plan is there, from this very document.

        Raises:
            InvalidPlan, InvalidConfig: with every problem.
            PlanExists: there is another plan of this id, or the file has changed.
        """
        plan_id, problem = plan_id_of(file.name)
        problem = problem or file.problem
        if problem:
            raise InvalidPlan(f"{FOLDER}/{file.name}:1: id: {problem}")
        state = self.store.state.snapshot.plan(plan_id)
        if state is not None and self._is_old(file, state.record.source):
            return None
        if state is not None and state.record.source.path == f"{FOLDER}/{file.name}":
            raise PlanExists(
                f"{FOLDER}/{file.name} has changed since it was taken in; the plan "
                "goes on as it was",
                hint="put what is new into a plan file of another name",
            )
        source = Source(
            kind="file",
            path=f"{FOLDER}/{file.name}",
            commit=file.tip,
            blob=file.blob,
            submitted_by=self.submitter(),
        )
        return self.take(plan_id, file.name, file.content, source, file.config)

    def _is_old(self, file: PlanFile, source: Source) -> bool:
        """Whether the plan was taken in from this version, or from a later commit.

        A clone that has not pulled for a while still shows the old version.
        """
        if source.blob == file.blob:
            return True
        if source.commit is None:
            return False
        places = (self.clone.common_dir, self.hub.path)
        return any(discover.follows(p, source.commit, file.tip) for p in places)

    def take(
        self,
        plan_id: str,
        name: str,
        content: bytes,
        source: Source,
        config: bytes | None,
    ) -> Applied:
        """Take in a document: check it, fill it in, and commit it to the state."""
        shown = source.path or name
        parsed = parse(shown, content)
        if parsed.document is None:
            raise InvalidPlan(lines(parsed.problems))
        shaped = shaping(config)
        missing = parsed.missing_runner(shaped.runner)
        if missing:
            raise InvalidPlan(lines(missing))
        base = self._base(parsed.document.base or shaped.base or self.branch)
        plan, tasks = build(plan_id, parsed.document, shaped, base, source)
        if plan.land == "auto" and not discover.may_move(
            self.clone, self.hub.remote, base.branch
        ):
            problem = parsed.problem_at(_NOT_MOVED.format(base.branch), "land")
            raise InvalidPlan(str(problem))
        hit("taking-in")
        kept = SourceFile(plan_id, parsed.extension, content)
        return self.store.apply(TakeIn(self.store.stamp(), plan, tasks, kept))

    def _base(self, branch: str) -> Base:
        """The remote's tip of a base branch: what the user has not pushed stays his."""
        ref = f"refs/heads/{branch}"
        tip = self.hub.fetch_refs([ref])[ref]
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
