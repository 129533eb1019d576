"""Aider: one message, plain text (0.86.2). It ends with 0 whatever happened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from percyd.core.records import Usage
from percyd.runners.agent import AgentRunner
from percyd.runners.base import Job, Reader, Start
from percyd.runners.events import Called, Event, Said, Trouble, cost_of, one_line

_QUIET: Final = (
    *("--yes-always", "--no-pretty", "--no-stream", "--no-check-update"),
    *("--no-show-release-notes", "--analytics-disable", "--no-show-model-warnings"),
    *("--no-gitignore", "--chat-history-file", "/dev/null"),
    *("--input-history-file", "/dev/null"),
)
#: What matters of a line; the patterns take too long for one of megabytes.
_LINE_BYTES = 2000
#: So much of its last answer is kept.
_SAID_CHARS = 20_000
_TOKENS = re.compile(
    rb"Tokens: ([0-9.,]+)(k?) sent,(?:[^,]*cache[^,]*,)* ([0-9.,]+)(k?) received\."
    rb"(?:.*?\$([0-9.]+) session)?"
)
_EDITED = re.compile(rb"Applied edit to (.+)")
_COMMIT = re.compile(rb"Commit [0-9a-f]{7,40} (.+)")
_FAILED = re.compile(
    rb"(litellm\.\w*(?:Error|Exception)\b.*|The API provider .*"
    rb"|Model .* has hit a token limit.*|Only [0-9]+ reflections allowed.*)"
)


class AiderRunner(AgentRunner):
    """``type = "aider"``."""

    type = "aider"
    default_command = ("aider",)
    credentials = (
        *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"),
        *("OPENROUTER_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY"),
    )
    can_resume = False
    unavoidable = (
        *(".aider.conf.yml", ".env"),
        *(".aider.model.settings.yml", ".aider.model.metadata.json"),
    )

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        words = [*self.command, *_QUIET, "--message-file", str(job.prompt_file)]
        if self.config.model:
            words += ["--model", self.config.model]
        if job.read_only:
            words += ["--chat-mode", "ask", "--no-auto-commits"]
        return Start((*words, *self.config.args), None, self.environment)

    def reader(self, job: Job) -> Reader:
        """See `Runner`."""
        return AiderReader()


class AiderReader(Reader):
    """Reads text: a line of tokens for each answer, and errors by their words."""

    marks: ClassVar[bytes] = b""

    def __init__(self) -> None:
        super().__init__()
        self._sent = self._received = self._turns = 0
        self._answer = ""

    def read(self, line: bytes) -> Iterator[Event]:
        """See `Reader`."""
        line = line[:_LINE_BYTES]
        text = line.decode("utf-8", "replace").strip()
        if found := _TOKENS.search(line):
            self._count(found)
        elif found := _FAILED.search(line):
            self.ran.fail(found[1].decode("utf-8", "replace"))
            yield Trouble(one_line(text))
        elif found := _EDITED.search(line):
            yield Called("edit", one_line(found[1].decode("utf-8", "replace")))
        elif found := _COMMIT.search(line):
            self.ran.said = found[1].decode("utf-8", "replace")
            yield Called("commit", one_line(self.ran.said))
        elif text:
            self._answer = f"{self._answer}\n{text}"[-_SAID_CHARS:]
            yield Said(text)

    def _count(self, found: re.Match[bytes]) -> None:
        self._sent += _number(found[1], found[2])
        self._received += _number(found[3], found[4])
        self._turns += 1
        self.ran.usage = Usage(
            input_tokens=self._sent,
            output_tokens=self._received,
            cost_usd=_amount(found[5]),
            turns=self._turns,
        )
        self.ran.said, self._answer = self._answer.strip(), ""
        # An answer came: what had failed before it was tried again.
        self.ran.is_done, self.ran.problem = True, ""


def _number(text: bytes, thousands: bytes) -> int:
    try:
        return int(float(text.replace(b",", b"")) * (1000 if thousands else 1))
    except (ValueError, OverflowError):
        return 0


def _amount(text: bytes | None) -> float | None:
    try:
        return cost_of(float(text)) if text else None
    except ValueError:
        return None
