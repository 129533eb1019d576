"""What an attempt says to its program, round after round, and what it hears."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from functools import partial
from itertools import takewhile
from pathlib import Path

from percyd.core.reasons import Reason
from percyd.core.records import Usage
from percyd.failpoints import hit
from percyd.runners.base import Job, Reader, Runner, RunReport, report_of
from percyd.runners.events import Trouble
from percyd.runners.limits import longer_rest
from percyd.work.failure import AttemptFailed
from percyd.work.held import HeldClaim
from percyd.work.output import Listener
from percyd.work.supervise import Bounds, Command
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

#: So often in a row a task is given back uncounted for want of its provider. It then
#: counts, as what looks like a limit may be an error that never ends.
_MOST_PARKS = 20
#: So many denied calls are named.
_DENIED_SHOWN = 5


@dataclass(slots=True)
class Conversation:
    """One attempt's runs of its program: one session where that is possible.

    Args:
        shop: What all attempts share.
        held: The claim.
        runner: The program.
        environment: What it gets, but for what the runner adds.
        bounds: Of each run; the log is one for all of them.
        log_file: Where everything goes that it prints.
        prompt_file: Where it finds what it is told.
        read_only: It is to change nothing.
    """

    shop: Workshop
    held: HeldClaim
    runner: Runner
    environment: Mapping[str, str]
    bounds: Bounds
    log_file: Path
    prompt_file: Path
    read_only: bool = False
    #: Summed over the rounds.
    usage: Usage | None = None
    session: str | None = None
    summary: str | None = None

    def say(self, prompt: str, intro: str, worktree: Path) -> RunReport:
        """One more round; ``intro`` comes first where it cannot be known any more.

        Raises:
            AttemptFailed: it did not end as it should, or must not run here; names why.
        """
        if (file := self.runner.obeys(worktree)) is not None:
            raise AttemptFailed(
                Reason.UNSUPPORTED_REPOSITORY,
                f"{self.runner.name} obeys {file} of the repository whatever it is told; "
                f"project_settings = true in [runners.{self.runner.name}] allows that",
            )
        session = self.session if self.runner.can_resume else None
        text = prompt if session is not None else f"{intro}\n{prompt}".lstrip()
        self.prompt_file.write_text(text, encoding="utf-8")
        job = Job(
            self.prompt_file,
            session=session,
            read_only=self.read_only,
            spent=self.usage,
        )
        report = self._run(job, worktree)
        self.session = report.session or self.session
        self.usage = total([self.usage, report.usage])
        if report.failed is not None:
            raise self._failure(report)
        if report.denied and self.held.task.verify is None and not self.read_only:
            # It may have closed with "done" all the same, and nothing checks the work.
            told = ", ".join(report.denied[:_DENIED_SHOWN])
            message = f"it was not allowed to do what it wanted: {told}"
            raise AttemptFailed(Reason.RUNNER_FAILED, message)
        self.summary = report.summary or self.summary
        return report

    def _run(self, job: Job, worktree: Path) -> RunReport:
        start = self.runner.start(job)
        reader = self.runner.reader(job)

        command = Command(
            start.argv, worktree, {**self.environment, **start.env}, start.stdin
        )
        result = self.shop.processes.run(
            command,
            self.bounds,
            self.log_file,
            self.held.stop,
            self._listener(reader) if reader else None,
        )
        hit("program-ended")
        ran = reader.ran if reader else None
        report = report_of(result, ran, self.shop.clock.now())
        return _with_duration(report, result.duration_s)

    def _parked_before(self) -> int:
        """How often in a row the task's last attempts have ended so."""
        ended = self.held.task.attempts[::-1]
        parked = takewhile(lambda attempt: attempt.outcome == "parked", ended)
        return sum(1 for _ in parked)

    def _listener(self, reader: Reader) -> Listener:
        return Listener(partial(_listen, reader, self.held.task.id), reader.marks)

    def _failure(self, report: RunReport) -> AttemptFailed:
        reason, message = report.failed or Reason.RUNNER_FAILED, report.message
        if reason is Reason.PARKED and (until := report.rest_until) is not None:
            times = self._parked_before()
            if times >= _MOST_PARKS:
                return AttemptFailed(Reason.RUNNER_FAILED, message)
            until = max(until, self.shop.clock.now() + longer_rest(times))
            self.shop.parking.park(self.runner.name, until)
            when = f"{until.astimezone(UTC):%F %T} UTC"
            message = f"{self.runner.name} rests until {when}: {message}"
        return AttemptFailed(reason, message)


def _listen(reader: Reader, task: str, line: bytes) -> None:
    for event in reader.read(line):
        if isinstance(event, Trouble):
            log.debug("trouble", extra={"task": task, "why": event.text})


def _with_duration(report: RunReport, duration_s: float) -> RunReport:
    known = report.usage or Usage()
    spent = known.model_copy(update={"duration_s": round(duration_s, 3)})
    return replace(report, usage=spent)


def total(parts: Iterable[Usage | None]) -> Usage | None:
    """The sum of what several rounds used; unknown is what is known of none."""
    known = [part for part in parts if part is not None]
    if not known:
        return None
    sums: dict[str, float | int | None] = {}
    for name in Usage.model_fields:
        values = [v for part in known if (v := getattr(part, name)) is not None]
        sums[name] = sum(values) if values else None
    if sums["duration_s"] is not None:
        sums["duration_s"] = round(sums["duration_s"], 3)
    return Usage(**sums)
