"""The tail for people and the lines for runners."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percyd.work.output import (
    LINE_BYTES,
    TAIL_BYTES,
    Lines,
    Listener,
    Output,
    readable,
)


def tail_of(*pieces: bytes) -> str:
    with Output(None, 0, None) as output:
        for piece in pieces:
            output.feed(piece)
    return output.tail()


def lines_of(*pieces: bytes) -> list[bytes]:
    found: list[bytes] = []
    lines = Lines(Listener(found.append))
    for piece in pieces:
        lines.feed(piece)
    lines.flush()
    return found


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\ttab\n", "plain\ttab\n"),
        (b"\x1b[31;1mred\x1b[0m\x1b[2K", "red"),
        (b"\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link", "xlink"),
        (b"10%\r20%\r\n", "10%\n20%\n"),
        (b"\xc3\xa4 \xff \x00\x08\x7f", "ä \N{REPLACEMENT CHARACTER} "),
        ("\x9b31m".encode(), "31m"),
    ],
)
def test_terminal_sequences_and_controls_are_left_out(data: bytes, text: str) -> None:
    assert readable(data) == text


def test_the_tail_has_at_most_200_lines() -> None:
    text = tail_of(*(b"%d\n" % n for n in range(1000)))
    assert text.split("\n") == [str(n) for n in range(800, 1000)]


def test_the_tail_has_at_most_16_kib() -> None:
    text = tail_of(b"a" * 1_000_000, *[b"b" * 1000] * 20)
    assert text == "b" * TAIL_BYTES


def test_a_character_that_the_cut_splits_is_replaced() -> None:
    text = tail_of("ä".encode() * TAIL_BYTES + b"x")
    assert text.endswith("äx")
    assert len(text) <= TAIL_BYTES


def test_lines_do_not_depend_on_how_the_bytes_arrive() -> None:
    whole = b"one\n\ntwo\nthree"
    expected = [b"one", b"", b"two", b"three"]
    assert lines_of(whole) == expected
    assert lines_of(*(bytes([byte]) for byte in whole)) == expected


def test_a_line_that_is_too_long_is_passed_on_once_and_cut() -> None:
    long = b"x" * (LINE_BYTES + 7)
    expected = [b"x" * LINE_BYTES, b"next"]
    assert lines_of(long + b"\nnext") == expected
    assert lines_of(long[:3], long[3:], b"\n", b"next\n") == expected
    assert lines_of(b"x" * LINE_BYTES + b"\n" + b"next") == expected


@given(st.lists(st.text("{x\n", max_size=6).map(str.encode)))
def test_no_line_with_a_mark_is_missed_however_the_stream_is_cut(
    pieces: list[bytes],
) -> None:
    found: list[bytes] = []
    lines = Lines(Listener(found.append, b"{"))
    for piece in pieces:
        lines.feed(piece)
    lines.flush()

    wanted = [line for line in b"".join(pieces).split(b"\n") if b"{" in line]
    assert [line for line in found if b"{" in line] == wanted


def test_what_has_no_mark_is_not_cut_up() -> None:
    found: list[bytes] = []
    lines = Lines(Listener(found.append, b"{"))
    for _ in range(100):
        lines.feed(b"y\n" * 32_768)
    lines.feed(b'{"type": 1}\n')
    assert found == [b'{"type": 1}']
