"""Something happens at every named step, to a crowd of workers at the same time.

Each worker has a clone and a step of its own; `test_sudden_death` has them one by one.
"""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from percyd import failpoints
from tests.faults.test_sudden_death import leftovers
from tests.support.checker import check
from tests.support.daemonised import until
from tests.support.gitrepo import commit, git
from tests.support.newuser import NewUser, finish, new_user, start

LEASE = "[lease]\nbeat_s = 0.7\nlease_s = 3.0\nidle_beat_s = 3.0\n"
WITHIN_S = 60
TASKS = 14
PLAN: dict[str, Any] = {
    "title": "Crowd",
    "verify": "true",
    "defaults": {"max_attempts": 99},
    "tasks": [
        {"id": f"t{n}", "title": f"T{n}", "run": "echo x > $PERCY_TASK_ID.txt"}
        for n in range(TASKS)
    ],
}
#: What is reached with a task in the hand, and at which time of it.
STEPS = {
    name: {"commit-built": 3, "push-accepted": 2}.get(name, 1)
    for name in failpoints.NAMES
    if name not in ("lost-decided", "taking-in")
}
#: A step of one worker at one task whose error that task ends with.
FATAL = (
    *("claimed", "workspace-begun", "workspace-made", "program-ended"),
    *("collected", "gate-passed", "before-complete"),
)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[NewUser]:
    made = new_user(tmp_path, backoff_s=0.0)
    config = made.clone / ".percy/config.toml"
    commit(made.clone, {".percy/config.toml": config.read_text() + LEASE}, "lease")
    made.commit_plan("p.yaml", PLAN)
    yield made
    for process in psutil.process_iter():
        try:
            if str(tmp_path) in " ".join([*process.cmdline(), process.cwd()]):
                process.kill()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue


def gather(user: NewUser, action: str) -> dict[str, subprocess.Popen[str]]:
    """A worker for every step, and what it does there; all are started."""
    user.percyd("plan", "submit", ".percy/plans/p.yaml")
    return {
        name: start(
            *("worker", "--slots", "1", "--until-idle"),
            cwd=user.clone_again(name),
            PERCY_FAILPOINT=f"{name}:{action}@{count}",
        )
        for name, count in STEPS.items()
    }


def is_stopped(process: subprocess.Popen[str]) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def plan_status(user: NewUser) -> str:
    record = git(user.remote, "show", "percy/state:plans/p/plan.json", check=False)
    return next((row for row in record.splitlines() if row.startswith(' "status"')), "")


def results(user: NewUser) -> dict[str, str]:
    """The refs that carry work, and what the records say of each task."""
    tasks = {task["id"]: str(task) for task in user.status()["tasks"]}
    return user.refs("refs/heads/percy/plan") | user.refs("refs/heads/agent") | tasks


def assert_done(user: NewUser) -> None:
    tasks = user.status()["tasks"]
    assert Counter(task["status"] for task in tasks) == {"completed": TASKS}
    assert sorted(user.merges("p")) == sorted(task["id"] for task in tasks)
    assert check(user.remote) == []


@pytest.mark.timeout(150)
def test_workers_that_stop_at_every_step_change_nothing_when_they_wake(
    user: NewUser,
) -> None:
    crowd = gather(user, "stop")
    until(lambda: all(map(is_stopped, crowd.values())), "all are stopped", WITHIN_S)
    watcher = start(
        *("worker", "--slots", "1", "--until-idle"),
        cwd=user.clone_again("lost-decided"),
        PERCY_FAILPOINT="lost-decided:stop",
    )
    until(lambda: is_stopped(watcher), "it has seen one be lost", WITHIN_S)
    user.percyd("serve", "--until-idle", "--slots", "4")
    assert_done(user)
    before, tip = results(user), git(user.remote, "rev-parse", "percy/state")

    for process in [*crowd.values(), watcher]:
        process.send_signal(signal.SIGCONT)

    # 1: its last write had been waiting for longer than a write may.
    assert {finish(one).code for one in [*crowd.values(), watcher]} <= {0, 1}
    assert results(user) == before
    said = git(user.remote, "log", "--format=%s", f"{tip}..percy/state").splitlines()
    assert {line.partition(":")[0] for line in said} <= {"join", "leave", "lost"}
    assert check(user.remote) == []
    assert leftovers(user.clone.parent) == []


@pytest.mark.timeout(150)
def test_workers_that_are_killed_at_every_step_beside_one_that_lives(
    user: NewUser,
) -> None:
    crowd = gather(user, "kill")
    finish(start("worker", "--until-idle", cwd=user.clone_again("lives")))
    ends = {finish(process).code for process in crowd.values()}
    assert ends <= {0, -signal.SIGKILL}
    assert ends != {0}
    assert_done(user)

    for name in crowd:
        user_of(user, name).percyd("worker", "--until-idle")
    assert leftovers(user.clone.parent) == []
    assert check(user.remote) == []


def test_a_worker_that_is_killed_before_it_has_joined_leaves_nothing(
    user: NewUser,
) -> None:
    process = start(
        "worker", "--until-idle", cwd=user.clone, PERCY_FAILPOINT="commit-built:kill"
    )
    assert finish(process).code == -signal.SIGKILL
    assert len(leftovers(user.clone.parent)) == 1
    user.percyd("worker", "--until-idle")
    assert leftovers(user.clone.parent) == []


def user_of(user: NewUser, clone: str) -> NewUser:
    return NewUser(user.clone.with_name(clone), user.remote)


@pytest.mark.timeout(150)
def test_an_error_at_every_step_ends_in_a_reason_or_costs_nothing(
    user: NewUser,
) -> None:
    once = {"commit-built": 22, "push-accepted": 26}
    faulty = ",".join(
        f"{name}:error@{once.get(name, 1)}"
        for name in failpoints.NAMES
        if name != "lost-decided"
    )
    # One slot: each task gets one step further than the one before it. Then commits.
    one = start("serve", "--slots", "1", cwd=user.clone, PERCY_FAILPOINT=faulty)
    until(lambda: '"failed"' in plan_status(user), "the plan is closed", WITHIN_S)
    one.send_signal(signal.SIGTERM)
    said = finish(one).err
    user.percyd("serve", "--until-idle", code=None)

    tasks = user.status()["tasks"]
    failed = [task["reason"] for task in tasks if task["status"] != "completed"]
    assert {reason["code"] for reason in failed} == {"workspace_failed"}
    unsaid = [n for n in failpoints.NAMES[2:-2] if f"failpoint {n}" not in said]
    assert unsaid == [], said
    steps = Counter(reason["message"].removeprefix("failpoint ") for reason in failed)
    # An error in a commit may end the task that wanted it.
    assert set(FATAL) <= set(steps) <= {*FATAL, *once}
    assert steps.total() == len(steps)
    assert check(user.remote) == []
    assert leftovers(user.clone.parent) == []


@pytest.mark.timeout(150)
def test_a_step_that_takes_longer_than_a_lease_costs_no_attempt(
    user: NewUser,
) -> None:
    assert failpoints.SLEEP_S > 2.5
    slow = ",".join(f"{name}:sleep@{count}" for name, count in STEPS.items())
    process = start(
        *("serve", "--slots", "8", "--until-idle"),
        cwd=user.clone,
        PERCY_FAILPOINT=f"{slow},taking-in:sleep",
    )
    done = finish(process)
    assert done.code == 0, done.err
    assert_done(user)
    assert {task["attempt"] for task in user.status()["tasks"]} == {1}
    assert leftovers(user.clone.parent) == []
