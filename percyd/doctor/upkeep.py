"""What should be looked at now and then: sizes, room, clocks, who is there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from percyd.core.edges import AgentStatus
from percyd.core.ids import AGENT_REFS
from percyd.core.words import counted
from percyd.doctor.check import Check, fine, problem, warning
from percyd.errors import StateRefused
from percyd.home import FileLock
from percyd.repo.upkeep import fsck, size_of
from percyd.session import Percyd
from percyd.state.follower import State
from percyd.views.rescues import Kept, on_remote, pinned_here, seen_before

_MB = 1_000_000
#: Below these, a disk is filled by a few tasks, and by anything.
_LITTLE_MB, _TOO_LITTLE_MB = 1_000, 100
#: Clocks of machines that follow a time server differ by far less.
_AHEAD_S = 120


def hub_upkeep(percyd: Percyd) -> Iterator[Check]:
    """How large is percyd's own repository, and does all of it hang together?"""
    size = size_of(percyd.hub.git)
    tip = percyd.hub.adopted()
    against = fsck(percyd.hub.git, tip) if tip else None
    if against is None:
        packs = counted(size.packs, "pack")
        yield fine("hub size", f"{size.bytes_used / _MB:.1f} MB in {packs}, no damage")
    else:
        yield problem(
            "hub size",
            f"git fsck finds damage in percyd's own repository: {against}",
            "end what percyd runs here and put its copy aside, another is made: "
            f"{percyd.store.backend.ways.anew()}",
            StateRefused.exit_code,
        )


def disk(percyd: Percyd) -> Iterator[Check]:
    """Is there room for worktrees and logs?"""
    left_mb = shutil.disk_usage(percyd.home.path).free // _MB
    where = f"{left_mb:,} MB are free for {percyd.home.path}"
    how = "make room there, or set PERCYD_STATE_DIR to a folder on another disk"
    if left_mb < _TOO_LITTLE_MB:
        yield problem("disk", where, how)
    elif left_mb < _LITTLE_MB:
        yield warning("disk", where, how)
    else:
        yield fine("disk", where)


def _known(percyd: Percyd) -> State | None:
    try:
        return percyd.last_known()
    except StateRefused:
        return None  # said by `hub`, with what to do


def clock(percyd: Percyd) -> Iterator[Check]:
    """Is our wall clock behind what others have written? It is for people only."""
    state, ahead_s = _known(percyd), 0.0
    if state is not None:
        when = ("log", "-1", "--format=%ct", "--end-of-options", state.tip)
        written_s = int(percyd.hub.git.run(*when).text)
        ahead_s = written_s - percyd.clock.now().timestamp()
    if ahead_s > _AHEAD_S:
        yield warning(
            "clock",
            f"the newest change of the state is {ahead_s:,.0f} s ahead of the clock here",
            "set the clock here, or that of the machine that wrote it: percyd compares "
            "no clocks, but people read the times",
        )
    else:
        yield fine("clock", f"{percyd.clock.now():%F %T} UTC; nothing hangs on it")


def others(percyd: Percyd) -> Iterator[Check]:
    """Have agents of other clones gone without a word?"""
    state = _known(percyd)
    known = state.snapshot.agents.values() if state else ()
    joined = [agent for agent in known if agent.status is AgentStatus.JOINED]
    beats = percyd.hub.ls_remote(f"{AGENT_REFS}*") if joined else {}
    for agent in joined:
        if f"{AGENT_REFS}{agent.id}" not in beats:
            yield warning(
                "fleet",
                f"{agent.id} on {agent.host} has joined and has no heartbeat",
                "any percyd serve or worker takes its tasks back after its lease",
            )
    yield fine("fleet", f"{counted(len(joined), 'agent')} joined; percyd agent list")


def pins(percyd: Percyd) -> Iterator[Check]:
    """Is there work that only this machine has, and nobody is at it?"""
    found = unrescued(percyd)
    for kept in found:
        yield warning(
            "pins",
            f"the work of {kept.key} is only here, on {kept.ref}",
            "percyd doctor --fix pushes it to its rescue ref, as any start of percyd "
            "does here",
        )
    if not found:
        yield fine("pins", "no work is on this machine alone")


def unrescued(percyd: Percyd) -> list[Kept]:
    """The pinned work in slots that nobody holds."""
    hub = percyd.hub
    found = pinned_here(hub, [*seen_before(hub), *on_remote(hub)])
    return [kept for kept in found if not _is_held(percyd, kept)]


def _is_held(percyd: Percyd, kept: Kept) -> bool:
    slot = kept.ref.rpartition("/")[0].rpartition("/")[2]
    return FileLock(percyd.home.lock(f"slot-{slot}")).holder() is not None
