"""``percyd doctor`` from outside: what it finds, what it says, what it leaves alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from percyd.repo.runner import Git
from tests.support.gitrepo import commit, git, make_repo, refs, write_hook
from tests.support.newuser import (
    Done,
    NewUser,
    checkout,
    finish,
    new_user,
    percyd,
    settings,
    start,
)


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    return new_user(tmp_path)


def found(done: Done, mark: str) -> dict[str, Any]:
    """The checks with a mark, by name; there may only be one of each name."""
    checks = [check for check in done.document["checks"] if check["mark"] == mark]
    assert done.document["summary"][mark] == len(checks)
    names = [check["name"] for check in checks]
    assert len(names) == len(set(names)), checks
    return dict(zip(names, checks, strict=True))


def test_all_is_well_and_nothing_is_left_behind(user: NewUser) -> None:
    before = refs(user.remote), checkout(user.clone)

    done = user.percyd("doctor")
    as_json = user.percyd("doctor", "--json")

    assert (refs(user.remote), checkout(user.clone)) == before
    *lines, summary = done.out.splitlines()
    assert {line.split()[0] for line in lines} == {"ok"}
    assert summary == f"all {len(lines)} ok"
    assert done.err == ""
    assert found(as_json, "warning") == found(as_json, "problem") == {}
    checks = found(as_json, "ok")
    assert {"git", "remote", "push", "branches", "base", "state"} <= set(checks)
    more = {"atomic push", "custom refs", "fleet", "pins", "hub size", "disk", "clock"}
    assert more <= set(checks)
    assert checks["daemon"]["message"].startswith("none runs")
    assert "--probe tries" in checks["custom refs"]["message"]
    assert user.refs()["refs/heads/percy/state"] in checks["state"]["message"]


def test_it_works_in_a_bare_repository_and_without_a_remote(
    user: NewUser, tmp_path: Path
) -> None:
    assert "bare" in percyd(user.remote, "doctor").out
    alone = make_repo(tmp_path / "alone")
    done = percyd(alone, "doctor", "--json")
    assert "this repository itself" in found(done, "ok")["remote"]["message"]
    assert found(done, "warning")["state"]["hint"] == "run percyd init"
    assert [ref for ref in refs(alone) if "percy" in ref] == []


def test_outside_of_a_repository_there_is_one_line(tmp_path: Path) -> None:
    done = percyd(tmp_path, "doctor", code=2)
    assert done.out == ""
    assert len(done.err.splitlines()) == 1
    assert "not in a Git repository" in done.said[0]


def test_a_broken_configuration_hides_nothing_else(user: NewUser) -> None:
    (user.clone / ".percy/config.toml").write_text("basis = 1\n")
    done = user.percyd("doctor", "--json", code=2)
    problems = found(done, "problem")
    assert list(problems) == ["config"]
    assert "basis" in problems["config"]["message"]
    assert {"remote", "push", "state"} <= set(found(done, "ok"))


def test_a_remote_that_is_down_is_one_problem(user: NewUser, tmp_path: Path) -> None:
    user.remote.rename(tmp_path / "away.git")
    done = user.percyd("doctor", "--json", code=3)
    assert list(found(done, "problem")) == ["remote"]
    assert {"hub", "slots"} <= set(found(done, "ok"))


def test_a_remote_without_atomic_pushes_is_a_problem(user: NewUser) -> None:
    git(user.remote, "config", "receive.advertiseAtomic", "false")
    done = user.percyd("doctor", "--json", code=1)
    problems = found(done, "problem")
    assert list(problems) == ["atomic push"]
    assert "atomic" in problems["atomic push"]["message"]


@pytest.mark.parametrize("name", ["agent", "percy"])
def test_a_branch_in_the_way_is_named(tmp_path: Path, name: str) -> None:
    clone = make_repo(tmp_path / "shop")
    git(clone, "branch", name)
    done = percyd(clone, "doctor", "--json", code=2)
    problems = found(done, "problem")
    assert list(problems) == ["branches"]
    assert f"branch {name}," in problems["branches"]["message"]


def test_a_base_that_is_not_on_the_remote_is_a_problem(user: NewUser) -> None:
    (user.clone / ".percy/config.toml").write_text('base = "trunk"\n')
    done = user.percyd("doctor", "--json", code=2)
    assert found(done, "problem")["base"]["hint"] == "push trunk first"


def test_a_runner_that_is_not_there_is_a_warning(user: NewUser) -> None:
    runner = '[runners.mytool]\ntype = "command"\ncommand = ["no-such-tool"]\n'
    (user.clone / ".percy/config.toml").write_text(settings() + runner)
    done = user.percyd("doctor", "--json")
    assert "no-such-tool" in found(done, "warning")["runners"]["message"]


def test_a_checked_out_plan_branch_is_shown_by_doctor_and_status(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path, with_remote=False)
    user.commit_plan("p.yaml", "title: P\ntasks: [{id: a, title: A, run: 'true'}]\n")
    user.percyd("plan", "submit", ".percy/plans/p.yaml")
    assert "branch_checked_out" not in user.percyd("status").out
    git(user.clone, "checkout", "-q", "percy/plan/p")

    done = user.percyd("doctor", "--json")

    message = found(done, "warning")["checkouts"]["message"]
    assert message.startswith("branch_checked_out: percy/plan/p is checked out here")
    assert "branch_checked_out: percy/plan/p" in user.percyd("status").out


def test_an_old_lock_file_of_the_remote_is_named_and_left(user: NewUser) -> None:
    fresh = user.remote / "refs/heads/percy/state.lock"
    old = user.remote / "packed-refs.lock"
    for path in (fresh, old):
        path.touch()
    os.utime(old, (1_000_000_000, 1_000_000_000))
    done = user.percyd("doctor", "--json")
    assert str(old) in found(done, "warning")["remote locks"]["message"]
    assert old.exists()
    assert fresh.exists()


def test_a_dead_agent_and_what_it_left_are_named_until_the_next_start(
    user: NewUser,
) -> None:
    run = "echo a > a.txt"
    user.commit_plan("p.yaml", f"title: P\ntasks: [{{id: a, title: A, run: {run}}}]\n")
    process = start(
        "serve", "--until-idle", cwd=user.clone, PERCY_FAILPOINT="collected:kill"
    )
    assert finish(process).code == -signal.SIGKILL
    before = user.refs()

    warnings = found(user.percyd("doctor", "--json"), "warning")

    assert user.refs() == before
    assert set(warnings) == {"agents", "slots", "pins"}
    (agent,) = user.status()["agents"]
    said = " ".join(user.percyd("status").out.split())
    assert f"warning: the process of {agent['id']} is gone: percyd serve" in said
    last = user.percyd("doctor").out.splitlines()[-1]
    assert last.startswith("3 warnings (pins, agents, slots), ")
    assert "p.a.1" in warnings["slots"]["message"]
    assert "the work of p.a/1 is only here" in warnings["pins"]["message"]
    mended = user.percyd("doctor", "--fix").out.splitlines()
    rescue = "refs/percy/rescue/p.a/1"
    assert any(f"work of p.a/1 was pushed to {rescue}" in line for line in mended)
    assert any("attempt 1 at p.a was ended" in line for line in mended)
    assert {line.split()[0] for line in mended[:-1]} == {"ok"}
    assert mended[-1] == f"all {len(mended) - 1} ok"
    assert rescue in user.refs()
    assert "nothing to mend" in user.percyd("doctor", "--fix").out
    assert "is gone" not in user.percyd("status").out


def test_a_probe_proves_what_the_remote_takes_and_leaves_nothing(
    user: NewUser,
) -> None:
    before = refs(user.remote)

    checks = found(user.percyd("doctor", "--probe", "--json"), "ok")

    assert {"protections", "deletions"} <= set(checks)
    assert refs(user.remote) == before
    write_hook(
        user.remote,
        "update",
        'case "$1 $3" in refs/percy/*) echo no custom refs >&2; exit 1;; '
        '*" 0000000000000000000000000000000000000000") exit 1;; esac',
    )
    done = user.percyd("doctor", "--probe", "--json", code=1)
    assert "no custom refs" in found(done, "problem")["custom refs"]["message"]
    assert (
        "refuses to delete refs/heads/agent/doctor-"
        in (found(done, "warning")["deletions"]["message"])
    )


@pytest.mark.spoiled
def test_a_state_from_the_future_means_that_some_clock_is_wrong(user: NewUser) -> None:
    state = "refs/heads/percy/state"
    when = {"GIT_COMMITTER_DATE": "2099-01-01T00:00:00Z"}
    who = ("-c", "user.name=percyd", "-c", "user.email=percyd@localhost")
    made = Git(user.remote).run(
        *(*who, "commit-tree", "-p", state, "-m", "say: x", f"{state}^{{tree}}"),
        extra_env=when,
    )
    git(user.remote, "update-ref", state, made.text)

    warnings = found(user.percyd("doctor", "--json"), "warning")

    assert "ahead of the clock here" in warnings["clock"]["message"]


def test_a_committed_plan_that_can_never_be_taken_in_is_named(user: NewUser) -> None:
    user.commit_plan("good.yaml", {"title": "Good", "tasks": [_TASK]})
    user.commit_plan("typo.yaml", {"titel": "Typo", "tasks": [{**_TASK, "rnu": "x"}]})

    done = user.percyd("doctor", "--json")

    (said,) = found(done, "warning").values()
    assert said["message"].startswith(".percy/plans/typo.yaml:")
    assert "other problem" in said["message"]
    assert "1 file waits" in found(done, "ok")["plans"]["message"]


def test_an_edit_that_an_open_plan_does_not_follow_is_named(user: NewUser) -> None:
    good = {"title": "Good", "tasks": [{**_TASK, "specialization": ["nobody"]}]}
    user.commit_plan("good.yaml", good)
    user.percyd("plan", "submit", ".percy/plans/good.yaml")
    user.commit_plan("good.yaml", {**good, "tasks": [{"id": "a"}]})

    done = user.percyd("doctor", "--json")

    (said,) = found(done, "warning").values()
    assert said["message"].startswith(".percy/plans/good.yaml:")
    assert "waits" not in found(done, "ok")["plans"]["message"]


_TASK = {"id": "a", "title": "A", "run": "true"}


@pytest.mark.parametrize(
    ("script", "mark", "said"),
    [
        ("echo '2.1.197 (Claude Code)'", "ok", "claude: {}, 2.1.197 (Claude Code)"),
        (
            "echo broken >&2; exit 3",
            "warning",
            "claude: {} --version does not work: broken",
        ),
        (None, "warning", "claude: {} is not on PATH here"),
    ],
)
def test_an_agent_is_asked_for_its_version(
    user: NewUser, tmp_path: Path, script: str | None, mark: str, said: str
) -> None:
    program = tmp_path / "claude"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    text = f'{settings()}[runners.claude]\ncommand = ["{program}"]\n'
    commit(user.clone, {".percy/config.toml": text})
    user.push()

    checks = found(user.percyd("doctor", "--json"), mark)

    assert checks["runners"]["message"] == said.format(program)
