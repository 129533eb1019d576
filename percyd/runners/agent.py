"""What the coding agents have in common: their part of the configuration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from percyd.runners.base import Job, Reader, Start
from percyd.settings import RunnerConfig


class AgentRunner(ABC):
    """A coding agent as ``[runners.<name>]`` describes it."""

    #: Its name in the configuration.
    type: ClassVar[str]
    default_command: ClassVar[tuple[str, ...]]
    #: The keys of its providers, which it gets without being asked for.
    credentials: ClassVar[tuple[str, ...]] = ()
    #: What it is told by its environment, where the configuration says nothing else.
    settings: ClassVar[Mapping[str, str]] = {}
    can_resume: ClassVar[bool] = True
    #: Settings of a repository that it reads whatever it is told.
    unavoidable: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, config: RunnerConfig) -> None:
        self.name = name
        self.config = config

    @property
    def command(self) -> tuple[str, ...]:
        """The program and its first arguments."""
        return self.config.command or self.default_command

    @property
    def program(self) -> str:
        """See `Runner`."""
        return self.command[0]

    @property
    def env_allow(self) -> tuple[str, ...]:
        """See `Runner`."""
        return (*self.credentials, *self.config.env_allow)

    @property
    def env_deny(self) -> tuple[str, ...]:
        """See `Runner`."""
        return self.config.env_deny

    @property
    def environment(self) -> dict[str, str]:
        """What is set for it."""
        return {**self.settings, **self.config.env}

    def obeys(self, worktree: Path) -> str | None:
        """See `Runner`."""
        if self.config.project_settings:
            return None
        return next((f for f in self.unavoidable if (worktree / f).exists()), None)

    @abstractmethod
    def start(self, job: Job) -> Start:
        """See `Runner`."""

    @abstractmethod
    def reader(self, job: Job) -> Reader | None:
        """See `Runner`."""
