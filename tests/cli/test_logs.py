"""The log file of a process that stays up: its lines, its size, its tracebacks."""

from __future__ import annotations

import io
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.cli.logs import BoundedFile, log_to_stderr, logged_to
from percyd.errors import PercydError
from tests.support.gitrepo import make_repo
from tests.support.newuser import finish, start

log = logging.getLogger("percyd.somewhere")


@pytest.fixture(autouse=True)
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    log_to_stderr(quiet=True, verbose=False)
    yield said
    logging.getLogger("percyd").handlers[:] = []


def broken() -> None:
    raise KeyError("no such\nthing")


def a_bad_day() -> None:
    log.info("started", extra={"task": "p.a", "where": "a b"})
    try:
        broken()
    except KeyError:
        log.exception("turn broke")
    thread = threading.Thread(target=broken, name="beats")
    thread.start()
    thread.join()
    raise PercydError("no way", hint="go elsewhere")


def test_a_traceback_is_for_the_file_alone(tmp_path: Path, stderr: io.StringIO) -> None:
    path = tmp_path / "daemon.log"
    with pytest.raises(PercydError), logged_to(path, verbose=False):
        a_bad_day()

    lines = path.read_text().splitlines()
    assert lines[0].endswith('Z INFO started task=p.a where="a b"')
    assert "ERROR turn broke error=" in lines[1]
    assert any("in broken" in line and line.startswith("  ") for line in lines)
    assert any("CRITICAL thread broke where=beats" in line for line in lines)
    assert lines[-1].endswith('ERROR ended why="no way; go elsewhere"')
    said = stderr.getvalue().splitlines()
    assert [line.split()[1:3] for line in said] == [
        ["turn", "broke"],
        ["thread", "broke"],
    ]


def test_a_log_is_set_aside_when_it_is_full_and_only_so_many_are_kept(
    tmp_path: Path,
) -> None:
    handler = BoundedFile(tmp_path / "daemon.log", 1000, 2)
    for number in range(200):
        record = logging.makeLogRecord({"msg": f"line {number}", "levelname": "INFO"})
        handler.handle(record)
    handler.close()
    found = sorted(tmp_path.iterdir())
    assert [p.name for p in found] == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert all(p.stat().st_size <= 1000 for p in found)
    assert "line 199" in found[0].read_text()


def test_a_full_disk_costs_lines_and_nothing_else(
    tmp_path: Path, stderr: io.StringIO
) -> None:
    with logged_to(tmp_path / "daemon.log", verbose=False):
        handlers = logging.getLogger("percyd").handlers
        (handler,) = (h for h in handlers if isinstance(h, BoundedFile))
        assert handler.stream is not None
        handler.stream.close()
        handler.stream = Path("/dev/full").open("w")  # noqa: SIM115 - it closes it
        log.info("started")
    assert stderr.getvalue() == ""


def test_what_breaks_percyd_itself_is_told_in_one_line(tmp_path: Path) -> None:
    clone, broken = make_repo(tmp_path / "clone"), {"PERCY_FAILPOINT": "no-such-place"}
    plain = finish(start("serve", cwd=clone, **broken))
    assert (plain.code, len(plain.err.splitlines())) == (1, 1)
    assert "itself failed" in plain.err
    assert "; -v writes where to a log file" in plain.err
    assert not (tmp_path / "state" / "tracebacks.log").exists()

    told = finish(start("-v", "serve", cwd=clone, **broken))
    kept = tmp_path / "state" / "tracebacks.log"
    assert len(told.err.splitlines()) == 1
    assert f"; {kept} says where" in told.err
    assert "  Traceback (most recent call last):" in kept.read_text().splitlines()
