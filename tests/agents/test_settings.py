"""Settings and servers that a repository brings for an agent run nothing by themselves."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.crew import Crew, agents, plan
from tests.support.gitrepo import commit
from tests.support.model import Say, Step, Turn, Write


def bring(crew: Crew, mark: Path) -> None:
    """Files that each agent would start a command for, if it obeyed them."""
    touch = f"touch '{mark}'"
    server = {"command": "sh", "args": ["-c", f"{touch}; cat"]}
    hook = {"hooks": [{"type": "command", "command": touch}]}
    files = {
        ".mcp.json": json.dumps({"mcpServers": {"mine": server}}),
        ".claude/settings.json": json.dumps({"hooks": {"SessionStart": [hook]}}),
        ".codex/config.toml": (
            f'[mcp_servers.mine]\ncommand = "sh"\nargs = ["-c", "{touch}; cat"]\n'
        ),
        ".gemini/settings.json": json.dumps({"mcpServers": {"mine": server}}),
        "opencode.json": json.dumps(
            {
                "mcp": {
                    "mine": {
                        "type": "local",
                        "command": ["sh", "-c", f"{touch}; cat"],
                        "enabled": True,
                    }
                }
            }
        ),
        ".aider.conf.yml": f"auto-test: true\ntest-cmd: {touch}\n",
    }
    commit(crew.user.clone, files, "Bring settings")
    crew.user.push()


def work(turn: Turn) -> Step:
    return Say("did it") if turn.results else Write("a.txt", "a\n")


@agents("claude", "codex", "gemini", "opencode")
def test_what_a_repository_brings_is_not_obeyed(crew: Crew, tmp_path: Path) -> None:
    mark = tmp_path / "obeyed"
    bring(crew, mark)
    crew.script = work
    crew.user.commit_plan("shop.yaml", plan("id: a, title: A"))

    crew.serve()

    assert crew.user.file("shop", "a.txt") == "a"
    assert not mark.exists()


@agents("aider")
def test_who_cannot_be_kept_from_obeying_does_not_run(
    crew: Crew, tmp_path: Path
) -> None:
    mark = tmp_path / "obeyed"
    bring(crew, mark)
    crew.script = work
    crew.user.commit_plan("shop.yaml", plan("id: a, title: A"))

    crew.serve(code=1)

    reason = crew.user.task("shop.a")["reason"]
    assert reason["code"] == "unsupported_repository"
    assert ".aider.conf.yml" in reason["message"]
    assert not mark.exists()


# The others want a person to trust the folder first.
@agents("claude", "opencode", "aider")
def test_it_is_obeyed_where_the_configuration_says_so(
    crew: Crew, tmp_path: Path
) -> None:
    mark = tmp_path / "obeyed"
    bring(crew, mark)
    path = crew.user.clone / ".percy/config.toml"
    table = f"[runners.{crew.agent}]\n"
    text = path.read_text().replace(table, f"{table}project_settings = true\n")
    commit(crew.user.clone, {".percy/config.toml": text}, "Trust it")
    crew.script = work
    crew.user.commit_plan("shop.yaml", plan("id: a, title: A"))

    crew.serve()

    assert mark.exists()
