"""Which runners there are: percyd's own, and those of other packages."""

from __future__ import annotations

import shutil
from importlib.metadata import entry_points
from typing import Final

from percyd.errors import InvalidConfig
from percyd.runners.agent import AgentRunner
from percyd.runners.aider import AiderRunner
from percyd.runners.base import Runner
from percyd.runners.claude import ClaudeRunner
from percyd.runners.codex import CodexRunner
from percyd.runners.command import CommandRunner
from percyd.runners.gemini import GeminiRunner
from percyd.runners.opencode import OpencodeRunner
from percyd.settings import AGENTS, Config, RunnerConfig, runner_type

#: Packages name a class here that is made with a name and a `RunnerConfig`.
GROUP: Final = "percyd.runners"
OWN: Final[dict[str, type[AgentRunner]]] = {
    kind.type: kind
    for kind in (
        *(ClaudeRunner, CodexRunner, GeminiRunner, OpencodeRunner, AiderRunner),
        CommandRunner,
    )
}


def installed(path: str | None) -> list[str]:
    """The coding agents that are on ``path``, in the order in which percyd knows them."""
    return [
        name
        for name in AGENTS
        if shutil.which(OWN[name].default_command[0], path=path) is not None
    ]


def registry(config: Config) -> dict[str, Runner]:
    """The configured runners by name.

    Raises:
        InvalidConfig: one is of a type that nobody brings.
    """
    return {name: _made(name, it) for name, it in config.runners.items()}


def _made(name: str, config: RunnerConfig) -> Runner:
    kind = runner_type(name, config)
    if kind in OWN:
        return OWN[kind](name, config)
    for found in entry_points(group=GROUP, name=kind):
        try:
            made: Runner = found.load()(name, config)
        except Exception as error:
            raise InvalidConfig(
                f"runners.{name}.type: {kind} of {found.value} cannot be used: {error}"
            ) from error
        return made
    raise InvalidConfig(
        f"runners.{name}.type: is {kind!r}; there are {', '.join(OWN)}, and none of "
        "another package has this name"
    )
