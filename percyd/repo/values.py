"""The values that cross the door to git: moves, commits, outcomes, merges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from percyd.core.refs import MergeConflict as MergeConflict
from percyd.core.refs import Merged as Merged
from percyd.core.refs import Oid as Oid
from percyd.core.refs import RefMove as RefMove


class PushOutcome(StrEnum):
    """What became of one ref of a push, and so what to do next."""

    APPLIED = "applied"
    #: Somebody else moved the ref: fetch, decide again.
    CONFLICT = "conflict"
    #: Not this ref's fault: another ref of the same atomic push is to blame.
    COLLATERAL = "collateral"
    #: The branch is checked out in the receiving repository: keep the work, try later.
    BUSY = "busy"
    #: The remote said no: final for one operation.
    REFUSED = "refused"
    #: Disk full, corruption: back off and probe.
    REMOTE_FAULT = "remote_fault"
    #: No answer: read the remote before anything else.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RefReport:
    """The outcome of one ref, with git's own words for it."""

    outcome: PushOutcome
    text: str = ""


@dataclass(frozen=True, slots=True)
class PushReport:
    """The outcome of a push, ref by ref, and what the remote's hooks printed."""

    refs: Mapping[str, RefReport]
    remote_lines: tuple[str, ...] = ()
    #: The end of git's stderr, for an error message only; never parsed for meaning.
    stderr: str = ""
    timed_out: bool = False


class Heads(NamedTuple):
    """The branches that a remote advertises, by full ref, and the one that HEAD is."""

    branches: Mapping[str, Oid]
    #: None if HEAD names a branch that is not there.
    head: str | None


@dataclass(frozen=True, slots=True)
class NewCommit:
    """A commit of the state branch to be built on top of another.

    ``changes`` maps paths to their new content, None for "remove".
    """

    message: str
    when: datetime
    changes: Mapping[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


#: Author of state commits and merges (FORMAT 4).
PERCYD = Identity("percyd", "percyd@localhost")


@dataclass(frozen=True, slots=True)
class Remote:
    """Where percyd pushes: one URL for fetch and push.

    ``is_local`` is true when the repository itself is the remote (there is no
    ``origin``), which changes how pushes are made (DESIGN 2). ``config`` holds the
    clone's own transport settings (``credential.*``, ``http.*``, ``url.*``,
    ``core.sshCommand``) that go along with every network call. ``is_rewritten`` is true
    where the user's ``url.*.insteadOf`` makes another one of the URL.
    """

    url: str
    is_local: bool = False
    is_rewritten: bool = False
    config: tuple[tuple[str, str], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Clone:
    """The user's repository."""

    #: The folder with objects and refs: ``.git``, or the bare repository itself.
    common_dir: Path
    #: The main work tree; None if there is none.
    work_tree: Path | None
    bare: bool
    name: str
