"""From an attempt's commit to the integration branch: merge, gate, complete (DESIGN 6).

Only a tree that the gate has seen lands. The gate runs on the merge with the tip of
the moment; if the branch has moved when the push is made, the merge and the gate are
done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from percyd.core.ids import plan_branch, short_ref
from percyd.core.operations.completion import (
    Complete,
    Report,
    Turn,
    merge_message,
)
from percyd.core.reasons import Reason
from percyd.core.records import Verdict
from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.errors import IntegrationMoved, MergeConflictError
from percyd.failpoints import hit
from percyd.repo.worktrees import SlotClone
from percyd.work.failure import AttemptFailed, GateRefused, Interrupted
from percyd.work.gate import GateReport, Verdicts, run_gate
from percyd.work.held import HeldClaim
from percyd.work.supervise import Bounds
from percyd.work.workshop import Workshop

log = logging.getLogger(__name__)

#: How long one look at the state may wait before it asks whether to stop. Seconds.
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Landing:
    """Lands one attempt's commits. ``base`` is what its work started from."""

    held: HeldClaim
    shop: Workshop
    clone: SlotClone
    path: Path
    base: Oid
    environment: Mapping[str, str]
    bounds: Bounds
    log: Path
    verdicts: Verdicts

    def land(
        self, commit: Oid, report: Report, in_progress: Callable[[], bool]
    ) -> None:
        """Merge, gate and complete, until the branch holds still.

        Every lost landing means that another task has landed. A gated task that has
        lost one takes the landing turn, so that its gate runs at most once more.

        ``in_progress`` says whether anything may have been put on the rescue ref.

        Raises:
            MergeConflictError: the commit does not merge with the tip.
            GateRefused: the gate said no.
            AttemptFailed: the gate could not say anything.
            StaleClaim: the claim is gone.
            Interrupted: told to stop.
        """
        lost = False
        while True:
            if lost and self.held.task.verify is not None:
                # What does not merge goes back to its program, and not with the turn.
                self._merge(commit)
                self._take_turn()
            else:
                self._wait_for_others()
            done = replace(report, verdict=self._verdict(commit))
            stamp = self.shop.store.stamp()
            complete = Complete(
                stamp, self.held.fence, commit, done, in_progress=in_progress()
            )
            hit("before-complete")
            try:
                self.held.settle(complete)
            except IntegrationMoved:
                lost = True
                self.held.patiently(self.shop.store.refresh)
            else:
                hit("completed")
                log.info("completed", extra={"task": self.held.task.id})
                return

    def _wait_for_others(self) -> None:
        """Wait while the landing turn is another task's: a gate now would be for nothing."""
        while not self.held.stop.is_set():
            state = self.shop.store.state
            turn = state.snapshot.plans[self.held.task.plan].record.landing
            if turn is None or turn == self.held.fence.landing:
                return
            self.shop.store.wait_beyond(state.tip, _LOOK_S)
        raise Interrupted

    def _take_turn(self) -> None:
        """Wait until the turn is ours."""
        while True:
            self._wait_for_others()
            turn = Turn(self.shop.store.stamp(), self.held.fence)
            try:
                self.held.patiently(partial(self.shop.store.apply, turn))
            except IntegrationMoved:
                self.held.patiently(self.shop.store.refresh)
            else:
                return

    def _verdict(self, commit: Oid) -> Verdict:
        """What the gate says of the merge with the tip of the moment."""
        command = self.held.task.verify
        if command is None:
            return Verdict(status="none")
        tip, merged = self._merge(commit)
        report = self._gate(command, merged.commit, merged.tree, self.verdicts)
        verdict = report.verdict
        said = report.message or _last_line(report.tail)
        match verdict.status:
            case "passed":
                hit("gate-passed")
                return verdict
            case "timed_out":
                reason = Reason.GATE_TIMED_OUT
            case "could_not_run" if self._is_broken(command):
                said = f"the gate cannot run on the base either: {said}"
                raise AttemptFailed(Reason.GATE_BROKEN, said, verdict=verdict)
            case _:
                reason = Reason.GATE_FAILED
                said = f"gate exit {verdict.exit_code}: {said}".rstrip(": ")
        raise GateRefused(
            reason, said, verdict, tip=tip, tree=merged.tree, tail=report.tail
        )

    def _merge(self, commit: Oid) -> tuple[Oid, Merged]:
        task = self.held.task
        branch = plan_branch(task.plan)
        tip = self.held.patiently(lambda: self.shop.store.tip_of(branch))
        if tip is None:
            raise AttemptFailed(Reason.WORKSPACE_FAILED, f"{short_ref(branch)} is gone")
        now = self.shop.clock.now()
        merged = self.shop.hub.merge(tip, commit, merge_message(task), now)
        if isinstance(merged, MergeConflict):
            raise MergeConflictError(merged.paths)
        return tip, merged

    def _gate(
        self, command: str, commit: Oid, tree: Oid, verdicts: Verdicts
    ) -> GateReport:
        known = verdicts.get(tree, command)
        if known is not None:
            return known
        self.clone.checkout_commit(self.path, commit)
        report = run_gate(
            self.shop.processes,
            command,
            self.path,
            self.environment,
            self.bounds,
            self.log,
            self.held.stop,
            tree=tree,
        )
        if report.stopped:
            raise Interrupted
        verdicts.keep(tree, command, report)
        return report

    def _is_broken(self, command: str) -> bool:
        """Whether the gate cannot even run on the tree that the attempt began with."""
        tree = self.shop.hub.tree_of(self.base)
        report = self._gate(command, self.base, tree, self.shop.base_verdicts)
        return report.verdict.status == "could_not_run"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
