"""How a committed plan file stands to the plan that was taken in from it (DESIGN 4).

A plan follows one line of history. Which of two versions is the newer one is asked of
the commits, and only where these say nothing, of what the file and the plan have held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count, takewhile

from percyd.core.document.names import plan_id_of
from percyd.core.records import Plan, Source
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import StateRefused
from percyd.intake.files import PlanFile
from percyd.intake.told import Told
from percyd.repo import discover, past
from percyd.repo.discover import Clone
from percyd.repo.hub import Hub
from percyd.state.codec import decode_archive
from percyd.state.follower import State

#: Word for a tip that this clone has followed although history was rewritten.
AMENDED = "amended"
#: So much of an archive is read for its first line, which is the plan's record.
_LONGEST_LINE = 16 * 1024 * 1024


class Standing(Enum):
    """What a version of a plan file is to the plan."""

    SAME = auto()
    #: A clone that has not pulled for a while.
    OLDER = auto()
    NEWER = auto()
    #: Newer, but by a commit of this clone that takes the place of the earlier one.
    AMENDED = auto()
    #: On another line of history: only a person can say what is right.
    APART = auto()


@dataclass(slots=True)
class Standings:
    """Compares plan files with plans, in one clone."""

    hub: Hub
    clone: Clone
    told: Told
    _plans_of: Snapshot | None = None
    _plans: dict[str, Plan] = field(default_factory=dict)
    _archived: dict[str, Source | None] = field(default_factory=dict)

    def plan_of(self, snapshot: Snapshot, name: str) -> Plan | None:
        """The plan that follows a file: the newest one, if it was run again."""
        if self._plans_of is not snapshot:
            self._plans_of = snapshot
            self._plans = _by_stem(s.record for s in snapshot.plans.values())
        return self._plans.get(plan_id_of(name)[0])

    def of(self, file: PlanFile, plan: Plan, branch: str, state: State) -> Standing:
        """How a version of a plan's file stands to the plan."""
        commit = plan.source.commit
        if plan.source.blob == file.blob:
            return Standing.SAME
        if commit is None:
            return Standing.NEWER
        if self._follows(commit, file.tip):
            return Standing.OLDER
        if self._follows(file.tip, commit):
            return Standing.NEWER
        if self._is_amended(file, branch, commit):
            return Standing.AMENDED
        if self._was_taken_in(file, plan, state):
            return Standing.OLDER
        place = self.clone.common_dir if file.local else self.hub.path
        blob = plan.source.blob or ""
        if past.has_held(place, file.tip, plan.source.path or "", blob):
            return Standing.NEWER
        return Standing.APART

    def _follows(self, commit: Oid, other: Oid) -> bool:
        places = (self.clone.common_dir, self.hub.path)
        return any(discover.follows(place, commit, other) for place in places)

    def _is_amended(self, file: PlanFile, branch: str, commit: Oid) -> bool:
        """Whether this clone has rewritten the commit that the plan was taken from.

        Once for each tip: two clones that have each had the other's commit would
        change the plan to and fro for ever.
        """
        if not file.local or (AMENDED, file.name, file.tip) in self.told:
            return False
        return past.was_here(self.clone, branch, commit)

    def _was_taken_in(self, file: PlanFile, plan: Plan, state: State) -> bool:
        """Whether the plan has followed this version before, and goes by a later one."""
        kept = state.snapshot.plans[plan.id].source
        path = f"plans/{plan.id}/source.{kept}"
        return past.has_held(self.hub.path, state.tip, path, file.blob)

    def archived(self, file: PlanFile, state: State) -> tuple[str, bool] | None:
        """The newest archived plan of a file, and whether one ran this version of it."""
        stem = plan_id_of(file.name)[0]
        found = [
            (name, source)
            for name in _ids_of_runs(stem, state.snapshot)
            if (source := self._archived_source(name, state.tip)) is not None
            and source.kind == "file"
            and plan_id_of(source.path or "")[0] == stem
        ]
        if not found:
            return None
        return found[-1][0], any(source.blob == file.blob for _, source in found)

    def _archived_source(self, name: str, tip: Oid) -> Source | None:
        """Where an archived plan came from; archives never change."""
        if name not in self._archived:
            start = self.hub.reader.read_start(
                f"{tip}:archive/{name}.jsonl", _LONGEST_LINE
            )
            first = (start or b"").partition(b"\n")[0]
            try:
                self._archived[name] = decode_archive(name, first)[0].source
            except StateRefused:
                self._archived[name] = None  # `percyd verify` reports it
        return self._archived[name]

    def renamed_from(self, file: PlanFile, snapshot: Snapshot) -> Plan | None:
        """The plan of a file that is gone and had this very content."""
        for state in snapshot.plans.values():
            source = state.record.source
            if source.kind != "file" or source.blob != file.blob or not source.path:
                continue
            if source.path.rpartition("/")[2] not in file.beside:
                return state.record
        return None


def _by_stem(plans: Iterable[Plan]) -> dict[str, Plan]:
    newest: dict[str, Plan] = {}
    for plan in plans:
        if plan.source.kind != "file" or not plan.source.path:
            continue
        stem = plan_id_of(plan.source.path)[0]
        other = newest.get(stem)
        if other is None or _number(plan.id, stem) > _number(other.id, stem):
            newest[stem] = plan
    return newest


def _number(plan_id: str, stem: str) -> tuple[int, ...]:
    """What orders the runs of one file: ``p`` is before ``p-2``, that before ``p-3``."""
    tail = plan_id.removeprefix(stem[:42])
    return tuple(int(number) for number in re.findall(r"-([0-9]+)", tail))


def _ids_of_runs(stem: str, snapshot: Snapshot) -> Iterator[str]:
    """The ids that a file's archived plans may have, the oldest first."""
    known = (snapshot.plans, snapshot.archived)
    names = (f"{stem[:42]}-{number}" for number in count(2))
    runs = takewhile(lambda name: any(name in ids for ids in known), names)
    for name in (stem, *runs):
        if name in snapshot.archived:
            yield name
