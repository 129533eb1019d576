"""A repository, a coding agent that does its tasks, and the model that the agent asks."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.support.gitrepo import commit
from tests.support.model import Model, Say, Step, Turn
from tests.support.newuser import Done, NewUser, finish, new_user, start

F = TypeVar("F", bound=Callable[..., object])

#: A run of an agent against a model on loopback takes a second or five; none may hang.
_WITHIN_S = 150
_LIMITS = "[limits]\nbackoff_s = 0.1\nidle_s = 60\ntimeout_s = 90\n"


class Crew:
    """One new user whose runner is a real agent."""

    def __init__(self, folder: Path, agent: str) -> None:
        self.agent = agent
        self.script: Callable[[Turn], Step] = lambda _: Say("done")
        self.model = Model(lambda turn: self.script(turn))
        self.user: NewUser = new_user(folder, {"README.md": "# A shop\n"})
        self._folder = folder
        self._env = _ENVIRONMENTS[agent](self.model.url, folder)
        text = f'base = "main"\nrunner = "{agent}"\n{_LIMITS}{self._table()}'
        commit(self.user.clone, {".percy/config.toml": text}, "Set up the agent")
        self.user.push()

    def _table(self) -> str:
        rows = [f"[runners.{self.agent}]"]
        rows += [
            f"{key} = {value}" for key, value in _tables(self.model.url, self.agent)
        ]
        return "\n".join(rows) + "\n"

    def serve(self, *args: str, code: int | None = 0) -> Done:
        """``percyd serve --until-idle`` to its end."""
        done = self.finish(self.start("--until-idle", *args))
        assert code in (None, done.code), f"{done.code}\n{done.out}\n{done.err}"
        return done

    def start(self, *args: str) -> subprocess.Popen[str]:
        """``percyd serve``, begun."""
        return start("serve", *args, cwd=self.user.clone, **self._env)

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Wait for its end."""
        return finish(process, _WITHIN_S)


def plan(*tasks: str) -> str:
    """The text of a plan with these tasks, each as YAML has it between braces."""
    return "title: A shop\ndescription: Everything in one file each.\ntasks:\n" + (
        "".join(f"- {{{task}}}\n" for task in tasks)
    )


def agents(*names: str) -> Callable[[F], F]:
    """A test is for these agents only."""

    def note(test: F) -> F:
        test.__dict__["agents"] = names
        return test

    return note


def task_of(turn: Turn) -> str:
    """The task that an agent is at: named by percyd in the first prompt."""
    for prompt in turn.prompts:
        _, found, rest = prompt.partition("Task ")
        if found:
            return rest.partition(",")[0]
    return ""


def _tables(url: str, agent: str) -> list[tuple[str, str]]:
    """What the configuration says of the agent, so that it asks our model."""
    if agent == "codex":
        provider = (
            f'model_providers.mock={{name="mock",base_url="{url}/v1",'
            'env_key="OPENAI_API_KEY",wire_api="responses",request_max_retries=1,'
            "stream_max_retries=1}"
        )
        args = ["-c", provider, "-c", "model_provider=mock"]
        return [("model", '"mock-model"'), ("args", json.dumps(args))]
    if agent == "opencode":
        return [("model", '"mock/mock-model"')]
    if agent == "aider":
        args = ["--edit-format", "whole", "--map-tokens", "0"]
        return [("model", '"openai/mock-model"'), ("args", json.dumps(args))]
    return []


def _claude(url: str, _: Path) -> dict[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "sk-ant-" + "x" * 30,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _codex(_: str, __: Path) -> dict[str, str]:
    return {"OPENAI_API_KEY": "dummy"}


def _gemini(url: str, folder: Path) -> dict[str, str]:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False},
        "telemetry": {"enabled": False},
    }
    home = folder / "agent-home"
    (home / ".gemini").mkdir(parents=True)
    (home / ".gemini/settings.json").write_text(json.dumps(settings))
    return {
        "GEMINI_CLI_HOME": str(home),
        "GEMINI_API_KEY": "dummy",
        "GOOGLE_GEMINI_BASE_URL": url,
    }


def _opencode(url: str, folder: Path) -> dict[str, str]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "options": {"baseURL": f"{url}/v1", "apiKey": "dummy"},
        "models": {
            "mock-model": {
                "name": "mock",
                "limit": {"context": 200000, "output": 8000},
            }
        },
    }
    settings = {
        "autoupdate": False,
        "share": "disabled",
        "model": "mock/mock-model",
        "small_model": "mock/mock-model",
        "enabled_providers": ["mock"],
        "provider": {"mock": provider},
    }
    config = folder / "agent-home/config/opencode"
    config.mkdir(parents=True)
    (config / "opencode.json").write_text(json.dumps(settings))
    return {
        "XDG_CONFIG_HOME": str(config.parent),
        "XDG_DATA_HOME": str(folder / "agent-home/data"),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
    }


def _aider(url: str, _: Path) -> dict[str, str]:
    return {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": "dummy"}


_ENVIRONMENTS: dict[str, Callable[[str, Path], dict[str, str]]] = {
    "claude": _claude,
    "codex": _codex,
    "gemini": _gemini,
    "opencode": _opencode,
    "aider": _aider,
}
