"""The git hooks that wake the daemon."""

from __future__ import annotations

from collections.abc import Iterator

from percyd.doctor.check import Check, fine, warning
from percyd.hooking import Hooks
from percyd.repo.hooks import HookState
from percyd.session import Percyd

_AGAIN = "run percyd hook install"


def hooks(percyd: Percyd) -> Iterator[Check]:
    """Are they installed, up to date, and does git come to them?"""
    found = Hooks.of(percyd.clone, percyd.environ)
    states = {name: found.state(name) for name in found.names}
    if set(states.values()) <= {HookState.ABSENT, HookState.FOREIGN}:
        yield fine(
            "hooks",
            "none is installed: percyd serve finds plans by itself; "
            "percyd hook install adds them",
        )
        return
    for name, state in states.items():
        path = found.folder.path / name
        if state is HookState.FOREIGN:
            what = f"{path} is not percyd's any more: something has replaced it"
            yield warning("hooks", what, _AGAIN)
        elif state is HookState.ABSENT:
            yield warning("hooks", f"{path} is missing", _AGAIN)
        elif state is not HookState.INSTALLED:
            yield warning("hooks", f"{path} is {state}", _AGAIN)
    installed = [n for n, state in states.items() if state is HookState.INSTALLED]
    to_add = found.to_add(tuple(installed))
    for path, line in to_add:
        yield warning("hooks", f"{path} does not call percyd's hook", f"add: {line}")
    if len(installed) == len(states) and not to_add:
        yield fine("hooks", f"{', '.join(installed)} in {found.folder.path}")
