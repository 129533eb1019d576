"""The port between the store and git: what a store needs of a clone and its remote.

`percyd.state.git.GitBackend` is the real one, `percyd.state.memory.MemoryBackend` its
twin for tests and simulations; both pass the same contract tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from percyd.core.refs import MergeConflict, Merged, Oid, RefMove
from percyd.repo.values import NewCommit, PushReport
from percyd.state.ways import Ways


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a state tree; ``content`` None means that it is gone."""

    path: str
    mode: str
    content: bytes | None


@dataclass(frozen=True, slots=True)
class Link:
    """One commit of the history, with its parents."""

    oid: Oid
    parents: tuple[Oid, ...]


#: Heartbeats go round this many commits of the empty tree, the same for all agents: a
#: beat leaves no garbage, and its value differs from the one before (DESIGN 2).
RING = 64


class Changes(Protocol):
    """What it takes to move a snapshot from tip to tip."""

    def read_changes(self, old: Oid, new: Oid) -> Iterator[TreeFile]:
        """The files that differ between two tips, as they are in ``new``."""
        ...


class Backend(Changes, Protocol):
    """One clone's view of the state branch, and its way to the remote."""

    def fetch_state(self, deadline_s: float | None = None) -> Oid | None:
        """The remote's tip of the state branch, its objects here; None if absent.

        Args:
            deadline_s: What it may take; None: as long as a fetch may need.

        Raises:
            RemoteUnreachable: nobody answered.
            StateRefused: the remote answered, but the branch cannot be read.
        """
        ...

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid | None]:
        """The remote's tips of exactly these refs, their objects here."""
        ...

    def adopted(self) -> Oid | None:
        """The last good tip that this clone has built on, over restarts."""
        ...

    def adopt(self, tip: Oid, before: Oid | None) -> None:
        """Remember a good tip, in the place of the one that was remembered before.

        Raises:
            GitError: another process has remembered another one meanwhile.
        """
        ...

    def tidy(self) -> None:
        """Clear up what days of work leave here; may take long, never fails."""
        ...

    @property
    def ways(self) -> Ways:
        """The commands with which a person mends the branch."""
        ...

    def history(self, old: Oid | None, new: Oid) -> list[Link]:
        """Every commit that ``new`` has and ``old`` has not, oldest first."""
        ...

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """Whether ``old`` is ``new`` or an ancestor of it."""
        ...

    def read_tree(self, tip: Oid) -> Iterator[TreeFile]:
        """Every file of the tree; ``percy.json`` first."""
        ...

    def write(self, parent: Oid | None, commits: Sequence[NewCommit]) -> list[Oid]:
        """Build a chain of commits on ``parent``; nothing is visible to others."""
        ...

    def push(self, moves: Sequence[RefMove], deadline_s: float) -> PushReport:
        """Move all refs in one atomic push, each with its own lease."""
        ...

    def ring(self) -> Sequence[Oid]:
        """The `RING` commits of heartbeats: the same in every clone."""
        ...

    def list_refs(self, prefix: str) -> Mapping[str, Oid]:
        """The remote's refs below a prefix; nothing is fetched.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        ...

    def list_exactly(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> Mapping[str, Oid]:
        """Where these refs stand on the remote, those that exist; nothing is fetched.

        What is damaged there is told as it is: good only to see that nothing moved.

        Raises:
            RemoteUnreachable: nobody answered.
        """
        ...

    def peek(self, ref: str) -> Oid | None:
        """Where a ref stands on the remote, if that can be told without a call."""
        ...

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """Merge two commits here; nothing is visible to others."""
        ...
