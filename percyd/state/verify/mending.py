"""What a repair has put right of the violations before it.

A commit cannot be taken back from the history. A ``repair`` goes on from it with records
that somebody vouches for: what it changes of what an earlier commit spoiled is mended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from percyd.core.refs import Oid
from percyd.state.verify.commits import StateCommit
from percyd.state.verify.report import Violation

#: The paths that a commit changes; None if its tree cannot be read.
Paths = frozenset[str] | None


class Mending:
    """Remembers what each spoiled commit has changed."""

    def __init__(self) -> None:
        self._spoiled: dict[Oid, Paths] = {}

    def note(self, commit: StateCommit) -> None:
        """This commit has violations.

        Those of a merge are never mended: whoever reads the branch anew refuses it.
        """
        if len(commit.link.parents) <= 1:
            self._spoiled[commit.link.oid] = _paths(commit)

    def after(self, repair: StateCommit, found: Sequence[Violation]) -> list[Violation]:
        """The violations as they are after a repair that has none of its own."""
        changed = _paths(repair) or frozenset()
        return [
            replace(violation, mended_by=repair.link.oid)
            if violation.mended_by is None and self._is_mended(violation, changed)
            else violation
            for violation in found
        ]

    def _is_mended(self, violation: Violation, changed: frozenset[str]) -> bool:
        if violation.commit not in self._spoiled:
            return False
        spoiled = self._spoiled[violation.commit]
        if spoiled is None:
            return True
        if violation.path:
            return violation.path in changed
        return not spoiled.isdisjoint(changed)


def _paths(commit: StateCommit) -> Paths:
    if commit.files is None:
        return None
    return frozenset(file.path for file in commit.files)
