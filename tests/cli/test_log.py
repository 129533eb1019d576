"""``percyd log -f`` from outside: it goes on, also over a remote that is away."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.gitrepo import git, tip
from tests.support.newuser import NewUser, finish, new_user, start

_PLAN = "title: P\ntasks: [{id: a, title: A, run: 'true', allow_empty: true}]\n"


def follower(user: NewUser, *args: str) -> subprocess.Popen[str]:
    return start("log", "-f", *args, cwd=user.clone)


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that it prints, within a time bound."""
    assert process.stdout is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def wait_for_words(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        while words not in (line := process.stderr.readline()):
            assert line, words
    finally:
        timer.cancel()


@pytest.mark.spoiled
def test_events_come_as_they_happen_until_it_is_ended_or_refused(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    user.commit_plan("p.yaml", _PLAN)
    for_people, for_programs = follower(user), follower(user, "--json")
    assert "init: " in line_of(for_people)
    assert json.loads(line_of(for_programs))["operation"] == "init"
    away = user.remote.rename(tmp_path / "away.git")
    wait_for_words(for_people, "it is asked again until it answers")
    away.rename(user.remote)
    wait_for_words(for_people, "the remote answers again")

    user.percyd("plan", "submit", ".percy/plans/p.yaml")

    assert "take-in: p" in line_of(for_people)
    assert json.loads(line_of(for_programs))["plan"] == "p"
    for_people.send_signal(signal.SIGTERM)
    assert finish(for_people).code == 0
    first = tip(user.remote, "refs/heads/percy/state~")
    git(user.remote, "update-ref", "refs/heads/percy/state", first)
    refused = finish(for_programs)
    assert refused.code == 4
    assert json.loads(refused.out)["error"]["code"] == "state_refused"


def test_of_a_plan_or_a_task_only_its_own_events_are_shown(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    user.commit_plan("p.yaml", _PLAN)
    user.percyd("serve", "--until-idle")
    process = follower(user, "p.a", "-n", "1")
    assert "complete: p.a" in line_of(process)
    process.send_signal(signal.SIGINT)
    assert finish(process).code == 0
    assert "did you mean p" in user.percyd("log", "-f", "pp", code=2).said[0]
