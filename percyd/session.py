"""percyd in one clone: where every command and every loop starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from percyd.clock import Clock, Randomness, SystemClock, SystemRandomness
from percyd.config import COMMITTED, LOCAL, Effective, load
from percyd.core.ids import PLAN_REFS, short_ref
from percyd.core.refs import Oid
from percyd.errors import NotInitialised, PercydError, StateRefused, UsageError
from percyd.home import FileLock, Home, state_root, workspace_of
from percyd.repo import discover
from percyd.repo.discover import Clone
from percyd.repo.hub import Hub
from percyd.repo.remotes import folder_of, resolve_remote
from percyd.repo.runner import require_git
from percyd.repo.values import Remote
from percyd.state import reader
from percyd.state.follower import Follower, State
from percyd.state.git import GitBackend
from percyd.state.kept import Kept

if TYPE_CHECKING:
    from percyd.core.records import Agent
    from percyd.core.snapshot import Snapshot
    from percyd.intake.scan import Intake
    from percyd.state.store import StateStore

#: Branches of these names leave no room for percyd's own refs beside them.
BLOCKING = ("refs/heads/percy", "refs/heads/agent")
#: What percyd moves itself.
OWN_BRANCHES = tuple(f"{ref}/" for ref in BLOCKING)


@dataclass(frozen=True)
class Percyd:
    """percyd in one clone: everything that a command or a loop starts from."""

    clone: Clone
    effective: Effective
    remote: Remote
    home: Home
    environ: Mapping[str, str]
    clock: Clock
    randomness: Randomness

    @classmethod
    def open(
        cls,
        start: Path,
        environ: Mapping[str, str],
        flags: Mapping[str, object] | None = None,
        *,
        in_workspace: bool = False,
    ) -> Percyd:
        """Find the clone around ``start`` and read its configuration.

        Raises:
            NotARepository: there is none.
            UsageError: ``start`` is inside a percyd workspace, unless allowed.
            InvalidConfig: see `percyd.config.load`.
        """
        root = state_root(environ)
        if not in_workspace and workspace_of(start, root):
            raise UsageError(
                "this is a percyd workspace: a task's own copy of the repository",
                hint="run the command in your clone",
            )
        require_git(environ)
        clone = discover.discover(start)
        effective = load(*config_files(clone), environ, flags or {})
        remote = resolve_remote(clone, effective.config.remote)
        home = Home.of(root, clone.name, clone.common_dir)
        return cls(
            clone, effective, remote, home, environ, SystemClock(), SystemRandomness()
        )

    @cached_property
    def hub(self) -> Hub:
        """Percyd's own repository, made at its first use."""
        self.home.ensure()
        return Hub.open(self.home.hub, self.remote, self.environ)

    @cached_property
    def store(self) -> StateStore:
        """The way to the state."""
        from percyd.state.store import StateStore

        return StateStore(GitBackend(self.hub), self.clock, self.randomness)

    @cached_property
    def intake(self) -> Intake:
        """The way in for plans."""
        from percyd.intake.edits import Edits
        from percyd.intake.scan import Intake
        from percyd.intake.told import Told

        return Intake(
            store=self.store,
            hub=self.hub,
            clone=self.clone,
            config=self.effective.config,
            edits=Edits.of(self.store, self.hub, self.clone, Told(self.home.told)),
            clock=self.clock,
        )

    def initialise(self, base: str | None) -> str:
        """Push the root of the state branch; answers the base branch.

        Losing the race for it is success. Nothing is written before the remote and
        its base branch are known to be there.

        Raises:
            UsageError: an unborn HEAD, no base branch on the remote, a branch in the
                way of percyd's own.
            StateRefused: there was a state branch before, and it is gone.
        """
        from percyd.core.operations.agents import Init
        from percyd.intake.base import base_branch

        if discover.is_unborn(self.clone):
            raise UsageError(
                "the repository has no commit yet", hint="make a first commit"
            )
        try:
            self.store.refresh()  # a branch that is refused is not begun anew
        except NotInitialised:
            _refuse_lost_state([*self.hub.heads().branches])
        heads = self.hub.heads()
        for ref in BLOCKING:
            if ref in heads.branches:
                raise UsageError(
                    f"the remote has a branch named {short_ref(ref)}, which blocks "
                    f"percyd's own branches {short_ref(ref)}/...",
                    hint="rename it",
                )
        chosen = base or self.effective.config.base
        branch = base_branch(heads, self.clone, chosen)
        if f"refs/heads/{branch}" not in heads.branches:
            raise UsageError(
                f"base branch {branch} is not on the remote",
                hint=f"push {branch} first",
            )
        project = self.effective.config.project or self._project()
        self.store.apply(Init(self.store.stamp(), project))
        return branch

    def _project(self) -> str:
        last = self.remote.url.rstrip("/").rpartition("/")[2].rpartition(":")[2]
        return last.removesuffix(".git") or self.clone.name

    def refresh(self) -> State:
        """Read the remote, and remember when: an old answer is shown with its age."""
        return self._remembered(self.store.refresh())

    @cached_property
    def kept(self) -> Kept:
        """What the last reader of this clone has decoded."""
        return Kept(self.home.path / "kept")

    @cached_property
    def _follower(self) -> Follower:
        return Follower(GitBackend(self.hub), self.clock, first=self.kept.read)

    def look(self) -> State:
        """The same for a command that only looks: it need not decode all by itself."""
        return self._remembered(self._follower.refresh())

    def look_again(self, refs: Sequence[str]) -> tuple[State, Mapping[str, Oid]]:
        """The same for one that watches: one call, that tells where ``refs`` stand."""
        found = self._follower.look(refs)
        state = self._follower.state or self._follower.refresh()
        return self._remembered(state), found

    def look_at(self, refs: Sequence[str]) -> Mapping[str, Oid]:
        """The same as `refresh` in one call, with where ``refs`` stand on the remote."""
        found = self.store.look(refs)
        self._remembered(self.store.state)
        return found

    def _remembered(self, state: State) -> State:
        with suppress(OSError):  # only for the age of an old answer
            self.home.last_read.touch()
        return state

    def last_known(self) -> State | None:
        """The state of the last good tip of this clone, without asking the remote."""
        return self._last(reader.read)

    def last_look(self) -> State | None:
        """The same for a command that only looks."""
        return self._last(self.kept.read)

    def _last(self, read: reader.Read) -> State | None:
        backend = GitBackend(self.hub)
        tip = backend.adopted()
        if tip is None:
            return None
        snapshot = read(backend, tip)
        read_s = 0.0
        with suppress(OSError):
            read_s = self.home.last_read.stat().st_mtime
        return State(tip, snapshot, datetime.fromtimestamp(read_s, UTC), 0)

    def not_taken_in(self, snapshot: Snapshot) -> list[str]:
        """Plan files of the work tree that are no plans; why not takes a longer look."""
        from percyd.core.document.names import FOLDER, is_plan_file, plan_id_of

        if self.clone.work_tree is None:
            return []
        known = (snapshot.plans, snapshot.archived)
        new = sorted(
            path.name
            for path in (self.clone.work_tree / FOLDER).glob("*")
            if is_plan_file(path.name)
            and not any(plan_id_of(path.name)[0] in plans for plans in known)
        )
        if not new:
            return []
        more = f" and {len(new) - 3} more" if len(new) > 3 else ""
        what = "percyd serve takes in what is committed on the base branch and good"
        names = f"{', '.join(new[:3])}{more}"
        return [f"not taken in: {names}; {what}, percyd doctor says what is not"]

    def own_agents(self, snapshot: Snapshot) -> tuple[list[Agent], list[Agent]]:
        """The joined agents of this clone: who lives, and whose process is gone.

        Of other machines nobody knows that before their leases are over.
        """
        from percyd.core.edges import AgentStatus

        alive: list[Agent] = []
        gone: list[Agent] = []
        for name, agent in sorted(snapshot.agents.items()):
            path = self.home.lock(name)
            if agent.status is AgentStatus.JOINED and path.exists():
                (gone if FileLock(path).holder() is None else alive).append(agent)
        return alive, gone

    def warnings(self) -> list[str]:
        """What a person should know of the remote beside the state, each in one line."""
        try:
            delayed = [f"{what}; {hint}" for what, hint in self.checked_out()]
            return [*delayed, *self._base_warnings()]
        except PercydError as error:
            return [str(error)]  # it is no reason to show nothing

    def checked_out(self) -> list[tuple[str, str]]:
        """The branches of percyd's own that cannot move, and what to do about each.

        Git moves no branch that is checked out where it is pushed to (DESIGN 2).
        """
        folder = folder_of(self.remote)
        if folder is None:
            return []
        where = "here" if self.remote.is_local else "in the remote"
        what = f"is checked out {where}, so that what has to move it waits"
        return [
            (f"branch_checked_out: {name} {what}", "check out another branch there")
            for name in sorted(discover.checked_out_branches(folder))
            if f"refs/heads/{name}".startswith(OWN_BRANCHES)
        ]

    def _base_warnings(self) -> list[str]:
        # Not by `intake`, which brings all that reads plan documents with it.
        from percyd.intake.base import base_branch

        chosen = self.effective.config.base
        heads = self.hub.heads(chosen or "*")
        branch = base_branch(heads, self.clone, chosen)
        local = discover.local_branches(self.clone).get(branch)
        remote = heads.branches.get(f"refs/heads/{branch}")
        if local is None or remote is None or local == remote:
            return []
        ahead = discover.count_between(self.clone, remote, local)
        if not ahead:
            return []
        commits = "1 commit" if ahead == 1 else f"{ahead} commits"
        found = f"local {branch} is {commits} ahead of the remote"
        return [f"{found}: work starts from the remote's {branch}, without them"]

    def close(self) -> None:
        """End the long-lived readers, if there are any."""
        if "intake" in self.__dict__:
            self.intake.close()
        if "hub" in self.__dict__:
            self.hub.close()


def config_files(clone: Clone) -> tuple[bytes | None, bytes | None]:
    """The configuration's two files, as the working files have them."""
    if clone.work_tree is None:
        branch = discover.current_branch(clone)
        tip = discover.local_branches(clone).get(branch or "")
        if tip is None:
            return None, None
        return discover.read_file(clone.common_dir, tip, COMMITTED), None
    return _read(clone.work_tree / COMMITTED), _read(clone.work_tree / LOCAL)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _refuse_lost_state(branches: Sequence[str]) -> None:
    """Plans without a state: it was deleted, and this clone never knew it."""
    plans = sum(branch.startswith(PLAN_REFS) for branch in branches)
    if plans:
        raise StateRefused(
            f"the remote has percy/plan branches ({plans}) and no percy/state: it was "
            "deleted",
            hint="push it back from a clone that knows it, where percyd doctor says "
            "how; to begin anew, delete those branches first",
        )
