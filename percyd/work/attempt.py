"""One attempt at one task: workspace, program, result, landing, clean-up (DESIGN 6)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from percyd.core.ids import agent_branch, plan_branch, rescue_ref
from percyd.core.operations.base import Fence, Operation
from percyd.core.operations.claims import EndAttempt, Ending, Work
from percyd.core.operations.completion import CompleteReview, Report
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task, Verdict, Why
from percyd.core.refs import Oid
from percyd.errors import (
    BranchCheckedOut,
    ContentionError,
    GitError,
    IntegrationMoved,
    MergeConflictError,
    OutcomeUnknown,
    PercydError,
    RemoteFault,
    RemoteUnreachable,
    StaleClaim,
)
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import Runner, RunReport
from percyd.runners.command import ShellRunner
from percyd.state.tickets import Applied
from percyd.work.collect import CollectError, Collector, push_rescue
from percyd.work.environment import task_environment
from percyd.work.landing import GateFailed, Interrupted, Landing, Verdicts
from percyd.work.leftovers import worktree_name
from percyd.work.prompt import prompt_text
from percyd.work.supervise import Bounds, Command
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

#: Faults that pass: the result is kept and the last step tried again.
PASSING = (
    RemoteUnreachable,
    RemoteFault,
    OutcomeUnknown,
    ContentionError,
    BranchCheckedOut,
)
_RETRY_CAP_S = 15.0


class AttemptFailed(PercydError):
    """The attempt has no result."""

    code = "attempt_failed"

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        commit: Oid | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(message or str(reason))
        self.reason = reason
        self.commit = commit
        self.verdict = verdict


class Attempt:
    """One claimed task on its way to a landed commit, or to the reason why not."""

    def __init__(
        self,
        workshop: Workshop,
        clone: SlotClone,
        task: Task,
        settle: Callable[[Operation], Applied],
        shutdown: threading.Event,
    ) -> None:
        self._shop = workshop
        self._clone = clone
        self._task = task
        self._plan = self._record()
        self._fence = Fence(task.id, task.attempt, task.claim or "")
        self._apply = settle
        self._stop = shutdown
        self._branch = agent_branch(task.assigned_to or "", task.id)
        self._folder = workshop.home.run_of(task.id, task.attempt)
        self._log = workshop.home.log_of(task.id, task.attempt)
        self._base: Oid = ""
        self._path: Path | None = None
        self._working: threading.Thread | None = None
        self._stale = False

    def _record(self) -> Plan:
        return self._shop.store.state.snapshot.plans[self._task.plan].record

    def run(self) -> None:
        """Run the attempt to its end; every way out ends the claim or is fenced off."""
        try:
            try:
                self._attempt()
            except AttemptFailed as failure:
                self._end(failure)
        except StaleClaim:
            log.warning("claim is gone", extra={"task": self._task.id})
            if not self._rescue():
                return  # nothing is deleted that is not kept elsewhere
        except Interrupted:
            return
        self._clean_up()

    def _attempt(self) -> None:
        """The straight path. Raises `AttemptFailed` with the reason for any other."""
        try:
            self._prepare()
        except (GitError, OSError) as error:
            raise AttemptFailed(Reason.WORKSPACE_FAILED, str(error)) from error
        limits = self._plan.limits
        rounds = limits.fix_rounds if self._task.run is not None else 0
        verdicts = Verdicts()
        while True:
            report = self._run_program()
            if self._task.type == "review":
                self._join_working()
                self._settle(
                    CompleteReview(
                        self._shop.store.stamp(),
                        self._fence,
                        Report(report.summary, usage=report.usage),
                    )
                )
                return
            commit = self._collect()
            try:
                self._land(commit, report, verdicts)
            except MergeConflictError as conflict:
                if rounds <= 0:
                    raise AttemptFailed(
                        Reason.CONFLICT, str(conflict), commit=commit
                    ) from conflict
                rounds -= 1
                self._start_over()
            except GateFailed as failure:
                raise AttemptFailed(
                    failure.reason,
                    failure.message,
                    commit=commit,
                    verdict=failure.verdict,
                ) from failure
            except Interrupted as stopped:
                raise AttemptFailed(
                    Reason.RELEASED, "percyd was stopped", commit=commit
                ) from stopped
            else:
                return

    # Workspace

    def _prepare(self) -> None:
        self._base = self._tip()
        self._working = threading.Thread(target=self._tell_working, daemon=True)
        self._working.start()
        facts = self._shop.hub.facts(self._base)
        if facts.submodules or facts.filters:
            what = (*facts.submodules, *facts.filters)[0]
            raise AttemptFailed(
                Reason.UNSUPPORTED_REPOSITORY,
                f"submodules and filters are not supported: {what}",
            )
        name = worktree_name(self._task.id, self._task.attempt)
        self._path = self._clone.checkout(name, self._branch, self._base)
        self._folder.mkdir(parents=True, exist_ok=True)
        prompt = prompt_text(self._plan, self._task)
        (self._folder / "prompt.md").write_text(prompt, encoding="utf-8")

    def _tip(self) -> Oid:
        tip = self._shop.store.tip_of(plan_branch(self._task.plan))
        if tip is None:
            raise AttemptFailed(
                Reason.WORKSPACE_FAILED, f"percy/plan/{self._task.plan} is gone"
            )
        return tip

    def _tell_working(self) -> None:
        """Say that the work has begun; the program does not wait for this push."""
        operation = Work(self._shop.store.stamp(), self._fence, self._base)
        try:
            self._retrying(lambda: self._shop.store.apply(operation))
        except StaleClaim:
            self._stale = True
        except PercydError as error:
            log.error("working", extra={"task": self._task.id, "why": str(error)})

    def _join_working(self) -> None:
        """The end of an attempt follows its beginning: `complete` needs ``working``."""
        if self._working is not None:
            self._working.join()
            self._working = None
        if self._stale:
            raise StaleClaim

    def _start_over(self) -> None:
        """The same worktree on the newest tip: a conflict of a ``run:`` task."""
        self._base = self._tip()
        assert self._path is not None  # noqa: S101 - made by _prepare
        self._clone.switch_branch(self._path, self._branch, self._base)

    # Program

    def _run_program(self) -> RunReport:
        runner = self._runner()
        start = runner.start(self._prompt_file)
        environment = {**self._environment(runner), **start.env}
        assert self._path is not None  # noqa: S101 - made by _prepare
        command = Command(start.argv, self._path, environment, start.stdin)
        result = self._shop.processes.run(
            command, self._bounds(), self._log, self._stop
        )
        report = runner.finish(result)
        if report.failed is not None:
            raise AttemptFailed(
                report.failed, report.message, commit=self._what_there_is()
            )
        return report

    def _runner(self) -> Runner:
        if self._task.run is not None:
            return ShellRunner(self._task.run)
        runner = self._shop.runners.get(self._task.runner or "")
        if runner is None:
            raise AttemptFailed(
                Reason.RUNNER_MISSING, f"no runner {self._task.runner} here"
            )
        return runner

    @property
    def _prompt_file(self) -> Path:
        return self._folder / "prompt.md"

    def _environment(self, runner: Runner) -> dict[str, str]:
        return task_environment(
            self._shop.environ,
            self._task,
            self._plan,
            branch=self._branch,
            base_commit=self._base,
            prompt_file=self._prompt_file,
            question_file=self._folder / "question.md",
            depth=int(self._shop.environ.get("PERCY_DEPTH", "0")) + 1,
            allow=runner.env_allow,
            deny=runner.env_deny,
        )

    def _bounds(self) -> Bounds:
        limits = self._plan.limits
        return Bounds(
            timeout_s=self._task.timeout_s or limits.timeout_s,
            idle_s=limits.idle_s,
            log_bytes=limits.log_bytes,
            grace_s=self._shop.grace_s,
        )

    # Result

    def _collector(self) -> Collector:
        assert self._path is not None  # noqa: S101 - made by _prepare
        return Collector(
            self._shop.hub,
            self._clone,
            self._path,
            self._task,
            self._base,
            self._shop.author,
        )

    def _collect(self) -> Oid:
        try:
            return self._collector().result(self._shop.clock.now())
        except CollectError as error:
            raise AttemptFailed(
                error.reason, error.message, commit=error.commit
            ) from error
        except (GitError, OSError) as error:
            raise AttemptFailed(Reason.WORKSPACE_FAILED, str(error)) from error

    def _what_there_is(self) -> Oid | None:
        """Whatever a failed attempt made, for its rescue ref; None if nothing."""
        if self._path is None:
            return None
        try:
            commit = self._collector().everything(self._shop.clock.now())
        except (PercydError, OSError) as error:
            log.error("not collected", extra={"task": self._task.id, "why": str(error)})
            return None
        return commit if commit != self._base else None

    def _land(self, commit: Oid, report: RunReport, verdicts: Verdicts) -> None:
        self._join_working()
        assert self._path is not None  # noqa: S101 - made by _prepare
        Landing(
            store=self._shop.store,
            hub=self._shop.hub,
            clone=self._clone,
            processes=self._shop.processes,
            clock=self._shop.clock,
            verdicts=verdicts,
            task=self._task,
            fence=self._fence,
            path=self._path,
            environment=self._environment(self._runner()),
            bounds=self._bounds(),
            log=self._log.with_name(self._log.name + ".gate"),
            stop=self._stop,
            settle=self._settle,
            base=self._base,
        ).land(
            commit,
            Report(report.summary, None, report.usage, report.session),
        )

    # End

    def _settle(self, operation: Operation) -> Applied:
        return self._retrying(lambda: self._apply(operation))

    def _retrying(self, act: Callable[[], Applied]) -> Applied:
        """Do it again while only the remote is in the way; the work is kept."""
        pause_s = 0.5
        while True:
            try:
                return act()
            except IntegrationMoved:
                raise
            except PASSING as error:
                log.warning("waits", extra={"task": self._task.id, "why": str(error)})
                if self._shop.clock.wait(self._stop, pause_s):
                    raise Interrupted from error
                pause_s = min(pause_s * 2, _RETRY_CAP_S)

    def _end(self, failure: AttemptFailed) -> None:
        """Give the claim back with the reason; the work goes to its rescue ref."""
        self._join_working()
        released = failure.reason is Reason.RELEASED
        commit = failure.commit if failure.commit != self._base else None
        ending = Ending(
            outcome="released" if released else "failed",
            reason=Why(code=failure.reason, message=failure.message[:1000]),
            commit=commit,
            verdict=failure.verdict,
        )
        operation = EndAttempt(self._shop.store.stamp(), self._fence, ending)
        log.info(
            "attempt failed",
            extra={"task": self._task.id, "why": f"{failure.reason}: {failure}"},
        )
        self._settle(operation)

    def _rescue(self) -> bool:
        """Keep the work of a claim that is gone; true if nothing is left to lose."""
        commit = self._what_there_is()
        if commit is None:
            return True
        ref = rescue_ref(self._task.id, self._task.attempt)
        try:
            return push_rescue(self._shop.hub, ref, commit)
        except PercydError as error:
            log.error("not rescued", extra={"task": self._task.id, "why": str(error)})
            return False

    def _clean_up(self) -> None:
        if self._path is not None:
            try:
                self._clone.remove(self._path)
            except (GitError, OSError) as error:
                log.warning(
                    "not removed", extra={"task": self._task.id, "why": str(error)}
                )
