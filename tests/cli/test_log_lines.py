"""A log record is one line, whatever its fields hold."""

from __future__ import annotations

import logging

import pytest

from percyd.cli.logs import LineFormatter


@pytest.mark.parametrize(
    ("why", "shown"),
    [
        ("it is refused\n", '"it is refused"'),
        ("a.yaml:1: wrong\nb.yaml:2: wrong\n\n", '"a.yaml:1: wrong; b.yaml:2: wrong"'),
        ("printf 'a\\n'", "\"printf 'a\\n'\""),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
    ],
)
def test_words_of_several_lines_come_on_one(why: str, shown: str) -> None:
    record = logging.makeLogRecord({"msg": "waits", "why": why})
    line = LineFormatter().format(record)
    assert line.endswith(f" waits why={shown}")
