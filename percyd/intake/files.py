"""The plan files in one commit's tree."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from percyd.config import COMMITTED
from percyd.core.document.parse import is_plan_file, plan_id_of
from percyd.core.refs import Oid
from percyd.repo import discover

FOLDER = ".percy/plans"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """One committed plan file, and the tip in whose tree it was found.

    ``local`` tells that this clone's own branch is at that tip; ``beside`` are the
    names of all plan files of the tree.
    """

    name: str
    blob: Oid
    content: bytes
    tip: Oid
    config: bytes | None
    problem: str | None = None
    local: bool = False
    beside: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """Where it lies in the repository."""
        return f"{FOLDER}/{self.name}"


def plan_files(git_dir: Path, tip: Oid, *, local: bool = False) -> list[PlanFile]:
    """The plan files in one commit's tree."""
    config = discover.read_file(git_dir, tip, COMMITTED)
    found = [
        (name, blob, content)
        for name, _, blob, content in discover.read_files(git_dir, tip, FOLDER)
        if is_plan_file(name)
    ]
    names: dict[str, list[str]] = {}
    for name, _, _ in found:
        names.setdefault(plan_id_of(name)[0], []).append(name)
    beside = frozenset(name for name, _, _ in found)
    return [
        PlanFile(
            *(name, blob, content, tip, config),
            problem=_twins(name, names[plan_id_of(name)[0]]),
            local=local,
            beside=beside,
        )
        for name, blob, content in found
    ]


def _twins(name: str, names: list[str]) -> str | None:
    others = [other for other in names if other != name]
    if not others:
        return None
    return f"{', '.join(others)} has the same plan id; rename one of them"
