"""opencode: ``opencode run --format json`` (1.18.33)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import ClassVar

from percyd.core.records import Usage
from percyd.runners.agent import AgentRunner
from percyd.runners.base import Job, Reader, Start
from percyd.runners.events import (
    Began,
    Called,
    Ended,
    Event,
    Json,
    Said,
    Trouble,
    cost_of,
    count_of,
    detail_of,
    mapping,
    object_of,
    one_line,
    text_of,
)


class OpencodeRunner(AgentRunner):
    """``type = "opencode"``."""

    type = "opencode"
    default_command = ("opencode",)
    credentials = (
        *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY"),
        *("GEMINI_API_KEY", "GOOGLE_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY"),
    )
    settings: ClassVar[Mapping[str, str]] = {
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
        "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    }

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        words = [*self.command, "run", "--format", "json"]
        if self.config.model:
            words += ["-m", self.config.model]
        if job.session is not None:
            words += ["--session", job.session]
        if job.read_only:
            words += ["--agent", "plan"]
        environment = self.environment
        if not self.config.project_settings:
            environment.setdefault("OPENCODE_DISABLE_PROJECT_CONFIG", "1")
        if not job.read_only:
            # Nobody is there to be asked.
            mode = self.config.permission_mode or "allow"
            allowed = {"permission": {"edit": mode, "bash": mode}}
            environment.setdefault("OPENCODE_CONFIG_CONTENT", json.dumps(allowed))
        return Start((*words, *self.config.args), job.prompt_file, environment)

    def reader(self, job: Job) -> Reader:
        """See `Runner`."""
        return OpencodeReader()


class OpencodeReader(Reader):
    """Reads ``--format json``: the end is a step that stops, there is no result."""

    marks: ClassVar[bytes] = b"{"

    def __init__(self) -> None:
        super().__init__()
        self._tokens = [0, 0]
        self._cost = 0.0
        self._turns = 0

    def read(self, line: bytes) -> Iterator[Event]:
        """See `Reader`."""
        event = object_of(line) or {}
        part = mapping(event.get("part"))
        session = text_of(event.get("sessionID"))
        if session and self.ran.session is None:
            self.ran.session = session
            yield Began(session)
        match event.get("type"):
            case "step_start":
                self.ran.is_done = None
            case "text":
                self.ran.said = text_of(part.get("text")) or self.ran.said
                yield Said(text_of(part.get("text")))
            case "tool_use":
                state = mapping(part.get("state"))
                yield Called(text_of(part.get("tool")), detail_of(state.get("input")))
                if state.get("status") == "error":
                    yield Trouble(one_line(text_of(state.get("error"))))
            case "step_finish":
                self._count(part)
                if part.get("reason") == "stop":
                    self.ran.is_done = True
                    yield Ended(self.ran.said, self._cost)
            case "error":
                error = mapping(event.get("error"))
                why = text_of(mapping(error.get("data")).get("message"))
                self.ran.fail(why or text_of(error.get("name")) or "error")
                yield Trouble(one_line(self.ran.problem))

    def _count(self, part: Json) -> None:
        tokens = mapping(part.get("tokens"))
        cache = mapping(tokens.get("cache"))
        self._tokens[0] += sum(
            count_of(found)
            for found in (tokens.get("input"), cache.get("read"), cache.get("write"))
        )
        self._tokens[1] += count_of(tokens.get("output"))
        self._cost += cost_of(part.get("cost")) or 0.0
        self._turns += 1
        self.ran.usage = Usage(
            input_tokens=self._tokens[0],
            output_tokens=self._tokens[1],
            cost_usd=self._cost,
            turns=self._turns,
        )
