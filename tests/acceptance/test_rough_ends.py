"""Tasks that misbehave, a daemon that is ended, a remote that is away: seen from outside.

In the end every claim has ended, nothing is lost, and the checker finds no violation.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checker import check
from tests.support.gitrepo import git, has_ended, refs
from tests.support.newuser import NewUser, checkout, finish, new_user, start

pytestmark = pytest.mark.timeout(180)

#: What each task does, and how its only attempt ends: None for a landed one.
TASKS: dict[str, tuple[str, str | None]] = {
    "detaches": ("git checkout -q --detach; echo d > d", "left_branch"),
    "changes-branch": ("git checkout -q -b mine; echo o > o", "left_branch"),
    "amends": ("echo a > a; git add a; git commit -q --amend -m a", "left_branch"),
    "changes-nothing": ("true", "empty_result"),
    "is-not-there": ("no-such-command-at-all", "runner_failed"),
    "ends-by-signal": ("echo s > s; kill -9 $$", "runner_failed"),
    "removes-git": ("rm -rf .git; echo removed > removed", None),
    "configures": (
        "git config core.hooksPath /nowhere; echo c > c; git add c; git commit -qm own",
        None,
    ),
    "locks-the-index": (
        'echo l > l; touch "$(git rev-parse --git-dir)/index.lock"',
        None,
    ),
    "prints-a-lot": ("head -c 2000000 /dev/zero | tr '\\0' x; echo p > p", None),
    "has-odd-names": (
        "mkdir 'a b'; echo 1 > 'a b/ü \"q\".txt'; ln -s /no link; echo 2 > -x; touch empty",
        None,
    ),
    "ignores": ("mkdir __pycache__; echo x > __pycache__/x; echo i > i", None),
    "prints-no-text": ("printf '\\377\\376\\033[31m\\r\\0'; echo n > n", None),
}


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    """A small repository with a bare remote."""
    return new_user(tmp_path)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder outside of every repository, where tasks leave marks."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def a_plan(*tasks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"title": "Plan", **keys, "tasks": [{"title": t["id"], **t} for t in tasks]}


def wait_for(condition: Callable[[], object]) -> None:
    """Look again and again, for half a minute at most."""
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        threading.Event().wait(0.01)


def test_every_attempt_ends_whatever_its_task_does(
    user: NewUser, outside: Path
) -> None:
    stays = f"(sleep 300; echo never) & echo $! > '{outside}/pid'; echo b > b"
    rows = {**TASKS, "leaves-a-process": (stays, None)}
    user.commit_plan(
        "p.yaml",
        a_plan(
            *({"id": name, "run": run} for name, (run, _) in rows.items()),
            {"id": "may-be-empty", "run": "true", "allow_empty": True},
            defaults={"max_attempts": 1},
        ),
    )
    before = checkout(user.clone)

    done = user.percyd("serve", "--slots", "4", "--until-idle", code=1)

    assert "Traceback" not in done.err
    assert len(done.said) == 1
    ends = {}
    for task in user.status()["tasks"]:
        (attempt,) = task["attempts"]
        ends[task["id"]] = (attempt["reason"] or {}).get("code")
    expected = {f"p.{name}": code for name, (_, code) in rows.items()}
    assert ends == {**expected, "p.may-be-empty": None}
    assert checkout(user.clone) == before
    assert has_ended(int((outside / "pid").read_text()))
    landed = git(user.remote, "ls-tree", "-r", "-z", "--name-only", "percy/plan/p")
    names = set(landed.split("\0"))
    assert {'a b/ü "q".txt', "link", "-x", "empty", "removed", "i"} <= names
    assert not any("__pycache__" in name for name in names)
    kept = refs(user.remote, "refs/percy/rescue")
    for name in ("detaches", "changes-branch", "amends", "ends-by-signal"):
        assert f"refs/percy/rescue/p.{name}/1" in kept
    assert check(user.remote) == []


def test_work_that_cannot_be_collected_ends_the_attempt_and_is_not_deleted(
    user: NewUser, tmp_path: Path
) -> None:
    run = "echo precious > precious.txt; git init -q inner"
    user.commit_plan("p.yaml", a_plan({"id": "a", "run": run, "max_attempts": 1}))

    done = user.percyd("serve", "--until-idle", code=1)

    assert "inner" in user.task("p.a")["attempts"][0]["reason"]["message"]
    rescued = git(
        user.remote, "show", "refs/percy/rescue/p.a/1:precious.txt", check=False
    )
    on_disk = list((tmp_path / "state").rglob("precious.txt"))
    assert rescued or on_disk
    assert "Traceback" not in done.err
    assert check(user.remote) == []


def test_a_daemon_that_is_told_to_stop_gives_its_task_back_and_keeps_the_work(
    user: NewUser, outside: Path
) -> None:
    run = f"echo part > part; touch '{outside}/on'; test -e '{outside}/go' || sleep 90"
    user.commit_plan(
        "p.yaml",
        a_plan({"id": "a", "run": run}, {"id": "b", "run": "cat part > b"}),
    )
    daemon = start("serve", "--until-idle", "--grace", "0.2", cwd=user.clone)
    wait_for((outside / "on").exists)

    daemon.send_signal(signal.SIGTERM)
    done = finish(daemon, 30)

    assert done.code == 0, done.err
    task = user.task("p.a")
    assert (task["status"], task["retries"]) == ("submitted", 0)
    (attempt,) = task["attempts"]
    assert attempt["outcome"] == "released"
    assert git(user.remote, "show", f"{attempt['rescue']}:part") == "part"
    assert {agent["status"] for agent in user.status()["agents"]} == {"left"}
    assert check(user.remote) == []


def test_a_daemon_that_is_killed_loses_nothing_and_the_next_goes_on_at_once(
    user: NewUser, outside: Path
) -> None:
    run = f"echo part > part; echo $$ > '{outside}/on'; test -e '{outside}/go' || sleep 90"
    user.commit_plan(
        "p.yaml",
        a_plan(
            {"id": "a", "run": run},
            {"id": "b", "run": "cat part > b", "depends_on": ["a"]},
        ),
    )
    daemon = start("serve", "--until-idle", cwd=user.clone)
    wait_for(lambda: (outside / "on").exists() and (outside / "on").read_text())
    daemon.kill()
    finish(daemon, 30)
    program = int((outside / "on").read_text())
    wait_for(lambda: has_ended(program))
    (outside / "go").touch()

    user.percyd("serve", "--until-idle")

    first, second = user.task("p.a")["attempts"]
    assert (first["outcome"], second["outcome"]) == ("lost", "completed")
    kept = git(user.remote, "show", "refs/percy/rescue/p.a/1:part")
    assert kept == "part"
    assert user.file("p", "b") == "part"
    assert check(user.remote) == []


def test_while_the_remote_is_away_reads_give_one_document_and_exit_with_3(
    user: NewUser,
) -> None:
    tip = user.status()["tip"]
    user.remote.rename(user.remote.with_name("away"))

    old = user.percyd("status", "--json", code=3)
    serve = user.percyd("serve", "--until-idle", code=3)

    assert len(serve.said) == 1
    assert len(old.err.splitlines()) == 1
    assert json.loads(old.out)["tip"] == tip
