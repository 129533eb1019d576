"""The plan files in one commit's tree."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.config import COMMITTED
from percyd.core.document.names import FOLDER, is_plan_file, plan_id_of
from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import lineage
from percyd.repo.discover import FILE_LIMIT
from percyd.repo.reader import ObjectReader


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


def plan_files(
    reader: ObjectReader, tip: Oid, *, local: bool = False
) -> list[PlanFile]:
    """The plan files in one commit's tree."""
    above, _, name = COMMITTED.rpartition("/")
    configs = dict(lineage.files_in(reader, tip, above))
    config = _content(reader, configs[name]) if name in configs else None
    found = [
        (name, blob, _content(reader, blob))
        for name, blob in lineage.files_in(reader, tip, FOLDER)
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


def _content(reader: ObjectReader, blob: Oid) -> bytes:
    content = reader.read_start(blob, FILE_LIMIT + 1)
    if content is None:
        raise GitError(f"object {blob} is missing")
    return content


def _twins(name: str, names: list[str]) -> str | None:
    others = [other for other in names if other != name]
    if not others:
        return None
    return f"{', '.join(others)} has the same plan id; rename one of them"
