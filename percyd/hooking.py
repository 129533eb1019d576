"""percyd's hooks for one clone on this machine: what they need to know, filled in."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from percyd.errors import PercydError, UsageError
from percyd.home import FileLock, Home, state_root
from percyd.repo import discover
from percyd.repo.hooks import NAMES, HookFolder, HookState, names_for, shim
from percyd.repo.values import Clone, Remote
from percyd.session import Percyd

#: The lock and the log of whoever takes in what was pushed.
RECEIVED = "received"


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one clone."""

    clone: Clone
    folder: HookFolder
    values: Mapping[str, Path | None]

    @classmethod
    def of(cls, clone: Clone, environ: Mapping[str, str]) -> Hooks:
        """The hooks of a clone, for the percyd that runs here."""
        root = state_root(environ)
        values = {
            "percyd": program(environ),
            "state": root,
            "home": Home.of(root, clone.name, clone.common_dir).path,
        }
        return cls(clone, HookFolder.of(clone), values)

    @classmethod
    def around(cls, start: Path, environ: Mapping[str, str]) -> Hooks:
        """The hooks of the clone around a folder."""
        return cls.of(discover.discover(start), environ)

    @property
    def names(self) -> tuple[str, ...]:
        """The hooks that this clone gets."""
        return names_for(self.clone)

    def text(self, name: str) -> str:
        """One hook, filled in.

        Raises:
            UsageError: there is no such hook.
        """
        if name not in NAMES:
            raise UsageError(
                f"percyd has no hook {name!r:.80}", hint=f"one of {', '.join(NAMES)}"
            )
        return shim(name, self.values)

    def install(self, names: tuple[str, ...] = ()) -> list[str]:
        """Install hooks, by default those that the clone gets; which ones were written.

        Raises: see `HookFolder.install`.
        """
        texts = {name: self.text(name) for name in names or self.names}
        return [n for n, text in texts.items() if self.folder.install(n, text)]

    def uninstall(self, names: tuple[str, ...] = ()) -> list[str]:
        """Take hooks out, by default all; which ones were there.

        Raises: see `HookFolder.uninstall`.
        """
        return [name for name in names or NAMES if self.folder.uninstall(name)]

    def to_add(self, names: tuple[str, ...] = ()) -> list[tuple[Path, str]]:
        """Files of others that do not call our hooks yet, and the line that each needs."""
        folder = self.folder
        if folder.foreign is None:
            return []
        return [
            (folder.foreign / name, folder.line(name))
            for name in names or self.names
            if not folder.is_called(name)
        ]

    def state(self, name: str) -> HookState:
        """What there is of one hook."""
        return self.folder.state(name, self.text(name))


def program(environ: Mapping[str, str]) -> Path | None:
    """The ``percyd`` beside the Python that runs here, else that of ``PATH``."""
    beside = Path(sys.executable).parent / "percyd"
    if beside.is_file():
        return beside
    found = shutil.which("percyd", path=environ.get("PATH"))
    return Path(found).absolute() if found else None


def as_remote(percyd: Percyd) -> Percyd:
    """The same with the repository itself as its remote, whatever is configured.

    A bare clone has an ``origin``: that is where it came from, not where its plans are
    pushed to. What is known of the other remote stays apart.
    """
    clone = percyd.clone
    here = Remote(str(clone.common_dir), is_local=True)
    if percyd.remote.is_local:
        return percyd
    name = f"{clone.name}-{RECEIVED}"
    home = Home.of(percyd.home.path.parent, name, clone.common_dir)
    return replace(percyd, remote=here, home=home)


def take_in(percyd: Percyd) -> None:
    """Take in the plans that a push has brought.

    Of many pushes at a time one process takes in the plans of all; the others only tell
    it that there is more.

    Raises:
        PercydError: it could not; the next push tries again.
    """
    percyd.home.ensure()
    wanted = percyd.home.wake.with_name(RECEIVED)
    wanted.touch()
    lock = FileLock(percyd.home.lock(RECEIVED))
    while wanted.exists() and lock.acquire():
        try:
            while wanted.exists():
                wanted.unlink(missing_ok=True)
                percyd.refresh()
                percyd.intake.step()
        finally:
            lock.release()


def install_quietly(hooks: Hooks) -> tuple[list[str], str]:
    """Install what can be; a problem is one line, and no reason to end a set-up."""
    try:
        return hooks.install(), ""
    except PercydError as error:
        return [], str(error)
