"""What ``percyd doctor --fix`` mends: only what cannot lose work.

It is what every start of a worker does here. What needs a decision is left to people.
"""

from __future__ import annotations

from collections.abc import Iterator

from percyd.core.words import counted
from percyd.dispatch.rescued import RescueSweeper
from percyd.doctor.check import Check, fine, of_error
from percyd.errors import PercydError
from percyd.membership import bury_the_dead
from percyd.repo import packs
from percyd.session import Percyd
from percyd.views.rescues import on_remote


def mend(percyd: Percyd) -> Iterator[Check]:
    """Push what dead processes left, give their tasks back, remove what is needless."""
    try:
        yield from _mend(percyd)
    except PercydError as error:
        yield of_error("mended", error)


def _mend(percyd: Percyd) -> Iterator[Check]:
    percyd.refresh()
    before = {kept.ref: kept.commit for kept in on_remote(percyd.hub)}
    held = {(t.id, t.attempt) for t in percyd.store.state.snapshot.held_tasks()}
    bury_the_dead(percyd, starting=True)
    snapshot = percyd.refresh().snapshot
    done = [
        f"the work of {kept.key} was pushed to {kept.ref}"
        for kept in on_remote(percyd.hub)
        if before.get(kept.ref) != kept.commit
    ]
    back = held - {(t.id, t.attempt) for t in snapshot.held_tasks()}
    done += [f"attempt {number} at {name} was ended" for name, number in sorted(back)]
    gone = RescueSweeper(percyd.store.backend).step(snapshot, percyd.clock.boot_s())
    if gone:
        done.append(f"{counted(gone, 'needless rescue ref')} deleted")
    packs.tidy(percyd.hub.git)
    for words in done or ["there was nothing to mend"]:
        yield fine("mended", words)
