"""Workers that fall silent, on real git: stopped, killed, cut off from the remote."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.checker import check
from tests.support.gitrepo import commit, git, write_hook
from tests.support.newuser import NewUser, finish, new_user, start
from tests.support.shop import Shop
from tests.support.state import task as a_task

LEASE = "[lease]\nbeat_s = 0.3\nlease_s = 1.5\nidle_beat_s = 1.0\n"


def until(condition: Callable[[], object], what: str, within_s: float = 40) -> None:
    pause = threading.Event()
    for _ in range(int(within_s / 0.02)):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(f"not within {within_s} s: {what}")


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    made = new_user(tmp_path)
    config = made.clone / ".percy/config.toml"
    commit(made.clone, {".percy/config.toml": config.read_text() + LEASE}, "lease")
    made.push()
    yield made
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in " ".join([*process.cmdline(), process.cwd()]):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def plan_that_waits(
    tmp_path: Path, user: NewUser, first: str = ""
) -> tuple[Path, Path]:
    """One task that says where it runs and lasts until it may go on."""
    started, go = tmp_path / "started", tmp_path / "go"
    run = (
        f"{first}"
        f"echo $$ >> {started}; n=0;"
        f" while [ ! -e {go} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done;"
        " echo $PERCY_ATTEMPT > done.txt"
    )
    task = {"id": "a", "title": "A", "run": run}
    user.commit_plan("p.yaml", {"title": "P", "tasks": [task]})
    user.percyd("plan", "submit", ".percy/plans/p.yaml")
    return started, go


def pids(started: Path) -> list[int]:
    return (
        [int(line) for line in started.read_text().split()] if started.exists() else []
    )


@pytest.mark.timeout(120)
def test_a_worker_that_was_stopped_past_its_lease_changes_nothing_when_it_wakes(
    user: NewUser, tmp_path: Path
) -> None:
    daemons = tmp_path / "daemons"
    daemon = (
        f"sh -c 'echo $$ >> {daemons}; exec sleep 600' < /dev/null > /dev/null 2>&1"
    )
    started, go = plan_that_waits(
        tmp_path, user, f"echo half > half.txt; (setsid {daemon} &); "
    )
    one = start("worker", "--slots", "1", cwd=user.clone)
    until(lambda: len(pids(started)) == 1, "the first attempt begins")
    until(lambda: len(pids(daemons)) == 1, "its daemon has cut all ties")
    one.send_signal(signal.SIGSTOP)
    other = start("worker", "--until-idle", cwd=user.clone_again("other"))
    until(lambda: len(pids(started)) == 2, "another worker takes the task over")
    go.touch()
    done = finish(other)
    assert done.code == 0, done.err
    before, task = user.refs(), user.task("p.a")

    one.send_signal(signal.SIGCONT)

    first = [pids(started)[0], pids(daemons)[0]]
    until(lambda: not any(map(psutil.pid_exists, first)), "its runner is ended")
    one.send_signal(signal.SIGTERM)
    finish(one)
    assert [a["outcome"] for a in task["attempts"]] == ["lost", "completed"]
    assert user.task("p.a") == task
    assert user.file("p", "done.txt") == "2"
    # Its own heartbeat, the rescued work, and the goodbye of whatever it joined as.
    after = user.refs()
    moved = {ref for ref in before | after if before.get(ref) != after.get(ref)}
    others = {ref for ref in moved if not ref.startswith("refs/percy/agents/")}
    assert others - {"refs/heads/percy/state"} == {"refs/percy/rescue/p.a/1"}
    rows = f"{before['refs/heads/percy/state']}..refs/heads/percy/state"
    said = git(user.remote, "log", "--format=%s", rows).splitlines()
    assert {line.partition(":")[0] for line in said} <= {"join", "leave"}
    assert git(user.remote, "show", "refs/percy/rescue/p.a/1:half.txt") == "half"
    assert check(user.remote) == []


@pytest.mark.timeout(120)
def test_a_worker_cut_off_from_its_remote_ends_its_task_and_joins_anew(
    user: NewUser, tmp_path: Path
) -> None:
    started, go = plan_that_waits(tmp_path, user)
    worker = start("worker", "--until-idle", "--slots", "1", cwd=user.clone)
    until(lambda: len(pids(started)) == 1, "the first attempt begins")
    away = user.remote.with_name("away.git")
    user.remote.rename(away)
    until(lambda: not psutil.pid_exists(pids(started)[0]), "it ends its own runner")
    go.touch()
    away.rename(user.remote)
    done = finish(worker)
    assert done.code == 0, done.err
    task = user.task("p.a")
    assert [a["outcome"] for a in task["attempts"]] == ["lost", "completed"]
    assert task["attempts"][0]["agent"] != task["attempts"][1]["agent"]
    assert check(user.remote) == []


@pytest.mark.timeout(120)
def test_a_killed_worker_of_another_machine_is_lost_and_its_runner_dies(
    user: NewUser, tmp_path: Path
) -> None:
    started, go = plan_that_waits(tmp_path, user)
    one = start("worker", "--slots", "1", cwd=user.clone)
    until(lambda: len(pids(started)) == 1, "the first attempt begins")
    one.kill()
    assert finish(one).code == -signal.SIGKILL
    until(lambda: not psutil.pid_exists(pids(started)[0]), "its runner dies with it")
    other = start("worker", "--until-idle", cwd=user.clone_again("other"))
    until(lambda: len(pids(started)) == 2, "another worker takes the task over")
    go.touch()
    assert finish(other).code == 0
    assert [a["outcome"] for a in user.task("p.a")["attempts"]] == ["lost", "completed"]
    assert check(user.remote) == []


@pytest.mark.timeout(120)
def test_work_in_progress_is_on_the_rescue_ref_before_anything_goes_wrong(
    user: NewUser, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    run = (
        "echo half > half.txt; git add .; git commit -qm half; n=0;"
        f" while [ ! -e {go} ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done"
    )
    user.commit_plan(
        "p.yaml", {"title": "P", "tasks": [{"id": "a", "title": "A", "run": run}]}
    )
    process = start("serve", "--until-idle", cwd=user.clone)
    rescue = "refs/percy/rescue/p.a/1"
    until(lambda: rescue in user.refs(), "the beat brings the commit")
    go.touch()
    assert finish(process).code == 0
    assert user.file("p", "half.txt") == "half"
    assert rescue not in user.refs()
    assert check(user.remote) == []


def test_an_attempt_that_begins_after_its_lease_publishes_nothing(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path)
    try:
        shop.take_in(a_task("p", "a", run="touch done"))
        claimed = shop.claim()
        before = shop.refs()
        shop.leash.cut_off()
        shop.run(claimed)
        assert shop.refs() == before
    finally:
        shop.close()


def test_a_remote_that_takes_nothing_for_a_while_fails_no_task(tmp_path: Path) -> None:
    shop, left = Shop(tmp_path), tmp_path / "left"
    try:
        shop.take_in(a_task("p", "a", run="touch done"))
        claimed = shop.claim()
        left.write_text("2\n")
        write_hook(
            shop.remote,
            "pre-receive",
            f"n=$(cat {left}); echo $((n - 1)) > {left}; test $n -le 0",
        )
        done = shop.run(claimed)
        assert (done.status, done.attempt) == ("completed", 1)
        assert int(left.read_text()) < 0
    finally:
        shop.close()
