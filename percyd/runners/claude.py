"""Claude Code: ``claude -p`` with its stream of JSON events (2.1.197)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

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
    items,
    mapping,
    object_of,
    one_line,
    text_of,
)

#: Edits below the worktree and any command; nothing is asked for, as nobody is there.
_MODE: Final = "acceptEdits"
_TOOLS: Final = ("--allowedTools", "Bash")
#: What a reader of the work may use.
_READING: Final = (
    *("--tools", "Read,Grep,Glob,LS,Bash", "--allowedTools"),
    *("Bash(git diff *)", "Bash(git show *)", "Bash(git log *)"),
    # They would write.
    *("--disallowedTools", "Bash(git * --output*)"),
)
_STOPS: Final = {
    "error_max_turns": "it used up its turns",
    "error_max_budget_usd": "it used up its cost limit",
}


class ClaudeRunner(AgentRunner):
    """``type = "claude"``."""

    type = "claude"
    default_command = ("claude",)
    credentials = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "CLAUDE_CODE_OAUTH_TOKEN",
    )
    settings: ClassVar[Mapping[str, str]] = {
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_ERROR_REPORTING": "1",
        # Ten, its default, wait for more than two minutes even where no key is right.
        "CLAUDE_CODE_MAX_RETRIES": "4",
    }

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        words = [*self.command, "-p", "--output-format", "stream-json", "--verbose"]
        if not self.config.project_settings:
            words += ["--strict-mcp-config", "--setting-sources", "user"]
        if self.config.model:
            words += ["--model", self.config.model]
        if job.read_only:
            words += [*_READING, "--permission-mode", "default"]
        else:
            words += ["--permission-mode", self.config.permission_mode or _MODE]
            words += [] if self.config.permission_mode else _TOOLS
        if self.config.cost_usd is not None:
            words += ["--max-budget-usd", f"{self.config.cost_usd:g}"]
        if job.session is not None:
            words += ["--resume", job.session]
        return Start((*words, *self.config.args), job.prompt_file, self.environment)

    def reader(self, job: Job) -> Reader:
        """See `Runner`."""
        return ClaudeReader()


class ClaudeReader(Reader):
    """Reads ``--output-format stream-json``."""

    marks: ClassVar[bytes] = b"{"

    def read(self, line: bytes) -> Iterator[Event]:
        """See `Reader`."""
        event = object_of(line) or {}
        match event.get("type"):
            case "system" if event.get("subtype") == "init":
                self.ran.session = text_of(event.get("session_id")) or None
                yield Began(self.ran.session, text_of(event.get("model")) or None)
            case "system" if event.get("subtype") == "api_retry":
                yield Trouble(_retry(event))
            case "assistant":
                yield from self._assistant(event)
            case "user":
                yield from _results(event)
            case "result":
                yield self._result(event)

    def _assistant(self, event: Json) -> Iterator[Event]:
        # What a helper of the agent's own says is not the agent's last word.
        is_own = event.get("parent_tool_use_id") is None
        for block in items(mapping(event.get("message")).get("content")):
            if block.get("type") == "tool_use":
                detail = detail_of(block.get("input"))
                yield Called(text_of(block.get("name")), detail)
            elif block.get("type") == "text" and is_own:
                text = text_of(block.get("text"))
                self.ran.said = text or self.ran.said
                yield Said(text)

    def _result(self, event: Json) -> Event:
        usage = mapping(event.get("usage"))
        names = (
            *("input_tokens", "cache_creation_input_tokens"),
            "cache_read_input_tokens",
        )
        cost = cost_of(event.get("total_cost_usd"))
        self.ran.session = text_of(event.get("session_id")) or self.ran.session
        self.ran.usage = Usage(
            input_tokens=sum(count_of(usage.get(name)) for name in names),
            output_tokens=count_of(usage.get("output_tokens")),
            cost_usd=cost,
            turns=count_of(event.get("num_turns")),
        )
        self.ran.denied = tuple(
            dict.fromkeys(
                one_line(
                    f"{text_of(d.get('tool_name'))} {detail_of(d.get('tool_input'))}"
                )
                for d in items(event.get("permission_denials"))
            )
        )
        text = text_of(event.get("result"))
        subtype = text_of(event.get("subtype"))
        status = event.get("api_error_status")
        if event.get("is_error") is False and subtype == "success":
            self.ran.said = text or self.ran.said
            self.ran.is_done = True
        else:
            errors = event.get("errors")
            words = (
                [one for one in errors if isinstance(one, str)]
                if isinstance(errors, list)
                else []
            )
            why = _STOPS.get(subtype) or text or "; ".join(words) or subtype
            self.ran.fail(why, status if type(status) is int else None)
        return Ended(text or self.ran.problem, cost)


def _results(event: Json) -> Iterator[Event]:
    for block in items(mapping(event.get("message")).get("content")):
        if block.get("type") == "tool_result" and block.get("is_error"):
            content = block.get("content")
            text = text_of(content) or " ".join(
                text_of(part.get("text")) for part in items(content)
            )
            yield Trouble(one_line(text))


def _retry(event: Json) -> str:
    number, most = count_of(event.get("attempt")), count_of(event.get("max_retries"))
    why = text_of(event.get("error")) or f"status {event.get('error_status')}"
    return one_line(f"request failed ({why}), tried again: {number} of {most}")
