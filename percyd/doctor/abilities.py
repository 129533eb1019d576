"""What the remote takes: each thing that percyd needs of it, and what proves it.

Without leaving anything there, only the right to push and atomic pushes can be tried:
what a host's protections and hooks think of a ref is known once it is pushed.
"""

from __future__ import annotations

from collections.abc import Iterator

from percyd.core.ids import AGENT_BRANCHES, AGENT_REFS
from percyd.core.refs import Oid, RefMove
from percyd.core.words import counted
from percyd.doctor.check import Check, fine, problem, warning
from percyd.repo.probe import try_push
from percyd.repo.values import PushOutcome, PushReport
from percyd.session import Percyd

#: Below this ref a push is tried, without sending anything.
_TRIED_REF = f"{AGENT_REFS}doctor-000000"
_OWN_REFS = "refs/percy/"


def push(percyd: Percyd) -> Iterator[Check]:
    """May we push there at all, and can it move several refs at once?"""
    beat = percyd.store.backend.ring()[0]
    against = try_push(percyd.hub, beat, _TRIED_REF, atomic=False)
    if against is not None:
        yield problem(
            "push",
            f"the remote takes no push: {against}",
            "percyd needs the right to push: ask whoever owns the repository",
        )
        return
    yield fine("push", "allowed; nothing was sent")
    against = try_push(percyd.hub, beat, _TRIED_REF)
    if against is None:
        yield fine("atomic push", "taken; nothing was sent")
    else:
        yield problem(
            "atomic push",
            f"the remote does not take an atomic push: {against}",
            "percyd needs a git server that can move several refs at once",
        )


def custom_refs(percyd: Percyd) -> Iterator[Check]:
    """Does it take refs that are no branches?"""
    there = len(percyd.hub.ls_remote(f"{_OWN_REFS}*"))
    if there:
        yield fine("custom refs", f"taken: {counted(there, 'ref')} below {_OWN_REFS}")
    else:
        yield fine(
            "custom refs",
            f"not proved: nothing is below {_OWN_REFS} yet; percyd doctor --probe tries",
        )


def probe(percyd: Percyd) -> Iterator[Check]:
    """Make a branch and a custom ref like percyd's own, and delete both again."""
    agent = f"doctor-{percyd.randomness.hex6()}"
    beat = percyd.store.backend.ring()[0]
    custom, branch = f"{AGENT_REFS}{agent}", f"{AGENT_BRANCHES}{agent}/doctor.probe"
    refused = False
    for name, ref in (("custom refs", custom), ("protections", branch)):
        report = percyd.hub.push([RefMove(ref, None, beat)])
        if report.refs[ref].outcome is not PushOutcome.APPLIED:
            refused = True
            yield problem(
                name,
                f"the remote does not take {ref}: {_words(report, ref)}",
                f"allow pushes to {ref.rpartition('/doctor-')[0]}/... there",
            )
    if not refused:
        yield fine("protections", "a custom ref and a branch were made for a moment")
    yield from _delete(percyd, {custom: beat, branch: beat})


def _delete(percyd: Percyd, made: dict[str, Oid]) -> Iterator[Check]:
    there = percyd.hub.ls_remote(*made)
    left = []
    for ref in there:
        report = percyd.hub.push([RefMove(ref, made[ref], None)])
        if report.refs[ref].outcome is not PushOutcome.APPLIED:
            left.append(f"{ref}: {_words(report, ref)}")
    if left:
        yield warning(
            "deletions",
            f"the remote refuses to delete {'; '.join(left)}",
            "percyd works, but refs that nobody needs stay: delete them there by hand",
        )
    elif there:
        yield fine("deletions", "both were deleted again")


def _words(report: PushReport, ref: str) -> str:
    said = " ".join(report.remote_lines[-2:])
    return said or report.refs[ref].text or report.stderr or "it gave no reason"
