"""One attempt at one task: workspace, program, result, landing, clean-up (DESIGN 6)."""

from __future__ import annotations

import logging

from percyd.core.ids import agent_branch, rescue_ref
from percyd.core.operations.reviews import CompleteReview
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
from percyd.state.heartbeat import Rider
from percyd.work.collect import pin_name, push_rescue, refuse_unsupported
from percyd.work.failure import AttemptFailed, GateRefused, Interrupted
from percyd.work.gate import Verdicts
from percyd.work.held import HeldClaim
from percyd.work.landing import Landing
from percyd.work.leftovers import worktree_name
from percyd.work.making import Making
from percyd.work.progress import Progress
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
        self._path = clone.path(worktree_name(self._task.id, self._task.attempt))
        self._work = Making(shop, clone, held, self._plan, self._path, self._branch)
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
        if (talk := self._work.talk) is not None:
            failure.usage, failure.session = talk.usage, talk.session
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
            self._upload.ahead(failure.commit, self._work.base)
        except (AttemptFailed, Interrupted) as late:
            self._may_lose = True
            self._shop.hub.pin(pin_name(self._path), failure.commit)
            self._work.result = failure.commit
            failure.commit = None
            why = "" if late is failure else f"; {late.message}"
            failure.message += f"{why}; the work is kept: {self._where()}"

    def _where(self) -> str:
        """Where work is that is not on the remote."""
        if self._work.result is None:
            return str(self._path)
        return f"{PINS}{pin_name(self._path)} in {self._shop.hub.path}"

    def _straight_path(self) -> None:
        """Raises `AttemptFailed` with the reason where it is left."""
        try:
            self._prepare()
            self._make_and_land()
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
        base = self._work.base = self._work.tip()
        self._held.begin(base)
        refuse_unsupported(self._shop.hub, base)
        hit("workspace-begun")
        if self._path.exists():
            self._may_lose = True  # somebody's work is in the way; leave it alone
        self._clone.checkout(self._path.name, self._branch, base)
        self._may_lose = False
        hit("workspace-made")
        self._work.begin()

    def _make_and_land(self) -> None:
        """Run, collect, land; what does not land goes back to its program."""
        report = self._work.make()
        while (result := self._work.result) is not None:
            hit("collected")
            self._upload.ahead(result, self._work.base)
            try:
                self._landing().land(result, report, self._in_progress)
            except (MergeConflictError, GateRefused) as no:
                report = self._work.again(no, result)
            else:
                self._progress.end()
                return
        stamp = self._shop.store.stamp()
        changes = self._work.changes
        self._held.settle(CompleteReview(stamp, self._held.fence, report, changes))

    def _in_progress(self) -> bool:
        """Whether anything may be on the rescue ref, for the completion to remove."""
        return self._progress.ending() or self._upload.tried

    def _landing(self) -> Landing:
        return Landing(
            held=self._held,
            shop=self._shop,
            clone=self._clone,
            path=self._path,
            base=self._work.base,
            environment=self._work.environment(),
            bounds=self._work.bounds(),
            log=self._work.log.with_name(f"{self._work.log.name}.gate"),
            verdicts=self._verdicts,
        )

    def _what_there_is(self) -> Oid | None:
        """Whatever the attempt made, for its rescue ref; None if that is nothing.

        Once it is collected, the worktree may hold a merge and what the gate left.
        """
        collector = self._work.collector
        if self._work.result is not None or collector is None:
            return self._work.result
        try:
            commit = collector.rescue(self._shop.clock.now())
        except (PercydError, OSError) as error:
            log.error("not collected", extra={"task": self._task.id, "why": str(error)})
            self._may_lose = True
            return None
        return commit if commit != collector.base else None

    def progress(self) -> Rider | None:
        """Commits that the program has made since the last beat, for the rescue ref.

        Called from the heartbeat's thread.
        """
        work = self._work
        ended = work.result is not None or self._held.stop.is_set()
        if work.collector is None or ended or self._task.type == "review":
            return None
        try:
            _, head = self._clone.head(self._path)
            if head is None or head in (work.base, self._progress.landed):
                return None
            commit = self._shop.hub.ingest(self._clone.git_dir, head)
            if self._upload.is_big(commit, self._progress.landed or work.base):
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
