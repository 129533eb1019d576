"""Log records as lines on stderr: constant messages, fields behind them."""

from __future__ import annotations

import logging
import sys

_FIELDS = ("task", "plan", "attempt", "agent", "path", "why")


class LineFormatter(logging.Formatter):
    """``12:34:56 started task=demo.a attempt=1``."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        fields = [
            f"{name}={_shown(getattr(record, name))}"
            for name in _FIELDS
            if hasattr(record, name)
        ]
        start = self.formatTime(record, "%H:%M:%S")
        line = " ".join([start, record.getMessage(), *fields])
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _shown(value: object) -> str:
    text = str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return f'"{text}"' if " " in text else text


def log_to_stderr(*, quiet: bool, verbose: bool) -> None:
    """Send percyd's own log records to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logger = logging.getLogger("percyd")
    logger.handlers[:] = [handler]
    logger.propagate = False
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logger.setLevel(level)
