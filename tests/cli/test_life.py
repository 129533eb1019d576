"""The daemon's life from outside: start, beside whom, and every way to its end."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from percyd.clock import SystemClock
from percyd.home import FileLock
from tests.support.checker import check
from tests.support.daemonised import until
from tests.support.gitrepo import git, has_ended, make_repo
from tests.support.newuser import NewUser, finish, new_user, percyd, start

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    """A small repository with a bare remote; no daemon outlives its test."""
    made = new_user(tmp_path)
    yield made
    for lock in (tmp_path / "state").glob("*/locks/daemon.lock"):
        if not FileLock(lock).is_free():
            made.percyd("stop", code=None)


def a_task(user: NewUser, run: str) -> None:
    tasks = [{"id": "a", "title": "A", "run": run}]
    user.commit_plan("p.yaml", {"title": "P", "tasks": tasks})


def the_lock(tmp_path: Path) -> Path:
    (home,) = (tmp_path / "state").glob("shop-*")
    return home / "locks" / "daemon.lock"


def test_a_detached_daemon_works_until_it_is_stopped(
    user: NewUser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    a_task(
        user, f"touch {marks}/on; until [ -e {marks}/go ]; do sleep 0.02; done; ls > l"
    )

    begun = user.percyd("serve", "--detach", "--grace", "60", "--json")
    pid, log = begun.document["pid"], Path(begun.document["log"])
    assert begun.err == ""
    until((marks / "on").exists, "its task runs", within_s=60)

    second = user.percyd("serve", "--detach", code=1)
    words = f"a daemon runs in this clone already: process {pid}; percyd stop ends it"
    assert second.said == [f"percyd: {words}"]
    assert f"percyd serve runs as process {pid}" in user.percyd("doctor").out
    beside = start("worker", cwd=user.clone)
    request.addfinalizer(beside.kill)
    workers = log.with_name("worker-0.log")
    until(lambda: workers.exists() and "watching" in workers.read_text(), "a worker")

    stopping = start("stop", cwd=user.clone)
    until(lambda: "stopping" in log.read_text(), "the signal is there")
    (marks / "go").touch()
    stopped = finish(stopping)

    assert (stopped.code, stopped.err.count("\n")) == (0, 1)
    assert stopped.out.startswith(f"process {pid} has ended")
    until(lambda: has_ended(pid), "it is gone")
    assert user.task("p.a")["status"] == "completed"
    assert beside.poll() is None
    beside.send_signal(signal.SIGHUP)  # its terminal is closed
    assert finish(beside).code == 0
    assert user.percyd("stop", "--json").document == {"stopped": None, "seconds": 0}
    assert Path(f"{log}.err").read_text().count("Traceback") == 0


def test_a_daemon_that_cannot_start_says_why_before_the_command_returns(
    tmp_path: Path,
) -> None:
    stray = make_repo(tmp_path / "stray")

    done = percyd(stray, "serve", "--detach", code=2)
    words = "percyd is not set up in this repository; run percyd init"
    assert (done.out, done.said) == ("", [f"percyd: {words}"])
    (log,) = (tmp_path / "state").glob("*/daemon.log")
    assert "ERROR ended" in log.read_text()


def test_a_killed_daemon_is_no_daemon_and_its_number_nobodys(
    user: NewUser, tmp_path: Path
) -> None:
    killed = start("serve", cwd=user.clone)
    until(lambda: the_lock(tmp_path).exists(), "it is up", within_s=60)
    until(lambda: the_lock(tmp_path).read_text() == str(killed.pid), "it says so")
    killed.kill()
    finish(killed)

    # As after a restart of the machine: the number is somebody else's now, ours.
    the_lock(tmp_path).write_text(str(os.getpid()))
    assert user.percyd("stop").out == "no daemon runs in this clone\n"

    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(60)
        again = start("serve", cwd=user.clone, NOTIFY_SOCKET=str(address))
        assert manager.recv(100) == b"READY=1"
        stopped = user.percyd("stop", "--json").document
        assert stopped["stopped"] == again.pid
        assert manager.recv(100) == b"STOPPING=1"
    assert finish(again).code == 0


#: Makes something, ignores what ends others, and says who it is.
STUBBORN = """\
trap '' TERM INT
env > {marks}/environment
echo half > half.txt
echo $$ > {marks}/new
mv {marks}/new {marks}/pid
while :; do sleep 0.05; done
"""


def test_the_second_signal_leaves_no_claim_behind_a_stubborn_program(
    user: NewUser, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    a_task(user, STUBBORN.format(marks=marks))
    daemon = start("serve", cwd=user.clone, NOTIFY_SOCKET="/nowhere")
    until((marks / "pid").exists, "its program runs", within_s=60)

    daemon.send_signal(signal.SIGINT)
    (log,) = (tmp_path / "state").glob("shop-*/daemon.log")
    until(lambda: "stopping" in log.read_text(), "the signal is there")
    daemon.send_signal(signal.SIGINT)
    began_s = SystemClock().boot_s()
    done = finish(daemon)

    assert SystemClock().boot_s() - began_s < 30  # and not a lease of 90 s
    assert done.code == 128 + signal.SIGINT
    assert done.said[-1] == "percyd: 1 task was given back"
    assert has_ended(int((marks / "pid").read_text()))
    assert "NOTIFY_SOCKET" not in (marks / "environment").read_text()
    task: dict[str, Any] = user.task("p.a")
    assert (task["status"], task["retries"]) == ("submitted", 0)
    (attempt,) = task["attempts"]
    assert attempt["outcome"] == "released"
    assert git(user.remote, "show", f"{attempt['commit']}:half.txt") == "half"
    assert check(user.remote) == []


def test_a_stop_that_takes_too_long_may_be_said_again(
    user: NewUser, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    a_task(user, STUBBORN.format(marks=marks))
    pid = user.percyd("serve", "--detach", "--grace", "300", "--json").document["pid"]
    until((marks / "pid").exists, "its program runs", within_s=60)

    first = start("stop", cwd=user.clone)
    assert first.stderr is not None
    said = first.stderr.readline()  # while the program goes on
    (log,) = (tmp_path / "state").glob("shop-*/daemon.log")
    until(lambda: "stopping" in log.read_text(), "the signal is there")
    second = user.percyd("stop", "--json", "-q")

    assert said == (
        f"percyd: process {pid} ends: its running tasks get 300 s; "
        "percyd stop once more ends it at once\n"
    )
    assert (second.document["stopped"], second.err) == (pid, "")
    assert finish(first).code == 0
    assert has_ended(int((marks / "pid").read_text()))
    assert user.task("p.a")["status"] == "submitted"


def test_the_unit_starts_this_clone_wherever_it_is_read(
    user: NewUser, tmp_path: Path
) -> None:
    done = user.percyd("service", "--systemd")
    assert f" -C {user.clone} serve\n" in done.out
    assert f"Environment=PERCYD_STATE_DIR={tmp_path}/state\n" in done.out
    assert "systemctl --user enable --now percyd-shop-" in done.err


def test_what_percyd_keeps_here_goes_when_nothing_is_lost_by_it(
    user: NewUser, tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    a_task(user, STUBBORN.format(marks=marks).replace("trap", ": trap"))
    daemon = start("serve", cwd=user.clone)
    until((marks / "pid").exists, "its program runs", within_s=60)
    home = the_lock(tmp_path).parents[1]
    user.percyd("hook", "install")
    hooks = user.clone / ".git" / "hooks"

    refused = user.percyd("uninstall", "--yes", code=1)
    assert f"percyd runs in this clone: process {daemon.pid}" in refused.said[0]
    daemon.kill()
    finish(daemon)
    until(lambda: has_ended(int((marks / "pid").read_text())), "its program is gone")
    slot = home / "locks" / "slot-0.lock"
    until(lambda: FileLock(slot).is_free(), "its supervisor is gone")
    asked = user.percyd("uninstall", code=1)
    assert asked.said == ["percyd: nothing was removed; --yes removes it"]
    assert f"the worktree {home}/slots/0/p.a.1 is rescued before" in asked.out
    away = user.remote.rename(tmp_path / "away")
    user.percyd("uninstall", "--yes", code=3)
    assert (home / "slots/0/p.a.1/half.txt").exists()
    assert (hooks / "post-commit").exists()
    away.rename(user.remote)

    before = user.refs()
    removed = user.percyd("uninstall", "--yes")

    assert "percy/plan/*  (1)" in removed.out
    assert str(hooks / "post-commit") in removed.out
    assert not (hooks / "post-commit").exists()
    assert list((tmp_path / "state").iterdir()) == []
    after = user.refs()
    assert before.keys() < after.keys()
    assert git(user.remote, "show", "refs/percy/rescue/p.a/1:half.txt") == "half"
    assert check(user.remote) == []
