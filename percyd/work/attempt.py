"""One attempt at one task: workspace, program, result, landing, clean-up (DESIGN 6)."""

from __future__ import annotations

import logging
from pathlib import Path

from percyd.core.ids import agent_branch, plan_branch, rescue_ref
from percyd.core.operations.completion import CompleteReview, Report
from percyd.core.reasons import Reason
from percyd.core.records import Plan
from percyd.core.refs import Oid
from percyd.errors import (
    MergeConflictError,
    PercydError,
    StaleClaim,
    UnsupportedRepository,
)
from percyd.failpoints import hit
from percyd.repo.hub import PINS
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import Runner, RunReport
from percyd.runners.command import ShellRunner
from percyd.state.heartbeat import Rider
from percyd.work.collect import Collector, pin_name, push_rescue, refuse_unsupported
from percyd.work.environment import task_environment
from percyd.work.failure import AttemptFailed, Interrupted
from percyd.work.held import HeldClaim
from percyd.work.landing import Landing, Verdicts
from percyd.work.leftovers import worktree_name
from percyd.work.mergebase import merge_base
from percyd.work.progress import Progress
from percyd.work.prompt import prompt_text
from percyd.work.supervise import Bounds, Command
from percyd.work.upload import Upload
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)


class Attempt:
    """One claimed task on its way to a landed commit, or to the reason why not."""

    def __init__(self, shop: Workshop, clone: SlotClone, held: HeldClaim) -> None:
        self._shop = shop
        self._clone = clone
        self._held = held
        self._task = held.task
        self._plan = self._record()
        self._branch = agent_branch(self._task.assigned_to or "", self._task.id)
        self._folder = shop.home.run_of(self._task.id, self._task.attempt)
        self._log = shop.home.log_of(self._task.id, self._task.attempt)
        self._base: Oid = ""
        self._path = clone.path(worktree_name(self._task.id, self._task.attempt))
        self._collector: Collector | None = None
        self._result: Oid | None = None
        self._progress = Progress(
            shop.hub, rescue_ref(self._task.id, self._task.attempt)
        )
        self._upload = Upload(shop.hub, held, shop.pace)
        self._verdicts = Verdicts()
        self._may_lose = False

    def _record(self) -> Plan:
        return self._shop.store.state.snapshot.plans[self._task.plan].record

    def run(self) -> None:
        """Run the attempt to its end: every way out ends the claim, or is fenced off.

        Only what is kept elsewhere is deleted: an interrupted attempt leaves its
        worktree and its pin to the next start, which rescues them.
        """
        try:
            try:
                self._straight_path()
            except AttemptFailed as failure:
                self._end(failure)
        except StaleClaim as error:
            extra = {"task": self._task.id, "why": error.message}
            log.warning("claim is gone", extra=extra)
            self._rescue()
        except Interrupted:
            return
        if self._may_lose:
            log.error("kept", extra={"task": self._task.id, "where": self._where()})
        else:
            self._clean_up()

    def _end(self, failure: AttemptFailed) -> None:
        """Give the claim back; without its work if it is the work that is refused."""
        try:
            self._send_ahead(failure)
            self._held.end(failure)
        except (StaleClaim, Interrupted):
            raise
        except PercydError as error:
            if failure.commit is None:
                raise
            self._may_lose = True
            failure.commit = None
            failure.message += f"; not rescued: {error.message}; kept: {self._where()}"
            self._held.end(failure)

    def _send_ahead(self, failure: AttemptFailed) -> None:
        """Bring big work to the remote before the claim is given back, or keep it here."""
        if failure.commit is None:
            return
        try:
            self._upload.ahead(failure.commit, self._base)
        except (AttemptFailed, Interrupted) as late:
            self._may_lose = True
            self._shop.hub.pin(pin_name(self._path), failure.commit)
            self._result = failure.commit
            failure.commit = None
            why = "" if late is failure else f"; {late.message}"
            failure.message += f"{why}; the work is kept: {self._where()}"

    def _where(self) -> str:
        """Where work is that is not on the remote."""
        if self._result is None:
            return str(self._path)
        return f"{PINS}{pin_name(self._path)} in {self._shop.hub.path}"

    def _straight_path(self) -> None:
        """Raises `AttemptFailed` with the reason where it is left."""
        try:
            self._prepare()
            self._work()
        except StaleClaim:
            raise
        except AttemptFailed as failure:
            failure.commit = self._what_there_is()
            raise
        except Interrupted as stopped:
            raise self._failed(Reason.RELEASED, "percyd was stopped") from stopped
        except UnsupportedRepository as error:
            raise self._failed(Reason.UNSUPPORTED_REPOSITORY, error.message) from error
        except PercydError as error:
            raise self._failed(Reason.WORKSPACE_FAILED, str(error)) from error
        except Exception as error:
            # Whatever breaks here must not leave a claim that nobody works on.
            log.exception("attempt broke", extra={"task": self._task.id})
            raise self._failed(Reason.WORKSPACE_FAILED, str(error)) from error

    def _failed(self, reason: Reason, message: str) -> AttemptFailed:
        commit = self._what_there_is()
        if self._may_lose and self._path.exists():
            message = f"{message}; the worktree is kept: {self._path}"
        return AttemptFailed(reason, message, commit=commit)

    def _prepare(self) -> None:
        """Make the workspace at the tip of the integration branch."""
        hit("claimed")
        self._base = self._tip()
        self._held.begin(self._base)
        refuse_unsupported(self._shop.hub, self._base)
        hit("workspace-begun")
        if self._path.exists():
            self._may_lose = True  # somebody's work is in the way; leave it alone
        self._clone.checkout(self._path.name, self._branch, self._base)
        self._may_lose = False
        hit("workspace-made")
        self._collect_from(self._base)
        self._folder.mkdir(parents=True, exist_ok=True)
        prompt = prompt_text(self._plan, self._task)
        self._prompt_file.write_text(prompt, encoding="utf-8")

    def _work(self) -> None:
        """Run, collect, land; a conflict of a ``run:`` task runs it on the new tip."""
        rounds = self._plan.limits.fix_rounds if self._task.run is not None else 0
        while True:
            report = self._make()
            if self._result is None:
                stamp = self._shop.store.stamp()
                self._held.settle(CompleteReview(stamp, self._held.fence, report))
                return
            hit("collected")
            self._upload.ahead(self._result, self._base)
            try:
                self._landing().land(self._result, report, self._in_progress)
            except MergeConflictError as conflict:
                if rounds <= 0:
                    raise AttemptFailed(Reason.CONFLICT, conflict.message) from conflict
                rounds -= 1
                log.info(
                    "runs again", extra={"task": self._task.id, "why": str(conflict)}
                )
                self._base = self._tip()
                self._clone.switch_branch(self._path, self._branch, self._base)
                self._shop.hub.unpin(pin_name(self._path))
                self._collect_from(self._base)
                self._result = None
            else:
                self._progress.end()
                return

    def _make(self) -> Report:
        """The work itself. What it made is in `_result`; a review makes nothing."""
        if self._task.type == "land":
            name = pin_name(self._path)
            self._result = merge_base(self._shop, self._held, self._base, name)
            return Report(f"merged {self._plan.base_branch}")
        ran = self._run_program()
        if self._task.type != "review":
            self._result = self._collected().result(self._shop.clock.now())
        return Report(ran.summary, None, ran.usage, ran.session)

    def _in_progress(self) -> bool:
        """Whether anything may be on the rescue ref, for the completion to remove."""
        return self._progress.ending() or self._upload.tried

    def _tip(self) -> Oid:
        branch = plan_branch(self._task.plan)
        tip = self._held.patiently(lambda: self._shop.store.tip_of(branch))
        if tip is None:
            raise AttemptFailed(
                Reason.WORKSPACE_FAILED, f"percy/plan/{self._task.plan} is gone"
            )
        return tip

    # The program

    def _run_program(self) -> RunReport:
        runner = self._runner()
        start = runner.start(self._prompt_file)
        environment = {**self._environment(runner), **start.env}
        command = Command(start.argv, self._path, environment, start.stdin)
        result = self._shop.processes.run(
            command, self._bounds(), self._log, self._held.stop
        )
        hit("program-ended")
        report = runner.finish(result)
        if report.failed is not None:
            raise AttemptFailed(report.failed, report.message)
        return report

    def _runner(self) -> Runner:
        if self._task.run is not None or self._task.type == "land":
            return ShellRunner(self._task.run or "")  # the gate has its environment
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

    # The result

    def _collect_from(self, base: Oid) -> None:
        self._collector = Collector(
            self._shop.hub, self._clone, self._path, self._task, base, self._shop.author
        )

    def _collected(self) -> Collector:
        if self._collector is None:
            raise AttemptFailed(Reason.WORKSPACE_FAILED, "there is no workspace")
        return self._collector

    def _landing(self) -> Landing:
        return Landing(
            held=self._held,
            shop=self._shop,
            clone=self._clone,
            path=self._path,
            base=self._base,
            environment=self._environment(self._runner()),
            bounds=self._bounds(),
            log=self._log.with_name(f"{self._log.name}.gate"),
            verdicts=self._verdicts,
        )

    def _what_there_is(self) -> Oid | None:
        """Whatever the attempt made, for its rescue ref; None if that is nothing.

        Once it is collected, the worktree may hold a merge and what the gate left.
        """
        if self._result is not None or self._collector is None:
            return self._result
        try:
            commit = self._collector.rescue(self._shop.clock.now())
        except (PercydError, OSError) as error:
            log.error("not collected", extra={"task": self._task.id, "why": str(error)})
            self._may_lose = True
            return None
        return commit if commit != self._collector.base else None

    def progress(self) -> Rider | None:
        """Commits that the program has made since the last beat, for the rescue ref.

        Called from the heartbeat's thread.
        """
        ended = self._result is not None or self._held.stop.is_set()
        if self._collector is None or ended or self._task.type == "review":
            return None
        try:
            _, head = self._clone.head(self._path)
            if head is None or head in (self._base, self._progress.landed):
                return None
            commit = self._shop.hub.ingest(self._clone.git_dir, head)
            if self._upload.is_big(commit, self._progress.landed or self._base):
                return None  # the beat must not wait for it
            return self._progress.rider(commit)
        except (PercydError, OSError) as error:
            log.debug("no progress", extra={"task": self._task.id, "why": str(error)})
            return None

    # The end

    def _rescue(self) -> None:
        """Keep the work of a claim that is gone, by a push of its own."""
        commit = self._what_there_is()
        if commit is None:
            return
        ref = rescue_ref(self._task.id, self._task.attempt)
        try:
            self._may_lose = not push_rescue(self._shop.hub, ref, commit)
        except PercydError as error:
            log.error("not rescued", extra={"task": self._task.id, "why": str(error)})
            self._may_lose = True

    def _clean_up(self) -> None:
        hit("cleaning-up")
        try:
            self._clone.remove(self._path)
            # Last: without the pin, what the gate left would pass for work.
            self._shop.hub.unpin(pin_name(self._path))
        except (PercydError, OSError) as error:
            log.warning("not removed", extra={"task": self._task.id, "why": str(error)})
