"""percyd's git hooks in a repository: installed beside what is there, and taken out.

Only the repository's own hooks folder is written to. A ``core.hooksPath`` that leads
elsewhere is a folder of the project's (husky) or of all repositories of this account:
then the shims lie in a folder beside, and a line is to be added there by its owner.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import percyd
from percyd.errors import RefusedError, UsageError
from percyd.repo.runner import Git
from percyd.repo.settings import read_all
from percyd.repo.values import Clone

CLONE_HOOKS = ("post-commit", "post-merge", "post-rewrite")
SERVER_HOOKS = ("post-receive",)
NAMES = (*CLONE_HOOKS, *SERVER_HOOKS)

#: What is appended to the name of a hook that was there before.
KEPT = ".before-percyd"
_MARK = "# percyd-hook: "
_BESIDE = "percyd-hooks"


class HookState(StrEnum):
    """What there is of one hook."""

    ABSENT = "absent"
    INSTALLED = "installed"
    OUTDATED = "outdated"
    FOREIGN = "foreign"
    NOT_EXECUTABLE = "not executable"


@dataclass(frozen=True, slots=True)
class HookFolder:
    """Where percyd's shims lie, and where git looks for hooks."""

    path: Path
    #: Git's own folder, where it is not percyd's to write to.
    foreign: Path | None = None

    @classmethod
    def of(cls, clone: Clone) -> HookFolder:
        """The folder of a repository, as its configuration has it."""
        common = clone.common_dir.resolve()
        # Not `settings.get`, which sees that our own calls run without hooks.
        settings = read_all(Git(clone.common_dir))
        configured = [s.value for s in settings if s.key == "core.hookspath"]
        used = common / "hooks"
        if configured:
            top = clone.work_tree or common
            used = top / os.path.expanduser(configured[-1])  # noqa: PTH111 - as git does
        resolved = used.resolve()
        if resolved != common and resolved.is_relative_to(common):
            return cls(used)
        return cls(common / _BESIDE, used)

    def line(self, name: str) -> str:
        """What its owner has to add to a hook in the foreign folder: no Python starts."""
        shim = f"{self.path.name}/{name}"
        return f'h=$(git rev-parse --git-common-dir)/{shim}; [ ! -x "$h" ] || "$h" "$@"'

    def is_called(self, name: str) -> bool:
        """Whether git comes to the shim: a foreign folder's hook must name it."""
        if self.foreign is None:
            return True
        with suppress(OSError, UnicodeDecodeError):
            text = (self.foreign / name).read_text(encoding="utf-8")
            return f"{self.path.name}/{name}" in text or f"hook run {name}" in text
        return False

    def state(self, name: str, text: str) -> HookState:
        """What there is of a hook that should have this text."""
        path = self.path / name
        if not os.path.lexists(path):
            return HookState.ABSENT
        found = _read_shim(path)
        if found is None:
            return HookState.FOREIGN
        if not os.access(path, os.X_OK):
            return HookState.NOT_EXECUTABLE
        return HookState.INSTALLED if found == text else HookState.OUTDATED

    def install(self, name: str, text: str) -> bool:
        """Write a shim; a hook that is there is kept beside it. False: it was so already.

        Raises:
            UsageError: the folder cannot be written.
            RefusedError: there is a foreign hook, and a kept one too.
        """
        path, kept = self.path / name, self.path / f"{name}{KEPT}"
        state = self.state(name, text)
        if state is HookState.INSTALLED:
            return False
        if state is HookState.FOREIGN and os.path.lexists(kept):
            raise RefusedError(
                f"{path} is not percyd's, and {kept.name} keeps an earlier one",
                hint="put one of them aside",
            )
        new = self.path / f"{name}.percyd-{os.getpid()}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            new.write_text(text, encoding="utf-8")
            new.chmod(0o755)
            if state is HookState.FOREIGN:
                path.rename(kept)
            new.replace(path)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            if os.path.lexists(kept) and not os.path.lexists(path):
                kept.rename(path)
            raise UsageError(
                f"the hook {path} cannot be written: {error.strerror}",
                hint="make its folder writable and run percyd hook install",
            ) from error
        return True

    def uninstall(self, name: str) -> bool:
        """Take a shim out, and put back what was kept. False: there is nothing of ours.

        Raises:
            UsageError: the folder cannot be written.
            RefusedError: a foreign hook is there, and a kept one too: both stay.
        """
        path, kept = self.path / name, self.path / f"{name}{KEPT}"
        if os.path.lexists(path) and _read_shim(path) is None:
            if os.path.lexists(kept):
                raise RefusedError(
                    f"{path} is not percyd's, and {kept.name} keeps an earlier one: "
                    "both stay",
                    hint="put together what you need of them",
                )
            return False
        try:
            if os.path.lexists(kept):
                kept.replace(path)
            elif os.path.lexists(path):
                path.unlink()
            else:
                return False
            if self.foreign is not None and not any(self.path.iterdir()):
                self.path.rmdir()
        except OSError as error:
            raise UsageError(
                f"the hook {path} cannot be removed: {error.strerror}",
                hint="make its folder writable and run percyd hook uninstall",
            ) from error
        return True


def names_for(clone: Clone) -> tuple[str, ...]:
    """The hooks that a repository gets: commits are made in it, or pushed to it."""
    return SERVER_HOOKS if clone.bare else CLONE_HOOKS


def shim(name: str, values: Mapping[str, Path | None]) -> str:
    """The text of a hook with what this machine needs filled in.

    Args:
        name: one of `NAMES`.
        values: ``percyd``, ``home`` and ``state``, as the shims call them.
    """
    lines = (_folder() / name).read_text(encoding="utf-8").splitlines(keepends=True)
    wanted = {f"{key}=\n": value for key, value in values.items()}
    return "".join(
        f"{line.rstrip()}{shlex.quote(str(wanted[line] or ''))}\n"
        if line in wanted
        else line
        for line in lines
    )


def _folder() -> Path:
    """``hooks/``: in the package as the wheel has it, else beside it in the source."""
    package = Path(percyd.__file__).parent
    inside = package / "hooks"
    return inside if inside.is_dir() else package.parent / "hooks"


def _read_shim(path: Path) -> str | None:
    """The text of a shim of percyd's; None if it is somebody else's hook."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return (
        text if text.split("\n", 2)[1:2] and _MARK in text.split("\n", 2)[1] else None
    )
