"""A log record is one line, whatever its fields hold."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

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


_NOISE = """
import logging, sys
from percyd.cli.main import main
sys.argv = ["percyd", "--version"]
try:
    main()
except SystemExit:
    pass
logging.getLogger("watchdog.somewhere").warning("I am being stopped")
logging.getLogger("percyd.somewhere").error("only for a log")
"""


def test_what_libraries_log_is_not_for_the_user() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _NOISE],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("percyd, version")
    assert done.stderr == ""
