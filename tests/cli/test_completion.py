"""Completion in a real shell: ids of the last known state, without the remote."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from percyd.cli.names import MOST
from tests.support.newuser import PROJECT, NewUser, new_user, percyd

TASKS = [f"t{n}" for n in range(MOST + 5)]


def program(folder: Path) -> Path:
    """``percyd`` as a program on PATH."""
    path = folder / "bin" / "percyd"
    path.parent.mkdir()
    path.write_text(
        f"#!/bin/sh\nPYTHONPATH={PROJECT}:$PYTHONPATH exec {sys.executable} -m percyd "
        '"$@"\n'
    )
    path.chmod(0o755)
    return path.parent


def started(folder: Path) -> NewUser:
    user = new_user(folder)
    tasks = [f"  - {{id: {name}, title: T, run: 'true'}}" for name in TASKS]
    for name in ("shop", "shed"):
        head = f"title: {name}\nstatus: draft\ntasks:\n"
        user.commit_plan(f"{name}.yaml", head + "\n".join(tasks) + "\n")
        user.percyd("plan", "submit", f".percy/plans/{name}.yaml")
    return user


def in_shell(shell: str, script: str, cwd: Path, path: Path) -> str:
    """What a shell with percyd's completion in it prints."""
    done = subprocess.run(
        [shell, "-c", script],
        cwd=cwd,
        env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def in_bash(cwd: Path, path: Path, *lines: str) -> list[list[str]]:
    """The answers of the registered function for some lines, the last word open."""
    script = 'eval "$(percyd completion bash)"\n'
    script += "f=$(complete -p percyd); f=${f##*-F }; f=${f%% *}\n"
    for line in lines:
        script += f"COMPREPLY=(); COMP_WORDS=({line}); "
        script += "COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); $f percyd; "
        script += 'echo "${COMPREPLY[*]}"\n'
    return [row.split() for row in in_shell("bash", script, cwd, path).splitlines()]


def test_bash_completes_ids_without_the_remote_and_is_silent(tmp_path: Path) -> None:
    user, path = started(tmp_path), program(tmp_path)
    user.remote.rename(tmp_path / "away.git")

    commands, plans, tasks, cut, inside = in_bash(
        user.clone,
        path,
        "percyd ver",
        "percyd plan show sh",
        "percyd task show shop.t20",
        "percyd task show shed.",
        "percyd log shop.t3",
    )

    assert commands == ["verify"]
    assert plans == ["shed", "shop"]
    assert tasks == [f"shop.{name}" for name in sorted(TASKS) if "t20" in name]
    assert len(cut) == MOST
    assert cut[-1] == "shed.t99"
    assert "shop.t31" in inside

    (tmp_path / "nothing").mkdir()
    (user.clone / ".percy" / "config.toml").write_text("odd [")
    elsewhere = in_bash(tmp_path / "nothing", path, "percyd status ''")
    still = in_bash(user.clone, path, f"percyd -C {user.clone} status sho")
    assert (elsewhere, still) == ([[]], [["shop"]])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script_that_it_can_read(tmp_path: Path, shell: str) -> None:
    script = percyd(tmp_path, "completion", shell).out

    assert "_PERCYD_COMPLETE" in script
    assert f"{shell}_complete" in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        in_shell(shell, f"{shell} -n {tmp_path / 'script'}", tmp_path, tmp_path)


def test_the_lines_of_the_help_work_where_no_folder_is_there(tmp_path: Path) -> None:
    text = percyd(tmp_path, "completion", "--help").out
    lines = [row.strip() for row in text.splitlines() if "/.local/share/" in row]
    steps = "\n".join(row.removeprefix("bash:").strip() for row in lines)
    home = tmp_path / "home"
    home.mkdir()
    path = f"{program(tmp_path)}{os.pathsep}{os.environ['PATH']}"

    subprocess.run(
        ["bash", "-e", "-c", steps],
        env={**os.environ, "HOME": str(home), "PATH": path},
        check=True,
    )

    (script,) = (home / ".local/share/bash-completion/completions").iterdir()
    assert "_PERCYD_COMPLETE" in script.read_text()


def test_a_shell_that_is_not_known_is_bad_input(tmp_path: Path) -> None:
    assert "'bash', 'zsh', 'fish'" in percyd(tmp_path, "completion", "csh", code=2).err
