"""When what checks the records is built."""

from __future__ import annotations

import subprocess
import sys

import pytest

_STORE = """
from percyd.clock import SystemClock, SystemRandomness
from percyd.state.memory import MemoryBackend, MemoryRemote
from percyd.state.store import StateStore
StateStore(MemoryBackend(MemoryRemote()), SystemClock(), SystemRandomness())
"""
_COUNT = "sum(m.__pydantic_complete__ for m in Record.__subclasses__())"


@pytest.mark.parametrize(
    ("doing", "built"),
    [
        ("pass", "0"),
        ("from percyd.core.records import complete; complete()", "all"),
        (_STORE, "all"),
    ],
    ids=["by the import", "by complete", "by a store"],
)
def test_all_records_can_be_checked_before_there_are_threads(
    doing: str, built: str
) -> None:
    code = (
        f"{doing}\nfrom percyd.core.records import Record\n"
        f"print({_COUNT}, len(Record.__subclasses__()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    done, every = found.stdout.split()
    assert int(every) > 10
    assert done == (every if built == "all" else built)
