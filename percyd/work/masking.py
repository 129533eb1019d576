"""Keys and passwords in what programs print: masked before anything is kept of it.

A fixed list of forms that providers give to their keys. What has no form of its own
cannot be known; a program gets no credentials that are not its own (`environment`).
"""

from __future__ import annotations

import re
from typing import Final

#: How each form begins, for a quick look, and what it is.
_FORMS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"sk-", rb"sk-(?:ant-|proj-|svcacct-|or-v1-)?[A-Za-z0-9_-]{20,}"),
    (b"gh", rb"gh[pousr]_[A-Za-z0-9]{30,}"),
    (b"github_pat_", rb"github_pat_[A-Za-z0-9_]{30,}"),
    (b"glpat-", rb"glpat-[A-Za-z0-9_-]{20,}"),
    (b"AKIA", rb"\bAKIA[A-Z0-9]{16}\b"),
    (b"ASIA", rb"\bASIA[A-Z0-9]{16}\b"),
    (b"AIza", rb"AIza[A-Za-z0-9_-]{30,}"),
    (b"xox", rb"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    (b"npm_", rb"npm_[A-Za-z0-9]{30,}"),
    (b"pypi-", rb"pypi-[A-Za-z0-9_-]{30,}"),
    (b"hf_", rb"\bhf_[A-Za-z0-9]{30,}"),
    (b"gsk_", rb"gsk_[A-Za-z0-9]{30,}"),
    (b"xai-", rb"xai-[A-Za-z0-9]{30,}"),
    (
        b"eyJ",
        rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    ),
    (b"earer ", rb"[Bb]earer (?!\*)[A-Za-z0-9_.~+/=-]{20,}"),
    (b"://", rb"(?<=://)[^\s/:@\"']*:[^\s/@\"']+(?=@)"),
    (
        b"PRIVATE KEY-----",
        (
            rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"
            rb"(?:[A-Za-z0-9+/=\s:,]|\\[nr]|-(?!----))*"
            rb"(?:-----END [A-Z ]*PRIVATE KEY-----)?"
        ),
    ),
)
_PATTERNS: Final = tuple(
    (begin, re.compile(pattern, re.DOTALL)) for begin, pattern in _FORMS
)
#: So much of a key stays, to tell which one it was.
_SHOWN = 6
_MASK = b"***"
#: The longest piece that is held back, as a key may go on in the next one.
_HELD_BYTES = 8192
#: What may be the beginning of a key: the last word, and what stands before some.
_OPEN = re.compile(
    rb"(?:[Bb]earer |(?<!\S))\S+\Z|[Bb]earer \Z|-----BEGIN [A-Z ]*-*\Z", re.DOTALL
)
_BLOCK = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL
)
_OPEN_KEY = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(?!.*-----END [A-Z ]*PRIVATE KEY-----)",
    re.DOTALL,
)
#: A key is of such characters; a word without end is cut where none of them stands.
_PLAIN = re.compile(rb"[A-Za-z0-9][A-Za-z0-9_.~+/=:@-]*\Z")


def masked(data: bytes) -> bytes:
    """``data`` with everything masked that has the form of a key."""
    for begin, pattern in _PATTERNS:
        if begin in data:
            data = pattern.sub(_mask, data)
    return data


def masked_text(text: str) -> str:
    """The same for text."""
    data = text.encode("utf-8", "replace")
    return masked(data).decode("utf-8", "replace")


def _mask(found: re.Match[bytes]) -> bytes:
    # What stands before "@" in a URL has no form that would be worth showing.
    is_password = found.string[found.end() : found.end() + 1] == b"@"
    return _MASK if is_password else found[0][:_SHOWN] + _MASK


class Masker:
    """Masks a stream that comes in pieces of any size."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What of the stream so far is safe to keep."""
        data = self._held + data
        key = _OPEN_KEY.search(data)
        if key is not None and len(data) - key.start() < _HELD_BYTES:
            at = key.start()
        else:
            at = _open_from(data)
            # The last word of a whole block is none of its own.
            blocks = _BLOCK.finditer(data) if b"PRIVATE KEY-----" in data else ()
            at = max([at, *(b.end() for b in blocks if b.start() < at)])
        self._held = data[at:]
        return masked(data[:at])

    def flush(self) -> bytes:
        """What was held back, at the end of the stream."""
        data, self._held = self._held, b""
        return masked(data)


def _open_from(data: bytes) -> int:
    """Where in ``data`` something begins that may be a key, and goes on."""
    start = max(0, len(data) - _HELD_BYTES)
    # Cut out, so that a word that began before it begins here.
    found = _OPEN.search(data[start:])
    if found is None:
        return len(data)
    if found.start() or start == 0:
        return start + found.start()
    middle = len(data) - _HELD_BYTES // 2
    word = _PLAIN.search(data, start, middle)
    return word.start() if word and word.start() > start else middle
