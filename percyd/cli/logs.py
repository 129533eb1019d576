"""Log records as lines: constant messages, fields behind them.

On stderr for people, and in a file of bounded size for each process that stays up.
A traceback is for the file alone.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from percyd.errors import PercydError

_FIELDS = ("task", "plan", "attempt", "agent", "path", "ref", "where", "why")

#: A log of a process that stays up: so large, and so many older ones beside it.
LOG_BYTES = 5 * 1024 * 1024
OLD_LOGS = 3
#: What tracebacks of commands may take, and again as much for the older ones.
_TRACEBACK_BYTES = 1024 * 1024
TRACEBACKS = "tracebacks.log"

_logger = logging.getLogger("percyd")


class LineFormatter(logging.Formatter):
    """``12:34:56 started task=demo.a attempt=1``."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = [
            f"{name}={_shown(getattr(record, name))}"
            for name in _FIELDS
            if hasattr(record, name)
        ]
        if record.exc_info and record.exc_info[0]:
            kind, error, _ = record.exc_info
            fields.append(f"error={_shown(f'{kind.__name__}: {error}')}")
        return " ".join([self._start(record), record.getMessage(), *fields])

    def _start(self, record: logging.LogRecord) -> str:
        return self.formatTime(record, "%H:%M:%S")


class FileFormatter(LineFormatter):
    """``2026-03-01T12:34:56Z INFO started task=demo.a``, and tracebacks, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line = super().format(record)
        if record.exc_info and record.exc_info[0]:
            trace = self.formatException(record.exc_info).splitlines()
            line += "".join(f"\n  {_escaped(row)}" for row in trace)
        return line

    def _start(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%SZ} {record.levelname}"


def _shown(value: object) -> str:
    rows = (row.strip() for row in str(value).splitlines())
    text = _escaped("; ".join(row for row in rows if row))
    return f'"{text}"' if " " in text else text


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class BoundedFile(RotatingFileHandler):
    """A file that is set aside when it is full; a full disk costs lines, no more."""

    def __init__(self, path: Path, size: int, older: int) -> None:
        super().__init__(
            path,
            maxBytes=size,
            backupCount=older,
            encoding="utf-8",
            errors="backslashreplace",
        )
        self.setFormatter(FileFormatter())

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """See `logging.Handler`: nothing can be told where nothing can be written."""

    def close(self) -> None:
        """See `logging.Handler`."""
        with suppress(OSError):  # of what was not written yet
            super().close()


def log_to_stderr(*, quiet: bool, verbose: bool) -> None:
    """Send percyd's own log records to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    handler.setLevel(level)
    _logger.handlers[:] = [handler]
    _logger.propagate = False
    _logger.setLevel(level)


def log_to_nobody() -> None:
    """Say nothing on stderr: nobody is there to read it."""
    _logger.handlers[:] = [logging.NullHandler()]
    _logger.propagate = False


@contextmanager
def logged_to(path: Path, *, verbose: bool) -> Iterator[None]:
    """Keep the log in a file too, whatever is said on stderr; and why it all ended."""
    try:
        handler = BoundedFile(path, LOG_BYTES, OLD_LOGS)
    except OSError as error:
        raise PercydError(f"cannot write {path}: {error.strerror}") from error
    level = logging.DEBUG if verbose else logging.INFO
    handler.setLevel(level)
    before = _logger.level
    _logger.setLevel(min(level, before or level))
    _logger.addHandler(handler)
    threading.excepthook = _log_uncaught
    try:
        yield
    except PercydError as error:
        _tell(handler, "ended", why=str(error))
        raise
    except Exception as error:
        _tell(handler, "broke", error=error)
        raise
    finally:
        threading.excepthook = threading.__excepthook__
        _logger.removeHandler(handler)
        _logger.setLevel(before)
        handler.close()


def _tell(
    handler: logging.Handler,
    what: str,
    *,
    why: str = "",
    error: Exception | None = None,
) -> None:
    """One more line, for the file alone: stderr gets its own last word."""
    found = (type(error), error, error.__traceback__) if error else None
    record = _logger.makeRecord(
        "percyd",
        logging.ERROR,
        "",
        0,
        what,
        (),
        found,
        extra={"why": why} if why else {},
    )
    handler.handle(record)


def _log_uncaught(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else "?"
    if args.exc_value is not None:
        found = (args.exc_type, args.exc_value, args.exc_traceback)
        _logger.critical("thread broke", exc_info=found, extra={"where": name})


def keep_traceback(folder: Path, error: Exception) -> Path | None:
    """Write a command's traceback into the log for them; None if it cannot be."""
    path = folder / TRACEBACKS
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = BoundedFile(path, _TRACEBACK_BYTES, 1)
        _tell(handler, "broke", why=" ".join(sys.argv), error=error)
        handler.close()
        return path if os.access(path, os.R_OK) else None
    return None
