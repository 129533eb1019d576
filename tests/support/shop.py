"""One clone with percyd in it, and attempts run in it without a daemon."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from percyd.core.ids import plan_branch
from percyd.core.operations.agents import Join
from percyd.core.operations.base import Operation
from percyd.core.operations.claims import Claim
from percyd.core.operations.plans import TakeIn
from percyd.core.records import Agent, Plan, Task
from percyd.core.schedule import Rested
from percyd.parking import Parking
from percyd.repo.worktrees import SlotClone
from percyd.runners.registry import registry
from percyd.session import Percyd
from percyd.settings import Config
from percyd.state.store import StateStore
from percyd.state.tickets import Applied
from percyd.work.leash import Leash
from percyd.work.prompt import Prompts
from percyd.work.slot import WorkSlot
from percyd.work.supervise import SystemProcesses
from percyd.work.upload import Pace
from percyd.work.worker import Everything
from percyd.work.workshop import Workshop
from tests.support.gitrepo import git, make_bare, make_repo, refs
from tests.support.state import agent, plan, task

FILES = {"README.md": "hello\n", "src/a.txt": "a\n", "src/b.txt": "b\n"}


class Shop:
    """A clone, its remote, and one slot of one agent."""

    def __init__(
        self,
        folder: Path,
        files: Mapping[str, str] | None = None,
        url: str | None = None,
        *,
        has_remote: bool = True,
    ) -> None:
        self.clone = make_repo(folder / "shop", files or FILES)
        self.remote = self.clone / ".git"
        if has_remote:
            self.remote = make_bare(folder / "shop.git")
            git(self.clone, "remote", "add", "origin", url or str(self.remote))
            git(self.clone, "push", "-q", "-u", "origin", "main")
        self.percyd = Percyd.open(self.clone, dict(os.environ))
        self.percyd.initialise("main")
        self._processes = SystemProcesses(self.percyd.clock)
        self.leash = Leash()
        self.agent: Agent = agent()
        self.store.apply(Join(self.store.stamp(), self.agent))
        self.slot_clone = SlotClone.open(self.percyd.home.slot(0), self.percyd.hub)

    @property
    def store(self) -> StateStore:
        """The store of this clone."""
        return self.percyd.store

    def close(self) -> None:
        self._processes.close()
        self.percyd.close()

    def take_in(self, *tasks: Task, **fields: Any) -> None:
        """A plan ``p`` with these tasks, on the remote's main."""
        tip = self.percyd.hub.fetch_refs(["refs/heads/main"])["refs/heads/main"]
        record: Plan = plan(base=tip or "", **fields)
        self.store.apply(TakeIn(self.store.stamp(), record, tasks))

    def claim(self, rested: Rested | None = None) -> Task:
        """Claim the best task."""
        tokens = (self.store.token(),)
        operation = Claim(
            self.store.stamp(), self.agent.id, tokens, rested or Everything()
        )
        decision = self.store.apply(operation).decision
        assert decision is not None, "nothing was ready"
        (claimed,) = decision.tasks
        return claimed

    def run(
        self,
        claimed: Task | None = None,
        *,
        config: Config | None = None,
        before_end: Callable[[], object] | None = None,
        pace: Pace | None = None,
    ) -> Task:
        """Run one attempt to its end; answers the task as it is then."""
        claimed = claimed or self.claim()
        shop = Workshop(
            store=self.store,
            hub=self.percyd.hub,
            home=self.percyd.home,
            clock=self.percyd.clock,
            processes=self._processes,
            runners=registry(config or Config()),
            environ=os.environ,
            author=None,
            grace_s=0.5,
            parking=Parking(self.percyd.home.parked, self.percyd.clock),
            prompts=Prompts.of(self.clone),
            pace=pace or Pace(),
        )

        def settle(operations: Sequence[Operation]) -> Applied:
            if before_end is not None:
                before_end()
            return self.store.submit(operations)[-1].result()

        WorkSlot(shop, self.slot_clone).run(claimed, settle, self.leash)
        return self.task(claimed.id)

    def attempt(self, command: str, **fields: object) -> Task:
        """A plan of one ``run:`` task ``p.a``, and its first attempt run."""
        self.take_in(task("p", "a", run=command, **fields))
        return self.run()

    def task(self, name: str) -> Task:
        self.store.refresh()
        found = self.store.state.snapshot.task(name)
        assert found is not None
        return found

    def file(self, path: str, ref: str | None = None) -> str:
        """A file on the integration branch, or on another ref of the remote."""
        return git(self.remote, "show", f"{ref or plan_branch('p')}:{path}")

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        return refs(self.remote, prefix)

    def worktrees(self) -> list[str]:
        """The names of the worktrees that are left."""
        return [path.name for path in self.slot_clone.worktrees()]
