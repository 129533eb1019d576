"""Gemini CLI: ``gemini --output-format stream-json`` (0.61.0)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Final

from percyd.core.records import Usage
from percyd.runners.agent import AgentRunner
from percyd.runners.base import Job, Reader, Start
from percyd.runners.events import (
    Began,
    Called,
    Ended,
    Event,
    Said,
    Trouble,
    count_of,
    detail_of,
    mapping,
    object_of,
    one_line,
    text_of,
)

#: Without it, neither editing nor commands are offered where nobody can be asked.
_MODE: Final = "yolo"
#: So many pieces of a message are gathered before they are cut to what is kept.
_MOST_PIECES: Final = 1000
_SAID_CHARS: Final = 20_000
#: What stands behind the text on standard input.
_LAST_WORD: Final = "Do the task above."


class GeminiRunner(AgentRunner):
    """``type = "gemini"``."""

    type = "gemini"
    default_command = ("gemini",)
    credentials = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
    #: Only the newest session of a project can be taken up, whoever opened it.
    can_resume = False

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        mode = "plan" if job.read_only else self.config.permission_mode or _MODE
        words = [*self.command, "-p", _LAST_WORD, "--output-format", "stream-json"]
        words += ["--approval-mode", mode]
        if not self.config.project_settings:
            # A folder that is not trusted brings no settings, and no approval mode
            # either: trusted for this run, with the settings of the user alone.
            words += ["--skip-trust"]
        if self.config.model:
            words += ["-m", self.config.model]
        return Start((*words, *self.config.args), job.prompt_file, self.environment)

    def reader(self, job: Job) -> Reader:
        """See `Runner`."""
        return GeminiReader()


class GeminiReader(Reader):
    """Reads ``--output-format stream-json``: its last word comes in pieces."""

    marks: ClassVar[bytes] = b"{"

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []

    def read(self, line: bytes) -> Iterator[Event]:
        """See `Reader`."""
        event = object_of(line) or {}
        kind = event.get("type")
        if kind == "message" and event.get("role") == "assistant":
            self._pieces.append(text_of(event.get("content")))
            if len(self._pieces) > _MOST_PIECES:
                self._pieces = ["".join(self._pieces)[-_SAID_CHARS:]]
            return
        yield from self._said()
        match kind:
            case "init":
                self.ran.session = text_of(event.get("session_id")) or None
                yield Began(self.ran.session, text_of(event.get("model")) or None)
            case "tool_use":
                detail = detail_of(event.get("parameters"))
                yield Called(text_of(event.get("tool_name")), detail)
            case "tool_result" if event.get("status") != "success":
                error = text_of(mapping(event.get("error")).get("message"))
                yield Trouble(one_line(error or text_of(event.get("output"))))
            case "error":
                yield Trouble(one_line(text_of(event.get("message"))))
            case "result":
                stats = mapping(event.get("stats"))
                self.ran.usage = Usage(
                    input_tokens=count_of(stats.get("input_tokens")),
                    output_tokens=count_of(stats.get("output_tokens")),
                )
                if event.get("status") == "success":
                    self.ran.is_done = True
                else:
                    why = text_of(mapping(event.get("error")).get("message"))
                    self.ran.fail(why or f"status {event.get('status')}")
                yield Ended(self.ran.said if self.ran.is_done else self.ran.problem)

    def _said(self) -> Iterator[Event]:
        text = "".join(self._pieces)
        self._pieces.clear()
        if text:
            self.ran.said = text
            yield Said(text)
