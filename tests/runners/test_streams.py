"""What real agents have printed, and what can become of it: an outcome each time.

The files were recorded with the versions that `tests/run --agents` installs, each at
a model that played its part; paths and addresses were replaced.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from percyd.core.reasons import Reason
from percyd.runners.base import Job, RunReport, report_of
from percyd.runners.events import Called, Said
from percyd.runners.registry import OWN
from percyd.runners.transcript import Transcript
from percyd.settings import AGENTS, RunnerConfig
from percyd.work.output import LINE_BYTES, Lines, Listener
from percyd.work.supervise import Ending, ProcessResult

STREAMS = Path(__file__).with_name("streams")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DONE = [(agent, "done") for agent in AGENTS]
FAILED = Reason.RUNNER_FAILED

#: Agent and case: exit code, reason, part of the message, when it goes on (minutes).
ENDINGS = [
    ("claude", "max_turns", 1, FAILED, "used up its turns", None),
    ("claude", "budget", 1, FAILED, "used up its cost limit", None),
    ("claude", "no_key", 1, FAILED, "Invalid API key", None),
    ("claude", "rate_limit", 1, Reason.PARKED, "429", 1),
    ("claude", "overloaded", 1, Reason.PARKED, "Overloaded", 1),
    ("claude", "usage_limit", 1, Reason.PARKED, "session limit", 150),
    ("codex", "bad_request", 1, FAILED, "no such model", None),
    ("codex", "rate_limit", 1, Reason.PARKED, "429 Too Many Requests", 1),
    ("codex", "usage_limit", 1, Reason.PARKED, "usage limit", 15),
    ("gemini", "bad_request", 144, FAILED, "API key not valid", None),
    ("opencode", "bad_request", 1, FAILED, "no such model", None),
    ("aider", "no_key", 0, FAILED, "not able to authenticate", None),
    ("aider", "rate_limit", 0, Reason.PARKED, "rate limited you", 1),
]


def stream(agent: str, case: str) -> bytes:
    return (STREAMS / agent / f"{case}.txt").read_bytes()


def read(
    agent: str, data: bytes, code: int = 0, ending: Ending = Ending.EXITED
) -> RunReport:
    reader = OWN[agent](agent, RunnerConfig(command=(agent,))).reader(Job(Path("p")))
    assert reader is not None

    def on_line(line: bytes) -> None:
        list(reader.read(line))

    lines = Lines(Listener(on_line, reader.marks))
    lines.feed(data)
    lines.flush()
    tail = data[-2000:].decode("utf-8", "replace")
    message = f"ended by signal {code}" if ending is Ending.SIGNALLED else ""
    result = ProcessResult(ending, code, tail=tail, message=message)
    return report_of(result, reader.ran, NOW)


@pytest.mark.parametrize(("agent", "case"), DONE)
def test_work_that_is_done_says_so_and_what_it_cost(agent: str, case: str) -> None:
    report = read(agent, stream(agent, case))

    assert report.failed is None
    assert report.summary
    assert report.usage is not None
    assert report.usage.input_tokens
    assert report.usage.output_tokens
    assert (report.session is None) == (agent == "aider")


@pytest.mark.parametrize(
    ("agent", "case", "code", "reason", "said", "minutes"), ENDINGS
)
def test_every_other_ending_has_its_name(
    agent: str, case: str, code: int, reason: Reason, said: str, minutes: int | None
) -> None:
    report = read(agent, stream(agent, case), code)

    assert report.failed is reason
    assert said in report.message
    assert report.summary is None
    if minutes is None:
        assert report.rest_until is None
    else:
        assert report.rest_until is not None
        assert (report.rest_until - NOW).total_seconds() == minutes * 60


def test_a_time_of_day_is_one_of_its_own_zone() -> None:
    until = read("claude", stream("claude", "usage_limit"), 1).rest_until

    assert until == datetime(2026, 11, 21, 15, 30, tzinfo=ZoneInfo("Europe/Berlin"))


def test_what_was_denied_is_told_although_it_says_that_it_is_done() -> None:
    report = read("claude", stream("claude", "denied"))

    assert report.failed is None
    assert report.denied
    assert report.denied[0].startswith("Bash ")


@pytest.mark.parametrize(("agent", "case"), DONE)
def test_a_stream_that_is_cut_off_is_never_done(agent: str, case: str) -> None:
    data = stream(agent, case)
    last = data.rstrip().rfind(b"\n") + 1
    cuts = range(0, last + 1, max(1, last // 200))
    for cut in cuts:
        killed = read(agent, data[:cut], 9, Ending.SIGNALLED)
        assert killed.failed is Reason.RUNNER_FAILED, cut
        if agent != "aider":  # its text has no end that could be missing
            left = read(agent, data[:cut], 0)
            assert left.failed is Reason.RUNNER_FAILED, cut
            assert "without a result" in left.message


@pytest.mark.parametrize(("agent", "case"), [*DONE, *((e[0], e[1]) for e in ENDINGS)])
def test_noise_between_the_lines_changes_nothing(agent: str, case: str) -> None:
    data = stream(agent, case)
    chance = random.Random(f"{agent} {case}")
    noise = [
        b"warning: something on standard error",
        b"\xff\xfe\x00 no text at all",
        b'{"type": "resu',
        b'{"type": "unheard_of", "x": [1, {"y": null}]}',
        b'{"type": "assistant", "message": 7}',
        b'{"type": "item.completed", "item": []}',
        b'{"type": 5}',
        b"[]",
        b"[" * 100_000,
        b"{" * 100_000,
        b"x" * (LINE_BYTES + 10),
        b'{"type": "text", "part": {"text": 3}}',
        b'{"type": "step_finish", "part": {"tokens": "many", "cost": "free"}}',
    ]
    lines = data.split(b"\n")
    for piece in noise:
        lines.insert(chance.randrange(len(lines)), piece)
    code = next((e[2] for e in ENDINGS if e[:2] == (agent, case)), 0)

    plain, mixed = read(agent, data, code), read(agent, b"\n".join(lines), code)

    assert mixed.failed is plain.failed
    assert mixed.summary == plain.summary
    assert mixed.session == plain.session


@pytest.mark.parametrize("agent", [name for name in AGENTS if name != "aider"])
def test_a_word_of_standard_error_before_an_event_hides_nothing(agent: str) -> None:
    lines = stream(agent, "done").split(b"\n")
    mixed = b"\n".join(b"warn: " + line if line else line for line in lines)

    assert read(agent, mixed).failed is None


@pytest.mark.parametrize("agent", AGENTS)
def test_an_empty_output_is_no_result(agent: str) -> None:
    for code in (0, 1):
        report = read(agent, b"", code)
        assert report.failed is Reason.RUNNER_FAILED
        assert "without a result" in report.message


@pytest.mark.parametrize("agent", AGENTS)
def test_a_result_does_not_outweigh_an_exit_code(agent: str) -> None:
    report = read(agent, stream(agent, "done"), 3)

    assert report.failed is Reason.RUNNER_FAILED
    assert "exit 3" in report.message


@pytest.mark.parametrize("agent", AGENTS)
def test_a_transcript_has_what_was_said_and_done(agent: str) -> None:
    reader = OWN[agent](agent, RunnerConfig(command=(agent,))).reader(Job(Path("p")))
    assert reader is not None
    transcript = Transcript(reader)
    rows = transcript.feed(stream(agent, "done")) + transcript.flush()

    assert any(row.startswith("  > ") for row in rows)
    assert not any('{"type"' in row for row in rows)
    assert "did it" in rows or agent == "aider"


def test_codex_counts_only_what_is_new_in_a_session_that_goes_on() -> None:
    before = read("codex", stream("codex", "done")).usage
    job = Job(Path("p"), session="s", spent=before)
    reader = OWN["codex"]("codex", RunnerConfig()).reader(job)
    assert reader is not None
    usage = (
        b'{"type":"turn.completed","usage":{"input_tokens":2500,"output_tokens":27}}'
    )
    for line in (b'{"type":"turn.started"}', usage):
        assert [e for e in reader.read(line) if isinstance(e, Called | Said)] == []
    found = reader.ran.usage
    assert found is not None
    assert (found.input_tokens, found.output_tokens) == (500, 7)


def test_halves_of_characters_are_replaced_and_break_nothing() -> None:
    line = (
        b'{"type":"result","subtype":"success","is_error":false,"session_id":"s",'
        b'"result":"done \\ud83d","permission_denials":[{"tool_name":"Bash",'
        b'"tool_input":{"command":"echo \\udc00 sk-ant-api03-' + b"a" * 30 + b'"}}]}\n'
    )
    report = read("claude", line)

    assert (report.failed, report.summary) == (None, "done ?")
    (denied,) = report.denied
    assert "a" * 30 not in denied


@pytest.mark.parametrize(
    "line",
    [
        b"Tokens: "
        + b"9" * 400
        + b" sent, 1 received. Cost: $1 m, $"
        + b"9" * 400
        + b" session.",
        b"Model " * 200_000,
    ],
)
def test_no_line_of_aider_is_too_much(line: bytes) -> None:
    report = read("aider", line + b"\nTokens: 1 sent, 1 received.\n")

    assert report.failed is None
    assert report.usage is not None
    assert report.usage.cost_usd is None


def test_what_aider_has_answered_last_is_what_it_said() -> None:
    text = b"I looked.\nTokens: 1 sent, 1 received.\n\nall good\napprove\nTokens: 2 sent, 1 received.\n"
    assert read("aider", text).said == "all good\napprove"
