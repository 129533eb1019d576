"""What a reviewer's last words come to."""

from __future__ import annotations

import pytest

from percyd.core.operations.reviews import verdict_of


@pytest.mark.parametrize(
    "text",
    ["approve", "All good.\n\nApprove", "**approve**\n", "`approve`.", "Approved!"],
)
def test_an_approval_is_the_last_line(text: str) -> None:
    assert verdict_of(text) == ""


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("changes: the price is negative", "the price is negative"),
        ("I looked.\n\n**Changes:** one\ntwo\n", "one\ntwo"),
        ("changes: one\n## Changes: two", "one\n## Changes: two"),
        ("approve\nchanges: after all", "after all"),
    ],
)
def test_changes_go_on_to_the_end(text: str, changes: str) -> None:
    said = verdict_of(text)
    assert said is not None
    assert said.lstrip("* ") == changes


@pytest.mark.parametrize(
    "text",
    ["", "I approve of it, mostly", "changes:", "looks fine", "no changes: none?"],
)
def test_anything_else_says_nothing(text: str) -> None:
    assert verdict_of(text) is None
