"""Keys of every known form are masked, however a stream is cut; all else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percyd.work.masking import Masker, masked, masked_text

WORD = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
KEYS = [
    f"sk-ant-api03-{WORD}",
    f"sk-proj-{WORD}",
    f"sk-{WORD}",
    f"ghp_{WORD}",
    f"ghs_{WORD}",
    f"github_pat_11ABCDEFG0_{WORD}",
    f"glpat-{WORD[:20]}",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    f"AIza{WORD[:35]}",
    "xoxb-123456789012-abcdefABCDEF",
    f"npm_{WORD}",
    f"pypi-AgEIcHlwaS5vcmc{WORD}",
    f"hf_{WORD}",
    f"gsk_{WORD}",
    f"xai-{WORD}",
    f"eyJhbGciOiJIUzI1NiJ9.eyJ{WORD}.{WORD}",
    f"Bearer {WORD}",
    "user:pa55w0rd-of-mine",
]
BLOCK = (
    f"-----BEGIN RSA PRIVATE KEY-----\n{WORD}\n{WORD}\n-----END RSA PRIVATE KEY-----"
)
HARMLESS = [
    "sk-learn",
    "the ghost_of tests",
    "AKIA is a prefix",
    "https://example.org/a:b@c",
    "commit 3f2a91c0de3f2a91c0de3f2a91c0de3f2a91c0de",
    "Bearer of news",
    "a" * 300,
    "task-hf_short",
]


def around(key: str) -> str:
    return f"https://{key}@host/" if key.startswith("user:") else f'"key": "{key}", x'


@pytest.mark.parametrize("key", [*KEYS, BLOCK])
def test_a_key_is_masked_wherever_it_stands(key: str) -> None:
    said = masked_text(f"before {around(key)} after\n")

    assert key not in said
    assert WORD not in said
    assert "***" in said
    assert said.startswith("before ")
    assert said.endswith(" after\n")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_a_little_like_a_key_stays(text: str) -> None:
    assert masked_text(f"x {text} y") == f"x {text} y"


@given(
    st.lists(st.sampled_from([*KEYS, *HARMLESS, BLOCK, "\n", " ", "....", "é"])),
    st.lists(st.integers(1, 60), min_size=1),
)
def test_no_cut_of_a_stream_lets_a_key_through(
    parts: list[str], sizes: list[int]
) -> None:
    data = "".join(f"{around(part)}\n" for part in parts).encode()
    masker = Masker()
    out, at, number = b"", 0, 0
    while at < len(data):
        size = sizes[number % len(sizes)]
        out += masker.feed(data[at : at + size])
        at, number = at + size, number + 1
    out += masker.flush()

    assert WORD.encode() not in out
    assert b"pa55w0rd" not in out
    assert out == masked(data)


def test_a_key_in_a_word_without_end_is_masked() -> None:
    masker = Masker()
    line = b'{"a":"' + b"x" * 70 + b'","k":"sk-' + WORD.encode() + b'"},'
    pieces = [
        masker.feed((line * 2000)[at : at + 777]) for at in range(0, 300_000, 777)
    ]
    said = b"".join([*pieces, masker.flush()])
    assert WORD.encode() not in said
    assert said.count(b'"a"') > 1900


def test_what_can_be_no_key_is_kept_at_once() -> None:
    masker = Masker()
    assert masker.feed(b"one\ntwo ") == b"one\ntwo "
    assert masker.feed(b"50% ") == b"50% "


def test_a_word_without_end_is_not_held_for_ever() -> None:
    masker = Masker()
    kept = b"".join(masker.feed(b"a" * 4096) for _ in range(100))
    assert len(kept) > 4096 * 90


def test_of_a_password_in_a_url_nothing_is_shown() -> None:
    assert (
        masked(b"postgres://:s3cr@db https://u:pw@h")
        == b"postgres://***@db https://***@h"
    )


def test_a_mention_of_a_key_hides_nothing_else() -> None:
    events = b'{"type": "text"}\n' * 50
    data = b"if line == '-----BEGIN RSA PRIVATE KEY-----':\n" + events
    masker = Masker()

    assert (masker.feed(data) + masker.flush()).endswith(events)


@pytest.mark.parametrize("word", [b"a" * 8190 + b"\n", b"eyJ" * 20_000, b"-" * 60_000])
def test_no_word_takes_long(word: bytes) -> None:
    # A thousand times what is allowed for would take hours, not seconds.
    masker = Masker()
    for _ in range(100):
        masker.feed(word)
    assert masker.flush() is not None
