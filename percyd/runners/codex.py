"""Codex: ``codex exec --json`` (0.169.0)."""

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
    Json,
    Said,
    Trouble,
    count_of,
    detail_of,
    items,
    mapping,
    object_of,
    one_line,
    text_of,
)

#: It may write in its worktree and in temporary folders, and reaches no network. Git's
#: own folder is read-only to it, also as a writable root: percyd commits its work.
_MODE: Final = "workspace-write"


class CodexRunner(AgentRunner):
    """``type = "codex"``."""

    type = "codex"
    default_command = ("codex",)
    credentials = ("OPENAI_API_KEY", "CODEX_API_KEY")

    def start(self, job: Job) -> Start:
        """See `Runner`."""
        mode = "read-only" if job.read_only else self.config.permission_mode or _MODE
        # What `exec resume` takes of all this is only what stands before it.
        words = [*self.command, "exec", "--json", "-s", mode]
        words += ["-c", "approval_policy=never"]
        words += ["-c", "check_for_update_on_startup=false"]
        if not self.config.project_settings:
            # A repository may bring a .codex/config.toml for folders that are trusted.
            words += ["-c", "projects={}"]
        if self.config.model:
            words += ["-m", self.config.model]
        words += self.config.args
        if job.session is not None:
            words += ["resume", job.session]
        return Start((*words, "-"), job.prompt_file, self.environment)

    def reader(self, job: Job) -> Reader:
        """See `Runner`."""
        return CodexReader(job.spent if job.session is not None else None)


class CodexReader(Reader):
    """Reads ``--json``. The usage that it tells is that of the whole session."""

    marks: ClassVar[bytes] = b"{"

    def __init__(self, before: Usage | None = None) -> None:
        super().__init__()
        self._before = before or Usage()
        self._turns = 0

    def read(self, line: bytes) -> Iterator[Event]:
        """See `Reader`."""
        event = object_of(line) or {}
        match event.get("type"):
            case "thread.started":
                self.ran.session = text_of(event.get("thread_id")) or None
                yield Began(self.ran.session)
            case "turn.started":
                self._turns += 1
                self.ran.is_done = None
            case "item.started":
                yield from _called(mapping(event.get("item")))
            case "item.completed":
                yield from self._completed(mapping(event.get("item")))
            case "error":
                # Most are of requests that are tried again.
                yield Trouble(one_line(text_of(event.get("message"))))
            case "turn.completed":
                self._count(mapping(event.get("usage")))
                self.ran.is_done = True
                yield Ended(self.ran.said)
            case "turn.failed":
                why = text_of(mapping(event.get("error")).get("message"))
                self.ran.fail(why or "turn.failed")
                yield Ended(why)

    def _completed(self, item: Json) -> Iterator[Event]:
        match item.get("type"):
            case "agent_message":
                text = text_of(item.get("text"))
                self.ran.said = text or self.ran.said
                yield Said(text)
            case "command_execution" if item.get("status") == "failed":
                output = text_of(item.get("aggregated_output"))
                yield Trouble(one_line(f"exit {item.get('exit_code')}: {output}"))
            case "file_change":
                paths = [text_of(one.get("path")) for one in items(item.get("changes"))]
                yield Called("edit", one_line(" ".join(paths)))
            case "mcp_tool_call" if item.get("error"):
                yield Trouble(one_line(str(item.get("error"))))
            case "error":
                yield Trouble(one_line(text_of(item.get("message"))))

    def _count(self, usage: Json) -> None:
        def news(key: str, before: int | None) -> int:
            return max(count_of(usage.get(key)) - (before or 0), 0)

        self.ran.usage = Usage(
            input_tokens=news("input_tokens", self._before.input_tokens),
            output_tokens=news("output_tokens", self._before.output_tokens),
            turns=self._turns,
        )


def _called(item: Json) -> Iterator[Event]:
    match item.get("type"):
        case "command_execution":
            yield Called("exec", detail_of(item))
        case "mcp_tool_call":
            tool = f"{text_of(item.get('server'))}.{text_of(item.get('tool'))}"
            yield Called(tool, detail_of(item.get("arguments")))
