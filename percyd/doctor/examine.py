"""All checks, from the ground up: what a later one needs, an earlier one has found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

from percyd.clock import SystemClock, SystemRandomness
from percyd.config import Effective, load
from percyd.doctor import abilities, here, there, upkeep
from percyd.doctor.check import Check, fine, of_error
from percyd.doctor.hooks import hooks
from percyd.doctor.mend import mend
from percyd.errors import PercydError, RemoteUnreachable, UsageError
from percyd.home import Home, state_root, workspace_of
from percyd.repo import discover
from percyd.repo.discover import Clone
from percyd.repo.remotes import resolve_remote
from percyd.repo.runner import require_git
from percyd.session import Percyd, config_files

Examination = Callable[[Percyd], Iterator[Check]]

#: In this order; what is on the remote is not asked for once it does not answer.
_THERE: tuple[tuple[str, Examination], ...] = (
    ("remote", there.remote),
    ("push", abilities.push),
    ("custom refs", abilities.custom_refs),
    ("branches", there.branches),
    ("base", there.base),
    ("state", there.state),
    ("plans", there.plans),
    ("checkouts", there.checkouts),
    ("remote locks", there.locks),
    ("fleet", upkeep.others),
    ("pins", upkeep.pins),
)
_HERE: tuple[tuple[str, Examination], ...] = (
    ("hooks", hooks),
    ("hub", here.hub),
    ("hub size", upkeep.hub_upkeep),
    ("disk", upkeep.disk),
    ("clock", upkeep.clock),
    ("daemon", here.daemon),
    ("runners", here.runners),
    ("agents", here.agents),
    ("slots", here.slots),
)


def examine(
    start: Path,
    environ: Mapping[str, str],
    *,
    fix: bool = False,
    probe: bool = False,
) -> Iterator[Check]:
    """Look at everything, one after the other.

    Args:
        start: A folder of the clone.
        environ: The environment of the command.
        fix: Mend first what can be mended without losing anything.
        probe: Also push refs to the remote, and delete them again.

    Raises:
        NotARepository: there is nothing to look at.
        UsageError: ``start`` is inside a percyd workspace.
    """
    try:
        version = require_git(environ)
    except PercydError as error:
        yield of_error("git", error)
        return
    clone, home = _find(start, environ)
    where = shutil.which("git", path=environ.get("PATH"))
    yield fine("git", f"{'.'.join(map(str, version))}, {where}")
    bare = ", bare" if clone.bare else ""
    yield fine("repository", f"{clone.work_tree or clone.common_dir}{bare}")
    percyd = yield from _open(clone, home, environ)
    if percyd is None:
        return
    try:
        if fix:
            yield from mend(percyd)
        for examinations in (_probed() if probe else _THERE, _HERE):
            for name, act in examinations:
                try:
                    yield from act(percyd)
                except RemoteUnreachable as error:
                    yield of_error(name, error)
                    break
                except PercydError as error:
                    yield of_error(name, error)
    finally:
        percyd.close()


def _probed() -> tuple[tuple[str, Examination], ...]:
    """The same with a real push in the place of what only guesses."""
    real = ("protections", abilities.probe)
    return tuple(real if name == "custom refs" else (name, act) for name, act in _THERE)


def _find(start: Path, environ: Mapping[str, str]) -> tuple[Clone, Home]:
    root = state_root(environ)
    if workspace_of(start, root):
        raise UsageError(
            "this is a percyd workspace: a task's own copy of the repository",
            hint="run the command in your clone",
        )
    clone = discover.discover(start)
    return clone, Home.of(root, clone.name, clone.common_dir)


def _open(
    clone: Clone, home: Home, environ: Mapping[str, str]
) -> Generator[Check, None, Percyd | None]:
    """Percyd with whatever can be read; None if there is no way to go on."""
    effective = yield from _config(clone, environ)
    try:
        remote = resolve_remote(clone, effective.config.remote)
        home.ensure()
    except PercydError as error:
        yield of_error("set-up", error)
        return None
    yield fine("local state", str(home.path))
    clock, randomness = SystemClock(), SystemRandomness()
    return Percyd(clone, effective, remote, home, environ, clock, randomness)


def _config(
    clone: Clone, environ: Mapping[str, str]
) -> Generator[Check, None, Effective]:
    """The configuration; the default one if it is not valid."""
    try:
        effective = load(*config_files(clone), environ, {})
    except PercydError as error:
        yield of_error("config", error)
        return load(None, None, {}, {})
    yield fine("config", "valid; percyd config shows every value")
    return effective
