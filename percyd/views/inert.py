"""Text from anybody who can push, made safe to show."""

from __future__ import annotations

import unicodedata

#: Invisible, but some scripts cannot be written without them.
_JOINERS = "\u200c\u200d"
#: Controls, formats (with the bidi marks), surrogates, private and unassigned
#: characters, line and paragraph separators.
_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: object) -> str:
    """``text`` on one line, with everything escaped that could act on a terminal."""
    return "".join(map(_inert, str(text)))


def _inert(char: str) -> str:
    if char in _JOINERS or unicodedata.category(char) not in _ACTIVE:
        return char
    return ascii(char)[1:-1]
