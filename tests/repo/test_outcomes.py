from __future__ import annotations

import pytest

from percyd.core.refs import RefMove
from percyd.repo.outcomes import parse_push
from percyd.repo.values import PushOutcome

OLD, NEW = "a" * 40, "b" * 40
STATE = "refs/heads/percy/state"
MOVE = RefMove(STATE, OLD, NEW)


def line(flag: str, summary: str, ref: str = STATE) -> bytes:
    return f"{flag}\t{NEW}:{ref}\t{summary}\n".encode()


@pytest.mark.parametrize(
    ("flag", "summary", "expected"),
    [
        (" ", "aaaaaaa..bbbbbbb", PushOutcome.APPLIED),
        ("*", "[new branch]", PushOutcome.APPLIED),
        ("=", "[up to date]", PushOutcome.APPLIED),
        ("-", "[deleted]", PushOutcome.APPLIED),
        ("+", "aaaaaaa...bbbbbbb (forced update)", PushOutcome.APPLIED),
        ("!", "[rejected] (stale info)", PushOutcome.CONFLICT),
        ("!", "[rejected] (fetch first)", PushOutcome.CONFLICT),
        ("!", "[rejected] (non-fast-forward)", PushOutcome.CONFLICT),
        ("!", "[remote rejected] (non-fast-forward)", PushOutcome.CONFLICT),
        ("!", "[remote rejected] (failed to update ref)", PushOutcome.CONFLICT),
        ("!", "[remote rejected] (atomic transaction failed)", PushOutcome.CONFLICT),
        ("!", "[remote rejected] (incorrect old value provided)", PushOutcome.CONFLICT),
        ("!", "[remote rejected] (reference already exists)", PushOutcome.CONFLICT),
        (
            "!",
            "[remote rejected] (cannot lock ref 'x': is at y but expected z)",
            PushOutcome.CONFLICT,
        ),
        ("!", "[rejected] (atomic push failed)", PushOutcome.COLLATERAL),
        ("!", "[remote rejected] (atomic push failure)", PushOutcome.COLLATERAL),
        ("!", "[remote rejected] (branch is currently checked out)", PushOutcome.BUSY),
        ("!", "[remote rejected] (pre-receive hook declined)", PushOutcome.REFUSED),
        ("!", "[remote rejected] (hook declined)", PushOutcome.REFUSED),
        ("!", "[remote rejected] (deletion prohibited)", PushOutcome.REFUSED),
        ("!", "[remote rejected] (protected branch)", PushOutcome.REFUSED),
        ("!", "[rejected] without a reason in brackets", PushOutcome.REFUSED),
        ("!", "[remote rejected] (unpacker error)", PushOutcome.REMOTE_FAULT),
        (
            "!",
            "[remote rejected] (missing necessary objects)",
            PushOutcome.REMOTE_FAULT,
        ),
        ("!", "[remote rejected] (bad pack)", PushOutcome.REMOTE_FAULT),
        (
            "!",
            "[remote rejected] (unable to migrate objects to permanent storage)",
            PushOutcome.REMOTE_FAULT,
        ),
        (
            "!",
            "[remote failure] (remote failed to report status)",
            PushOutcome.UNKNOWN,
        ),
        ("?", "[something new]", PushOutcome.UNKNOWN),
    ],
)
def test_each_status_line_has_one_outcome(
    flag: str, summary: str, expected: PushOutcome
) -> None:
    stdout = b"To /srv/repo.git\n" + line(flag, summary) + b"Done\n"

    report = parse_push([MOVE], stdout, b"", timed_out=False)

    assert report.refs[STATE].outcome == expected
    assert report.refs[STATE].text == summary


@pytest.mark.parametrize("stdout", [b"", b"To x\nDone\n", b"\xff\xfe\t\t\n", b"\t\t\t"])
def test_a_ref_without_a_line_is_unknown(stdout: bytes) -> None:
    report = parse_push([MOVE], stdout, b"fatal: it hung up", timed_out=False)

    assert report.refs[STATE].outcome == PushOutcome.UNKNOWN


def test_a_deadline_leaves_what_was_said_before_it() -> None:
    other = RefMove("refs/heads/x", None, NEW)

    report = parse_push([MOVE, other], line(" ", "a..b"), b"", timed_out=True)

    assert report.timed_out
    assert report.refs[STATE].outcome == PushOutcome.APPLIED
    assert report.refs["refs/heads/x"].outcome == PushOutcome.UNKNOWN


def test_lines_of_refs_that_were_not_asked_for_are_ignored() -> None:
    stdout = line("*", "[new branch]", "refs/heads/other") + line(" ", "a..b")

    report = parse_push([MOVE], stdout, b"", timed_out=False)

    assert list(report.refs) == [STATE]


def test_a_deletion_has_an_empty_source() -> None:
    stdout = f"-\t:{STATE}\t[deleted]\n".encode()

    report = parse_push([RefMove(STATE, OLD, None)], stdout, b"", timed_out=False)

    assert report.refs[STATE].outcome == PushOutcome.APPLIED


def test_what_the_hook_printed_is_kept_without_padding_and_escapes() -> None:
    stderr = b"remote: no entry        \nremote: \x1b[31mred\x1b[K\nerror: failed\n"

    report = parse_push([MOVE], b"", stderr, timed_out=False)

    assert report.remote_lines == ("no entry", "[31mred")


def test_a_flood_from_the_hook_is_bounded() -> None:
    stderr = b"".join(b"remote: %s\n" % (b"x" * 2000) for _ in range(500))

    report = parse_push([MOVE], b"", stderr, timed_out=False)

    assert len(report.remote_lines) == 50
    assert max(map(len, report.remote_lines)) == 500
    assert len(report.stderr) == 2000


def test_credentials_in_the_error_text_are_masked() -> None:
    stderr = b"fatal: unable to access 'https://joe:secret@example.org/x.git/'"

    report = parse_push([MOVE], b"", stderr, timed_out=False)

    assert report.stderr == "fatal: unable to access 'https://***@example.org/x.git/'"
