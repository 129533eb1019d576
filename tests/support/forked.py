"""Commands of percyd as processes of their own, without the start of an interpreter.

One process for each test worker has imported percyd; each command is a fork of it. That
is three quarters of what a short command costs. What depends on how an interpreter
starts (imports, encodings, failpoints, signals) is tested with `newuser.start`.
"""

from __future__ import annotations

import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import percyd
from percyd.cli.main import main
from percyd.failpoints import VARIABLE

#: What only some commands import, and what is a program.
_LATER = ("percyd.bench", "percyd.demo", "percyd.__main__", "percyd.hooks")


def _modules() -> list[str]:
    found = pkgutil.walk_packages(percyd.__path__, "percyd.")
    return [module.name for module in found if not module.name.startswith(_LATER)]


_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, *_modules()])


def run(
    args: Sequence[str], cwd: Path, env: Mapping[str, str], timeout_s: float
) -> tuple[int | None, str, str]:
    """The exit code, None for one that had to be ended, and what it printed."""
    if VARIABLE in env:
        raise ValueError(f"{VARIABLE} is read when percyd starts: use `start`")
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = _FORKS.Process(target=_child, args=(args, cwd, dict(env), out, err))
        child.start()
        child.join(timeout_s)
        code = child.exitcode
        if code is None:
            child.kill()
            child.join()
        child.close()
        return code, _text(out), _text(err)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _child(
    args: Sequence[str], cwd: Path, env: Mapping[str, str], out: Path, err: Path
) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    for fd, path, flags in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, err, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, fd)
        os.close(opened)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.argv = ["percyd", *args]
    main()
