"""Words for people that more than one place needs."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """A count with its noun: "1 task", "1,200 tasks"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
