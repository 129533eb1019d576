"""Agents that misbehave, or say one thing and do another: a named end each time.

The agent is a shell script that speaks as claude does: what it does and says comes from
a file for each task.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import psutil
import pytest

from tests.support.checker import check
from tests.support.gitrepo import commit, git, refs
from tests.support.newuser import NewUser, checkout, new_user

pytestmark = pytest.mark.timeout(180)

_AGENT = """#!/bin/sh
# Arguments are of no interest; the prompt says which task it is.
name=$(sed -n 's/^Task p\\.\\([a-z-]*\\), attempt.*/\\1/p' | head -n 1)
echo '{"type":"system","subtype":"init","session_id":"s","model":"m"}'
. "$DEEDS/$name"
"""


def result(text: str = "done", **more: object) -> str:
    event = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "result": text,
        "session_id": "s",
        "num_turns": 1,
        "total_cost_usd": 0.25,
        "usage": {"input_tokens": 10, "output_tokens": 2},
        **more,
    }
    return f"cat <<'END'\n{json.dumps(event)}\nEND\n"


WORK = 'echo x > "$PERCY_TASK_ID.txt"\n'
DENIED = [{"tool_name": "Bash", "tool_input": {"command": "make test"}}]
#: What each agent does, how its only attempt ends (None: landed), and a word of why.
DEEDS: dict[str, tuple[str, str | None, str]] = {
    "works": (WORK + result(), None, ""),
    "says-nothing": (WORK, "runner_failed", "without a result"),
    "lies": (result("all done"), "empty_result", "changed nothing"),
    "errs": (WORK + result("no", is_error=True), "runner_failed", "no"),
    "is-denied": (
        WORK + result(permission_denials=DENIED),
        "runner_failed",
        "make test",
    ),
    "dies": (WORK + "kill -9 $$\n", "runner_failed", "signal 9"),
    "is-cut-short": (
        WORK + 'printf \'{"type":"result","subtype":"succ\'\n',
        "runner_failed",
        "without a result",
    ),
    "fails-after": (WORK + result() + "exit 7\n", "runner_failed", "exit 7"),
    "sleeps": (WORK + "sleep 600\n", "idle", "printed nothing"),
    "talks-for-ever": (
        WORK + "while :; do echo '{}'; sleep 0.1; done\n",
        "timed_out",
        "",
    ),
    "switches": (WORK + "git checkout -q -b mine\n" + result(), "left_branch", "mine"),
    "floods": (
        WORK + "head -c 300000000 /dev/zero | tr '\\0' y\necho\n" + result(),
        None,
        "",
    ),
    "floods-lines": (WORK + "yes | head -c 300000000\n" + result(), None, ""),
    "removes-git": ("rm -rf .git\n" + WORK + result(), None, ""),
    "configures": (
        "git config core.hooksPath /nowhere\n"
        "git config url./nowhere.insteadOf /\n"
        "git config remote.origin.url /nowhere\n" + WORK + result(),
        None,
        "",
    ),
    "links-out": ("ln -s ../../../../.. out\n" + WORK + result(), None, ""),
    "writes-outside": (
        'echo mine > "$OUTSIDE/f"; echo mine > ../f\n' + WORK + result(),
        None,
        "",
    ),
    "pushes": (
        WORK
        + "git add -A; git commit -qm own\n"
        + 'git push -q "$REMOTE" HEAD:refs/heads/mine\n'
        + result(),
        None,
        "",
    ),
    "forks-twice": (
        WORK
        + "setsid sh -c 'trap \"\" TERM; sleep 98765 & sleep 98765' > /dev/null 2>&1 &\n"
        + result(),
        None,
        "",
    ),
}


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewUser:
    """A small repository whose tasks a misbehaving agent does."""
    made = new_user(tmp_path, timeout_s=6, idle_s=3, log_bytes=1_000_000)
    deeds, outside = tmp_path / "deeds", tmp_path / "outside"
    deeds.mkdir()
    outside.mkdir()
    for name, (script, _, _) in DEEDS.items():
        (deeds / name).write_text(script)
    agent = tmp_path / "claude"
    agent.write_text(_AGENT)
    agent.chmod(0o755)
    env = {"DEEDS": deeds, "OUTSIDE": outside, "REMOTE": made.remote}
    rows = "\n".join(f'{name} = "{path}"' for name, path in env.items())
    config = (made.clone / ".percy/config.toml").read_text()
    config = config.replace("[limits]", 'runner = "claude"\n[limits]')
    config += f'[runners.claude]\ncommand = ["{agent}"]\n[runners.claude.env]\n{rows}\n'
    commit(made.clone, {".percy/config.toml": config}, "Set up the agent")
    made.push()
    return made


def test_every_agent_ends_as_what_it_is(user: NewUser, tmp_path: Path) -> None:
    tasks = [{"id": name, "title": name} for name in DEEDS]
    tasks.append({"id": "plain", "title": "P", "run": "echo p > plain.txt"})
    limits = {"title": "P", "defaults": {"max_attempts": 1}, "tasks": tasks}
    user.commit_plan("p.yaml", limits)
    before = checkout(user.clone)

    done = user.percyd("serve", "--slots", "4", "--until-idle", code=1)

    assert "Traceback" not in done.err
    ends = {}
    for task in user.status()["tasks"]:
        (attempt,) = task["attempts"]
        why = attempt["reason"] or {"code": None, "message": ""}
        ends[task["id"]] = why["code"]
        _, _, word = DEEDS.get(task["id"].removeprefix("p."), ("", None, ""))
        assert word in why["message"], (task["id"], why)
    assert ends == {
        "p.plain": None,
        **{f"p.{n}": code for n, (_, code, _) in DEEDS.items()},
    }
    assert checkout(user.clone) == before
    landed = git(user.remote, "ls-tree", "--name-only", "percy/plan/p").splitlines()
    works = {f"p.{name}.txt" for name, (_, code, _) in DEEDS.items() if code is None}
    assert works | {"plain.txt", "out"} <= set(landed)
    # What it had made is kept, whatever became of it.
    for name in ("says-nothing", "errs", "is-denied", "dies", "sleeps", "switches"):
        file = f"refs/percy/rescue/p.{name}/1:p.{name}.txt"
        assert git(user.remote, "show", file) == "x"
    cost = user.task("p.errs")["attempts"][0]["usage"]
    assert (cost["cost_usd"], cost["input_tokens"]) == (0.25, 10)

    # Nothing of it is left here, and percyd's own repository is sound.
    assert not [p for p in psutil.process_iter() if "98765" in " ".join(_cmdline(p))]
    state = Path(os.environ["PERCYD_STATE_DIR"])
    (hub,) = state.glob("*/hub.git")
    assert git(hub, "fsck", "--no-dangling") == ""
    assert list(state.glob("*/slots/*/p.*")) == []
    for log in state.glob("*/logs/*/*.log"):
        assert log.stat().st_size < 1_100_000
    assert check(user.remote) == []
    # A push of its own is its own doing: percyd took nothing of it for its own.
    assert "refs/heads/mine" in refs(user.remote)
    assert user.task("p.pushes")["result"]["branch"].startswith("agent/")


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
