"""Refs and commits as values: what a decision may ask of git, without git."""

from __future__ import annotations

from dataclasses import dataclass

#: A full object id in hex: 40 digits in a SHA-1 repository, 64 in a SHA-256 one.
Oid = str


@dataclass(frozen=True, slots=True)
class RefMove:
    """One compare-and-swap of one ref in a push.

    ``expected`` None means "must not exist"; ``new`` None means "delete". A move with
    ``expected == new`` changes nothing and only asserts where the ref stands. A
    ``forced`` move goes wherever the ref stands: only for refs that belong to one
    writer alone, as a heartbeat does.
    """

    ref: str
    expected: Oid | None
    new: Oid | None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """A merge that worked: the merge commit and its tree."""

    commit: Oid
    tree: Oid


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """A merge that did not: the paths in conflict, and git's messages for people.

    ``tree`` holds both sides, with conflict markers between them.
    """

    paths: tuple[str, ...]
    messages: str = ""
    tree: Oid = ""
