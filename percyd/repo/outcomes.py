"""What became of a push, read from git's porcelain output, ref by ref.

Neither the exit code nor the text for people decides: a server that dies after the
update leaves exit code 1 behind a success line, and a client that is killed may have
pushed all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from percyd.repo.runner import mask
from percyd.repo.values import PushOutcome, PushReport, RefMove, RefReport

_STDERR_LIMIT = 2_000
_REMOTE_LINES = 50
_REMOTE_LINE_LIMIT = 500

#: Fast-forward, new, forced (by lease), deleted, and already there.
_DONE = frozenset(" *+-=")
_REASON = re.compile(r"^\[[^]]*\] \((?P<reason>.*)\)$")

#: The word for each reason after a ``!``. Client-side ones come first; git 2.50 and
#: later name the reasons of a failed ref transaction one by one.
_REASONS = {
    "stale info": PushOutcome.CONFLICT,
    "fetch first": PushOutcome.CONFLICT,
    "non-fast-forward": PushOutcome.CONFLICT,
    "needs force": PushOutcome.CONFLICT,
    "already exists": PushOutcome.CONFLICT,
    "remote ref updated since checkout": PushOutcome.CONFLICT,
    "failed to update ref": PushOutcome.CONFLICT,
    "atomic transaction failed": PushOutcome.CONFLICT,
    "reference already exists": PushOutcome.CONFLICT,
    "reference does not exist": PushOutcome.CONFLICT,
    "incorrect old value provided": PushOutcome.CONFLICT,
    "refname conflict": PushOutcome.CONFLICT,
    "failed to lock": PushOutcome.CONFLICT,
    "lock error": PushOutcome.CONFLICT,
    "atomic push failed": PushOutcome.COLLATERAL,
    "atomic push failure": PushOutcome.COLLATERAL,
    "transaction aborted": PushOutcome.COLLATERAL,
    "branch is currently checked out": PushOutcome.BUSY,
    "deletion of the current branch prohibited": PushOutcome.BUSY,
    "pre-receive hook declined": PushOutcome.REFUSED,
    "hook declined": PushOutcome.REFUSED,
    "deletion prohibited": PushOutcome.REFUSED,
    "unpacker error": PushOutcome.REMOTE_FAULT,
    "missing necessary objects": PushOutcome.REMOTE_FAULT,
    "unable to migrate objects to permanent storage": PushOutcome.REMOTE_FAULT,
    "bad pack": PushOutcome.REMOTE_FAULT,
    "transaction failed to start": PushOutcome.REMOTE_FAULT,
    "remote failed to report status": PushOutcome.UNKNOWN,
}
_CONFLICT_PREFIXES = ("cannot lock ref", "failed to lock", "unable to lock")


def parse_push(
    moves: Sequence[RefMove], stdout: bytes, stderr: bytes, timed_out: bool
) -> PushReport:
    """The outcome of a push of ``moves`` that printed ``stdout`` and ``stderr``."""
    lines = dict(_ref_lines(stdout.decode("utf-8", "replace")))
    refs = {move.ref: _judge(lines.get(move.ref)) for move in moves}
    errors = stderr.decode("utf-8", "replace")
    return PushReport(
        refs=refs,
        remote_lines=_remote_lines(errors),
        stderr=mask(errors.strip())[-_STDERR_LIMIT:],
        timed_out=timed_out,
    )


def _ref_lines(text: str) -> list[tuple[str, tuple[str, str]]]:
    """The status lines, ``flag TAB from:to TAB summary``, as ref -> flag, summary."""
    found = []
    for line in text.split("\n"):
        parts = line.split("\t", 2)
        if len(parts) == 3 and len(parts[0]) == 1 and ":" in parts[1]:
            flag, names, summary = parts
            found.append((names.rpartition(":")[2], (flag, summary.strip())))
    return found


def _judge(line: tuple[str, str] | None) -> RefReport:
    if line is None:
        return RefReport(PushOutcome.UNKNOWN)
    flag, summary = line
    if flag in _DONE:
        return RefReport(PushOutcome.APPLIED, summary)
    if flag != "!":
        return RefReport(PushOutcome.UNKNOWN, summary)
    return RefReport(_rejection(summary), summary)


def _rejection(summary: str) -> PushOutcome:
    found = _REASON.match(summary)
    reason = found["reason"] if found else ""
    if reason in _REASONS:
        return _REASONS[reason]
    if reason.startswith(_CONFLICT_PREFIXES):
        return PushOutcome.CONFLICT
    return PushOutcome.REFUSED


def _remote_lines(stderr: str) -> tuple[str, ...]:
    """What the remote's hooks printed, without padding and control characters."""
    said = [
        "".join(c for c in line.removeprefix("remote:") if c.isprintable()).strip()
        for line in re.split(r"[\r\n]", stderr.replace("\x1b[K", ""))
        if line.startswith("remote:")
    ]
    return tuple(line[:_REMOTE_LINE_LIMIT] for line in said if line)[:_REMOTE_LINES]
