"""What is on the remote: can it be reached, can it do what percyd needs, the state."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from percyd.core.document.names import plan_id_of
from percyd.core.edges import CLOSED
from percyd.core.ids import STATE_REF, short_ref
from percyd.core.records import FORMAT
from percyd.core.snapshot import Snapshot
from percyd.core.words import counted
from percyd.doctor.check import Check, fine, problem, warning
from percyd.errors import InvalidConfig, InvalidPlan, NotInitialised, StateRefused
from percyd.intake.base import base_branch
from percyd.intake.documents import read
from percyd.intake.files import PlanFile
from percyd.repo.remotes import folder_of
from percyd.repo.runner import mask
from percyd.repo.values import Heads
from percyd.session import BLOCKING, Percyd

#: A git command holds its locks for moments.
_STALE_S = 600


def remote(percyd: Percyd) -> Iterator[Check]:
    """Does it answer?"""
    url = mask(percyd.remote.url)
    percyd.hub.ls_remote("refs/heads/no-such-branch")
    if percyd.remote.is_local:
        yield fine("remote", f"this repository itself: {url}")
    else:
        yield fine("remote", url)


def branches(percyd: Percyd) -> Iterator[Check]:
    """Do branches of others stand where percyd's own have to be?"""
    found = [
        ref
        for ref in _heads(percyd).branches
        if ref in BLOCKING or ref.startswith(f"{STATE_REF}/")
    ]
    for ref in found:
        yield problem(
            "branches",
            f"the remote has a branch {short_ref(ref)}, which leaves no room for "
            "percyd's own",
            "rename it",
            exit_code=2,
        )
    if not found:
        yield fine("branches", "none is in the way of percy/... and agent/...")


def base(percyd: Percyd) -> Iterator[Check]:
    """Is the branch there that plans start from?"""
    chosen = percyd.effective.config.base
    heads = _heads(percyd)
    branch = base_branch(heads, percyd.clone, chosen)
    if f"refs/heads/{branch}" in heads.branches:
        yield fine("base", branch)
    else:
        yield problem(
            "base", f"{branch} is not on the remote", f"push {branch} first", 2
        )


def _heads(percyd: Percyd) -> Heads:
    try:
        return percyd.hub.heads()
    except StateRefused:
        return Heads({}, None)  # said by `state`, with what to do


def state(percyd: Percyd) -> Iterator[Check]:
    """Is it one to build on?"""
    try:
        tip = percyd.refresh().tip
    except NotInitialised:
        yield warning("state", "percyd is not set up here", "run percyd init")
        return
    count = percyd.hub.git.run("rev-list", "--count", tip, "--").text
    yield fine(
        "state",
        f"percy/state at {tip}, format {FORMAT}, commits: {count}; "
        "percyd verify judges each of them",
    )


def plans(percyd: Percyd) -> Iterator[Check]:
    """Which committed plan files are not taken in, and can never be as they are?

    The same of edits: an open plan goes on as it was.
    """
    try:
        snapshot = percyd.store.state.snapshot
    except (NotInitialised, StateRefused):
        return  # said by `state`
    waiting = 0
    for file in percyd.intake.files():
        plan, problem = plan_id_of(file.name)
        if not file.problem and not _is_news(file, snapshot):
            continue
        try:
            if problem or file.problem:
                raise InvalidPlan(f"{file.path}: {problem or file.problem}")
            read(file.path, file.content, file.config)
        except (InvalidPlan, InvalidConfig) as error:
            first, *more = str(error).splitlines()
            also = f", and {counted(len(more), 'other problem')}" if more else ""
            yield warning(
                "plans",
                f"{first}{also}",
                f"mend {file.path} and commit it; percyd plan check names everything",
            )
        else:
            waiting += plan not in snapshot.plans
    rest = f"; {counted(waiting, 'file')} waits for percyd serve" if waiting else ""
    yield fine("plans", f"{counted(len(snapshot.plans), 'plan')} taken in{rest}")


def _is_news(file: PlanFile, snapshot: Snapshot) -> bool:
    """Whether a file is no plan yet, or has changed since its open plan was taken in."""
    name = plan_id_of(file.name)[0]
    plan = snapshot.plan(name)
    if plan is None:
        return name not in snapshot.archived
    return plan.record.status not in CLOSED and plan.record.source.blob != file.blob


def checkouts(percyd: Percyd) -> Iterator[Check]:
    """Is a branch checked out where percyd has to move it?"""
    found = percyd.checked_out()
    for message, hint in found:
        yield warning("checkouts", message, hint)
    if folder_of(percyd.remote) is not None and not found:
        yield fine("checkouts", "none of percyd's branches is checked out")


def locks(percyd: Percyd) -> Iterator[Check]:
    """Lock files that a crash has left in a remote that is a folder here."""
    folder = folder_of(percyd.remote)
    if folder is None:
        return
    found = [path for path in _lock_files(folder) if _is_old(percyd, path)]
    for path in found:
        yield warning(
            "remote locks",
            f"{shlex.quote(str(path))} is older than {_STALE_S // 60} minutes",
            "if no git command runs there, remove it: nothing moves under it",
        )
    if not found:
        yield fine("remote locks", "none is left of a crash")


def _lock_files(git_dir: Path) -> list[Path]:
    return sorted([*git_dir.glob("*.lock"), *(git_dir / "refs").rglob("*.lock")])


def _is_old(percyd: Percyd, path: Path) -> bool:
    try:
        changed_s = path.lstat().st_mtime
    except FileNotFoundError:
        return False
    return percyd.clock.now().timestamp() - changed_s > _STALE_S
