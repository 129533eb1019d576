"""The gate: does a tree pass the plan's own check?"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from percyd.core.records import Verdict, VerdictStatus
from percyd.core.refs import Oid
from percyd.runners.command import SHELL
from percyd.work.supervise import Bounds, Command, Ending, Processes, ProcessResult

#: The shell's codes for "cannot be executed" and "not found".
COULD_NOT_RUN: Final = (126, 127)
#: The shell's convention for a program that a signal ended.
SIGNAL_BASE: Final = 128


@dataclass(frozen=True, slots=True)
class GateReport:
    """A verdict, the end of the output for whoever must fix it, and a message.

    ``stopped`` means that percyd ended the gate: then the verdict says nothing.
    """

    verdict: Verdict
    tail: str = ""
    message: str = ""
    stopped: bool = False


class Verdicts:
    """What gates said of trees: the same command never runs twice on one tree."""

    def __init__(self) -> None:
        self._known: dict[tuple[Oid, str], GateReport] = {}
        self._guard = threading.Lock()

    def get(self, tree: Oid, command: str) -> GateReport | None:
        """The report on a tree, if there is one."""
        with self._guard:
            return self._known.get((tree, command))

    def keep(self, tree: Oid, command: str, report: GateReport) -> None:
        """Remember a report. A gate that was stopped has said nothing."""
        if not report.stopped:
            with self._guard:
                self._known[(tree, command)] = report


def run_gate(
    processes: Processes,
    command: str,
    cwd: Path,
    env: Mapping[str, str],
    bounds: Bounds,
    log: Path | None,
    stop: threading.Event,
    *,
    tree: str | None = None,
) -> GateReport:
    """Run ``command`` with the shell in ``cwd``, which holds ``tree``.

    A gate may be silent for as long as it may run: many print only at their end.
    """
    argv = (SHELL, "-c", command)
    bounds = replace(bounds, idle_s=bounds.timeout_s)
    result = processes.run(Command(argv, cwd, env), bounds, log, stop)
    verdict = Verdict(
        status=_status(result),
        command=command,
        exit_code=_exit_code(result),
        tree=tree,
        duration_s=round(result.duration_s, 3),
    )
    stopped = result.ending is Ending.STOPPED
    return GateReport(verdict, result.tail, result.message, stopped)


def _status(result: ProcessResult) -> VerdictStatus:
    match result.ending:
        case Ending.EXITED if result.code == 0:
            return "passed"
        case Ending.EXITED if result.code in COULD_NOT_RUN:
            return "could_not_run"
        case Ending.EXITED | Ending.SIGNALLED:
            return "failed"
        case Ending.TIMED_OUT | Ending.IDLE:
            return "timed_out"
        case _:
            return "could_not_run"


def _exit_code(result: ProcessResult) -> int | None:
    if result.ending is Ending.SIGNALLED and result.code is not None:
        return SIGNAL_BASE + result.code
    return result.code
