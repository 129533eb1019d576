"""A command imports only what it needs: most of a quick command's time is its start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.newuser import PROJECT, new_user

#: Packages that only some commands need.
_HEAVY = {"git", "pydantic", "rich", "watchdog", "yaml", "psutil", "immutables"}


def imported(cwd: Path, *args: str) -> set[str]:
    """The modules that ``percyd ARGS`` has imported when it ends."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "percyd", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = (row.split("|") for row in done.stderr.splitlines())
    return {row[2].strip() for row in rows if row[0].startswith("import time:")}


def below(modules: Iterable[str], *packages: str) -> list[str]:
    """Those that are one of the packages or lie in one."""
    return sorted(
        name
        for name in modules
        if any(name == each or name.startswith(f"{each}.") for each in packages)
    )


@pytest.mark.parametrize("args", [("--version",), ("--help",), ("status", "--help")])
def test_what_says_only_words_imports_no_library_but_the_command_lines(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    found = imported(tmp_path, *args)

    assert "click" in found
    assert below(found, *_HEAVY, "percyd.state", "percyd.repo", "percyd.config") == []


def test_status_imports_nothing_that_takes_in_or_works(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    for args in (("status",), ("status", "--json")):
        found = imported(user.clone, *args)

        strange = (
            *(
                "watchdog",
                "yaml",
                "psutil",
                "percyd.work",
                "percyd.dispatch",
                "percyd.runners",
            ),
            *(
                "percyd.core.operations",
                "percyd.core.document.parse",
                "percyd.life",
            ),
            *("percyd.state.committer", "percyd.intake.scan", "percyd.intake.watch"),
        )
        assert "percyd.state.kept" in found
        assert below(found, *strange) == []
        assert ("rich" in found) == ("--json" not in args)
