"""The work of one attempt: made by a program, and mended by it where it does not land."""

from __future__ import annotations

import logging
from pathlib import Path

from percyd.core.ids import plan_branch
from percyd.core.operations.completion import Report
from percyd.core.operations.reviews import verdict_of
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task
from percyd.core.refs import Oid
from percyd.errors import MergeConflictError
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import Runner, RunReport, available
from percyd.runners.command import ShellRunner
from percyd.work.briefing import first_prompt
from percyd.work.collect import Collector, pin_name
from percyd.work.conversation import Conversation
from percyd.work.environment import task_environment
from percyd.work.failure import AttemptFailed, GateRefused
from percyd.work.held import HeldClaim
from percyd.work.mending import Conflict, Mender
from percyd.work.mergebase import BaseConflict, merge_base
from percyd.work.supervise import Bounds
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)


class Making:
    """Makes the work of one attempt in its worktree, from ``base`` on.

    ``result`` is the commit that it comes to, None while the worktree holds the work.
    """

    def __init__(
        self,
        shop: Workshop,
        clone: SlotClone,
        held: HeldClaim,
        plan: Plan,
        path: Path,
        branch: str,
    ) -> None:
        self.plan = plan
        self.base: Oid = ""
        self.result: Oid | None = None
        self.collector: Collector | None = None
        self.talk: Conversation | None = None
        #: What a review wants to have changed; nothing if it approves.
        self.changes = ""
        self._shop = shop
        self._clone = clone
        self._held = held
        self._path = path
        self._branch = branch
        self._folder = shop.home.run_of(self.task.id, self.task.attempt)
        self.log = shop.home.log_of(self.task.id, self.task.attempt)
        self._intro = ""
        self._rounds = plan.limits.fix_rounds

    @property
    def task(self) -> Task:
        """The task as it was claimed."""
        return self._held.task

    def begin(self) -> None:
        """The worktree is there, on its branch at ``base``."""
        self._collect_from_base()
        self._folder.mkdir(parents=True, exist_ok=True)

    def _collect_from_base(self) -> None:
        self.collector = Collector(
            self._shop.hub,
            self._clone,
            self._path,
            self.task,
            self.base,
            self._shop.author,
        )

    def make(self) -> Report:
        """The work itself. What it made is in ``result``; a review makes nothing.

        Raises:
            AttemptFailed: its program did not end as it should, or made nothing.
        """
        if self.task.type == "land":
            return self._merge_base()
        self.talk = self._begin_talk(self._runner())
        ran = self.talk.say(self._intro, "", self._path)
        if self.task.type == "review":
            self.changes = self._judgement(ran)
        else:
            self._collect()
        return self._report(ran)

    def _merge_base(self) -> Report:
        """Merge the base branch, or have the plan's runner do it where they conflict."""
        name = pin_name(self._path)
        try:
            self.result = merge_base(self._shop, self._held, self.base, name)
        except BaseConflict as conflict:
            talk = self._talk_of_the_plan()
            mender = self._mender(talk) if talk else None
            met = mender.meet(self.base, conflict.theirs) if mender else None
            if mender is None or met is None:
                raise
            return self._report(self._resolve(mender, met))
        return Report(f"merged {self.plan.base_branch}")

    def _talk_of_the_plan(self) -> Conversation | None:
        """The plan's own runner, for a task that has none; None if it cannot work here.

        Nobody has asked for it when the task was claimed: it may rest, or not be there.
        """
        usual = self.plan.defaults.runner if self.plan.defaults else None
        runner = self._shop.runners.get(usual or "")
        if self.task.type != "land" or self.talk is not None or runner is None:
            return self.talk
        rests = runner.name in self._shop.parking.parked()
        if not rests and available(runner, self._shop.environ.get("PATH")):
            self.talk = self._begin_talk(runner)
        return self.talk

    def _judgement(self, ran: RunReport) -> str:
        """What a review comes to. A command judges by its exit code alone."""
        found = "" if self.task.run is not None else verdict_of(ran.said)
        if found is None:
            said = ran.summary or "nothing"
            raise AttemptFailed(
                Reason.RUNNER_FAILED,
                f"its last words are neither approve nor changes: {said}",
            )
        return found

    def again(self, no: MergeConflictError | GateRefused, result: Oid) -> Report:
        """One more round for work that does not land.

        Raises:
            AttemptFailed: there is none left, or none that could help.
        """
        failure: AttemptFailed
        if isinstance(no, MergeConflictError):
            failure = AttemptFailed(Reason.CONFLICT, no.message)
        else:
            failure = no
        self._rounds -= 1
        is_command = self.task.run is not None
        # The same command on the same files would make the same again.
        in_vain = is_command and isinstance(no, GateRefused)
        talk = None if self._rounds < 0 or in_vain else self._talk_of_the_plan()
        if talk is None:
            raise failure from no
        log.info("runs again", extra={"task": self.task.id, "why": no.message})
        if is_command:
            return self._run_anew(talk)
        return self._mend(self._mender(talk), no, result)

    def _run_anew(self, talk: Conversation) -> Report:
        """Run a command again, on what has landed meanwhile."""
        self.base = self.tip()
        before = self.result
        self._clone.switch_branch(self._path, self._branch, self.base)
        self._collect_from_base()
        self.result = None
        talk.environment = self.environment()
        try:
            ran = talk.say(self._intro, "", self._path)
            self._collect()
        except AttemptFailed:
            # What it made the first time is worth more than half of a second one; the
            # pin has kept it meanwhile.
            self.result = before
            raise
        return self._report(ran)

    def _mend(
        self, mender: Mender, no: MergeConflictError | GateRefused, result: Oid
    ) -> Report:
        """Have the program mend what it made."""
        if isinstance(no, GateRefused):
            mender.prepare(no, result)
            self.result = None  # from here on the worktree holds the work
            ran = mender.gate(no)
            mender.refuse_nothing(self._collect(), no.tip)
            return self._report(ran)
        conflict = mender.meet(result, self.tip())
        if conflict is None:  # somebody else's landing has cleared it up
            return self._report(RunReport())
        self.result = None
        return self._report(self._resolve(mender, conflict))

    def _resolve(self, mender: Mender, conflict: Conflict) -> RunReport:
        """Have it merge both sides by hand, until no conflict marker is left."""
        paths = conflict.paths
        while True:
            ran = mender.conflict(conflict, paths)
            try:
                self.result = mender.resolved(conflict, self._collect())
            except MergeConflictError as left:
                if self._rounds <= 0:
                    message = f"conflict markers are left: {left.message}"
                    raise AttemptFailed(Reason.CONFLICT, message) from left
                self._rounds -= 1
                paths = left.paths
                # The worktree holds the work again, and a pin would outweigh it.
                self._shop.hub.unpin(pin_name(self._path))
                self.result = None
            else:
                return ran

    def _mender(self, talk: Conversation) -> Mender:
        return Mender(
            shop=self._shop,
            clone=self._clone,
            path=self._path,
            task=self.task,
            branch=self._branch,
            talk=talk,
            intro=self._intro,
        )

    def _collect(self) -> Oid:
        if self.collector is None:
            raise AttemptFailed(Reason.WORKSPACE_FAILED, "there is no workspace")
        self.result = self.collector.result(self._shop.clock.now())
        return self.result

    def _report(self, ran: RunReport) -> Report:
        talk = self.talk
        usage, session = (talk.usage, talk.session) if talk else (None, None)
        summary = ran.summary or (talk.summary if talk else None)
        return Report(summary, None, usage, session)

    def tip(self) -> Oid:
        """The tip of the integration branch.

        Raises:
            AttemptFailed: the branch is gone.
        """
        branch = plan_branch(self.task.plan)
        tip = self._held.patiently(lambda: self._shop.store.tip_of(branch))
        if tip is None:
            raise AttemptFailed(
                Reason.WORKSPACE_FAILED, f"percy/plan/{self.task.plan} is gone"
            )
        return tip

    # The program

    def _begin_talk(self, runner: Runner) -> Conversation:
        self._intro = first_prompt(
            self._shop, self.plan, self.task, self._branch, self.base
        )
        return Conversation(
            shop=self._shop,
            held=self._held,
            runner=runner,
            environment=self.environment(runner),
            bounds=self.bounds(),
            log_file=self.log,
            prompt_file=self._prompt_file,
            read_only=self.task.type == "review",
        )

    def _runner(self) -> Runner:
        if self.task.run is not None or self.task.type == "land":
            return ShellRunner(self.task.run or "")  # the gate has its environment
        runner = self._shop.runners.get(self.task.runner or "")
        if runner is None:
            raise AttemptFailed(
                Reason.RUNNER_MISSING, f"no runner {self.task.runner} here"
            )
        return runner

    @property
    def _prompt_file(self) -> Path:
        return self._folder / "prompt.md"

    def environment(self, runner: Runner | None = None) -> dict[str, str]:
        """What the task's programs get, and its gate."""
        runner = runner or self._runner()
        return task_environment(
            self._shop.environ,
            self.task,
            self.plan,
            branch=self._branch,
            base_commit=self.base,
            prompt_file=self._prompt_file,
            question_file=self._folder / "question.md",
            depth=int(self._shop.environ.get("PERCY_DEPTH", "0")) + 1,
            allow=runner.env_allow,
            deny=runner.env_deny,
        )

    def bounds(self) -> Bounds:
        """Of each run of a program, and of each of a gate."""
        limits = self.plan.limits
        return Bounds(
            timeout_s=self.task.timeout_s or limits.timeout_s,
            idle_s=limits.idle_s,
            log_bytes=limits.log_bytes,
            grace_s=self._shop.grace_s,
        )
