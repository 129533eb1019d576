"""A server on loopback that plays a language model from a script.

It speaks what the coding agents speak: Anthropic Messages, OpenAI Responses and Chat
Completions, and Gemini's generateContent, streamed where the client asks for it. A
script sees each request as a `Turn`, the same for all, and answers one step.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

Json = dict[str, Any]

INPUT_TOKENS = 1000
OUTPUT_TOKENS = 10


@dataclass(frozen=True)
class Say:
    """The model says something, and is through."""

    text: str


@dataclass(frozen=True)
class Shell:
    """The model has a command run."""

    command: str


@dataclass(frozen=True)
class Write:
    """The model writes a file: by a command, or by an edit where there are no tools."""

    path: str
    content: str

    @property
    def command(self) -> str:
        """The same as a command for a shell."""
        path = shlex.quote(self.path)
        folder = shlex.quote(str(PurePosixPath(self.path).parent))
        return f"mkdir -p {folder}; printf %s {shlex.quote(self.content)} > {path}"

    @property
    def edit(self) -> str:
        """The same as a client without tools reads it out of a text."""
        return f"{self.path}\n```\n{self.content}```\n"


@dataclass(frozen=True)
class Refuse:
    """The provider answers with an error."""

    status: int
    message: str
    kind: str = "api_error"
    headers: Mapping[str, str] = field(default_factory=dict)


Step = Say | Shell | Write | Refuse


@dataclass(frozen=True)
class Turn:
    """A request: what the model was told, and what its commands have printed since.

    ``prompts`` are the texts of the user, oldest first, and ``results`` what came back
    from tools since the last of them. ``dialect`` is the protocol's name. An ``aside``
    is no part of the work: a title, or a commit message, that the client wants.
    """

    dialect: str
    prompts: tuple[str, ...]
    results: tuple[str, ...]
    tools: tuple[str, ...]
    model: str
    aside: bool = False

    @property
    def prompt(self) -> str:
        """What the user said last."""
        return self.prompts[-1] if self.prompts else ""


Script = Callable[[Turn], Step]

#: How each client's own tool for commands is called, and its argument.
_SHELLS = {
    "Bash": "command",
    "exec_command": "cmd",
    "shell": "command",
    "run_shell_command": "command",
    "bash": "command",
}


class Model:
    """The server: where it is, and what it was asked."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._guard = threading.Lock()
        self.turns: list[Turn] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        cast(Any, self._server).model = self
        self.numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, turn: Turn) -> Step:
        """The script's next step."""
        if turn.aside:
            return Say("A title")
        with self._guard:
            self.turns.append(turn)
        step = self._script(turn)
        if isinstance(step, Write):
            return Shell(step.command) if turn.tools else Say(step.edit)
        return step

    @contextmanager
    def serving(self) -> Iterator[Model]:
        """Listen until the end of the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _model(self) -> Model:
        return cast(Model, cast(Any, self.server).model)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._send_json(200, {"data": [], "models": []})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        path = urlsplit(self.path).path
        if path.endswith("/messages"):
            self._reply(_anthropic_turn(body), body, _anthropic)
        elif path.endswith("/responses"):
            self._reply(_responses_turn(body), body, _responses)
        elif path.endswith("/chat/completions"):
            self._reply(_chat_turn(body), body, _chat)
        elif ":streamGenerateContent" in path:
            model = path.rpartition("/")[2].partition(":")[0]
            self._reply(_gemini_turn(body, model), body, _gemini)
        elif ":generateContent" in path:
            # Asked beside the work, which model it should be: whatever is answered.
            turn = Turn("gemini", (), (), (), "", aside=True)
            ((_, whole),) = _gemini(Say("{}"), turn, "0")
            self._send_json(200, whole)
        elif path.endswith("/messages/count_tokens"):
            self._send_json(200, {"input_tokens": INPUT_TOKENS})
        elif ":countTokens" in path:
            self._send_json(200, {"totalTokens": INPUT_TOKENS})
        else:
            self._send_json(404, {"error": {"message": f"no {path}"}})

    def _reply(
        self,
        turn: Turn,
        body: Json,
        stream: Callable[[Step, Turn, str], Iterator[tuple[str | None, Any]]],
    ) -> None:
        step = self._model.answer(turn)
        if isinstance(step, Refuse):
            error = {"type": step.kind, "message": step.message, "code": step.kind}
            self._send_json(
                step.status, {"type": "error", "error": error}, step.headers
            )
            return
        number = str(next(self._model.numbers))
        if turn.dialect == "chat" and not body.get("stream"):
            self._send_json(200, _chat_whole(step, turn, number))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for name, data in stream(step, turn, number):
            text = data if isinstance(data, str) else json.dumps(data)
            head = f"event: {name}\n" if name else ""
            self.wfile.write(f"{head}data: {text}\n\n".encode())
        self.close_connection = True

    def _send_json(
        self, status: int, body: object, headers: Mapping[str, str] | None = None
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _texts(content: object) -> list[str]:
    """The texts of a message, whatever its protocol calls them."""
    if isinstance(content, str):
        return [content]
    return [
        part["text"]
        for part in (content if isinstance(content, list) else ())
        if isinstance(part, dict) and isinstance(part.get("text"), str)
    ]


class _Told:
    """Gathers prompts and results in the order in which they were said."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.results: list[str] = []

    def prompt(self, text: str) -> None:
        # Reminders of the client's own are no prompts.
        if text.strip() and not text.lstrip().startswith(("<system-reminder>", "<env")):
            self.prompts.append(text)
            self.results.clear()

    def result(self, text: str) -> None:
        self.results.append(text)

    def turn(
        self, dialect: str, tools: list[str], model: object, *, aside: bool = False
    ) -> Turn:
        told = tuple(self.prompts), tuple(self.results)
        return Turn(dialect, *told, tuple(sorted(tools)), str(model), aside)


def _anthropic_turn(body: Json) -> Turn:
    told = _Told()
    for message in body.get("messages", []):
        if message.get("role") != "user":
            continue
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            if part.get("type") == "tool_result":
                told.result("".join(_texts(part.get("content"))))
            else:
                told.prompt(str(part.get("text", "")))
    tools = [str(tool.get("name")) for tool in body.get("tools", [])]
    return told.turn("anthropic", tools, body.get("model"), aside=not tools)


def _responses_turn(body: Json) -> Turn:
    told = _Told()
    for item in body.get("input", []):
        if item.get("type") == "function_call_output":
            output = item.get("output")
            told.result(output if isinstance(output, str) else "".join(_texts(output)))
        elif item.get("role") == "user":
            for text in _texts(item.get("content")):
                if not text.startswith("# AGENTS.md"):
                    told.prompt(text)
    tools = [str(tool.get("name")) for tool in body.get("tools", [])]
    return told.turn("responses", tools, body.get("model"))


def _chat_turn(body: Json) -> Turn:
    told = _Told()
    orders = ""
    for message in body.get("messages", []):
        text = "".join(_texts(message.get("content")))
        if message.get("role") == "system":
            orders += text
        if message.get("role") == "tool":
            told.result(text)
        elif message.get("role") == "user":
            told.prompt(text)
    tools = [str(t.get("function", {}).get("name")) for t in body.get("tools") or []]
    wants = re.search(r"commit message|title", orders, re.IGNORECASE)
    aside = wants is not None and not tools and "SEARCH" not in orders
    return told.turn("chat", tools, body.get("model"), aside=aside)


def _gemini_turn(body: Json, model: str) -> Turn:
    told = _Told()
    for content in body.get("contents", []):
        if content.get("role") != "user":
            continue
        for part in content.get("parts", []):
            if "functionResponse" in part:
                told.result(json.dumps(part["functionResponse"].get("response")))
            else:
                told.prompt(str(part.get("text", "")))
    tools = [
        str(one.get("name"))
        for tool in body.get("tools", [])
        for one in tool.get("functionDeclarations", [])
    ]
    return told.turn("gemini", tools, model)


def _call(step: Shell, turn: Turn) -> tuple[str, Json]:
    """The tool of this client that runs a command, with its arguments."""
    name = next((tool for tool in _SHELLS if tool in turn.tools), "Bash")
    arguments: Json = {_SHELLS[name]: step.command}
    if name == "bash":
        arguments["description"] = "a command"
    return name, arguments


Events = Iterator[tuple[str | None, Any]]


def _anthropic(step: Step, turn: Turn, number: str) -> Events:
    def event(kind: str, **data: Any) -> tuple[str, Json]:
        return kind, {"type": kind, **data}

    usage = {"input_tokens": INPUT_TOKENS, "output_tokens": 1}
    message: Json = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": turn.model,
        "content": [],
        "stop_reason": None,
        "usage": usage,
    }
    yield event("message_start", message=message)
    if isinstance(step, Shell):
        name, arguments = _call(step, turn)
        tool = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
        yield event("content_block_start", index=0, content_block=tool)
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        stop = "tool_use"
    else:
        text = {"type": "text", "text": ""}
        yield event("content_block_start", index=0, content_block=text)
        delta = {"type": "text_delta", "text": cast(Say, step).text}
        stop = "end_turn"
    yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    yield event(
        "message_delta",
        delta={"stop_reason": stop, "stop_sequence": None},
        usage={"output_tokens": OUTPUT_TOKENS},
    )
    yield event("message_stop")


def _responses(step: Step, turn: Turn, number: str) -> Events:
    def event(kind: str, **data: Any) -> tuple[str, Json]:
        return kind, {"type": kind, **data}

    whole = {"id": f"resp_{number}", "object": "response", "model": turn.model}
    yield event("response.created", response={**whole, "status": "in_progress"})
    if isinstance(step, Shell):
        name, arguments = _call(step, turn)
        item: Json = {
            "type": "function_call",
            "id": f"fc_{number}",
            "status": "completed",
            "call_id": f"call_{number}",
            "name": name,
            "arguments": json.dumps(arguments),
        }
        yield event("response.output_item.added", output_index=0, item=item)
    else:
        said = cast(Say, step).text
        head = {"type": "message", "id": f"msg_{number}", "role": "assistant"}
        item = {
            **head,
            "status": "completed",
            "content": [{"type": "output_text", "text": said, "annotations": []}],
        }
        yield event(
            "response.output_item.added", output_index=0, item={**head, "content": []}
        )
        yield event(
            "response.output_text.delta",
            item_id=head["id"],
            output_index=0,
            content_index=0,
            delta=said,
        )
    yield event("response.output_item.done", output_index=0, item=item)
    usage = {
        "input_tokens": INPUT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    done = {**whole, "status": "completed", "output": [item], "usage": usage}
    yield event("response.completed", response=done)


_CHAT_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def _chat_message(step: Step, turn: Turn, number: str) -> tuple[Json, str]:
    if isinstance(step, Shell):
        name, arguments = _call(step, turn)
        function = {"name": name, "arguments": json.dumps(arguments)}
        call = {"index": 0, "id": f"call_{number}", "type": "function"}
        return {"tool_calls": [{**call, "function": function}]}, "tool_calls"
    return {"content": cast(Say, step).text}, "stop"


def _chat(step: Step, turn: Turn, number: str) -> Events:
    def chunk(delta: Json, reason: str | None, **more: Any) -> tuple[None, Json]:
        head = {"id": f"chat_{number}", "object": "chat.completion.chunk"}
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        named = {"created": 1, "model": turn.model, "choices": [choice]}
        return None, {**head, **named, **more}

    message, reason = _chat_message(step, turn, number)
    yield chunk({"role": "assistant", **message}, None)
    yield chunk({}, reason, usage=_CHAT_USAGE)
    yield None, "[DONE]"


def _chat_whole(step: Step, turn: Turn, number: str) -> Json:
    message, reason = _chat_message(step, turn, number)
    whole = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": whole, "finish_reason": reason}
    head = {"id": f"chat_{number}", "object": "chat.completion", "created": 1}
    return {**head, "model": turn.model, "choices": [choice], "usage": _CHAT_USAGE}


def _gemini(step: Step, turn: Turn, number: str) -> Events:
    if isinstance(step, Shell):
        name, arguments = _call(step, turn)
        part: Json = {"functionCall": {"name": name, "args": arguments}}
    else:
        part = {"text": cast(Say, step).text}
    content = {"role": "model", "parts": [part]}
    usage = {
        "promptTokenCount": INPUT_TOKENS,
        "candidatesTokenCount": OUTPUT_TOKENS,
        "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    candidate = {"content": content, "finishReason": "STOP", "index": 0}
    head = {"responseId": f"r{number}", "modelVersion": turn.model}
    yield None, {"candidates": [candidate], "usageMetadata": usage, **head}
