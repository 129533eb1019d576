"""From an attempt's commit to the integration branch: merge, gate, complete (DESIGN 6).

Only a tree that the gate has seen lands. The gate runs on the merge with the tip of
the moment; if the branch has moved when the push is made, the merge and the gate are
done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from percyd.clock import Clock
from percyd.core.ids import plan_branch
from percyd.core.operations.base import Fence, Operation
from percyd.core.operations.completion import Complete, Report, merge_message
from percyd.core.reasons import Reason
from percyd.core.records import Task, Verdict
from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.errors import IntegrationMoved, MergeConflictError, PercydError
from percyd.repo.hub import Hub
from percyd.repo.worktrees import SlotClone
from percyd.state.store import StateStore
from percyd.state.tickets import Applied
from percyd.work.gate import GateReport, run_gate
from percyd.work.supervise import Bounds, Processes


class GateFailed(PercydError):
    """The gate did not pass."""

    code = "gate_failed"

    def __init__(self, reason: Reason, message: str, verdict: Verdict) -> None:
        super().__init__(message)
        self.reason = reason
        self.verdict = verdict


class Interrupted(PercydError):
    """percyd is stopping, or the claim is gone: nothing more is published."""

    code = "interrupted"


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


@dataclass(frozen=True, slots=True)
class Landing:
    """Lands one attempt's commit."""

    store: StateStore
    hub: Hub
    clone: SlotClone
    processes: Processes
    clock: Clock
    verdicts: Verdicts
    task: Task
    fence: Fence
    path: Path
    environment: Mapping[str, str]
    bounds: Bounds
    log: Path
    stop: threading.Event
    settle: Callable[[Operation], Applied]
    base: Oid = field(default="")

    def land(self, commit: Oid, report: Report) -> None:
        """Merge, gate and complete, until the branch holds still.

        Every lost landing means that another task has landed, so that there are at
        most as many as the plan has tasks.

        Raises:
            MergeConflictError: the commit does not merge with the tip.
            GateFailed: the gate said no, or could not say anything.
            Interrupted: told to stop.
        """
        while not self.stop.is_set():
            verdict = self._verdict(commit)
            done = Report(report.summary, verdict, report.usage, report.session)
            operation = Complete(self.store.stamp(), self.fence, commit, done)
            try:
                self.settle(operation)
            except IntegrationMoved:
                self.store.refresh()
                continue
            return
        raise Interrupted

    def _verdict(self, commit: Oid) -> Verdict:
        """What the gate says of the merge with the tip of the moment."""
        command = self.task.verify
        if command is None:
            return Verdict(status="none")
        merged = self._merge(commit)
        report = self._gate(command, merged.commit, merged.tree)
        verdict = report.verdict
        if verdict.status == "passed":
            return verdict
        words = report.message or _last_line(report.tail)
        match verdict.status:
            case "timed_out":
                raise GateFailed(Reason.GATE_TIMED_OUT, words, verdict)
            case "could_not_run" if self._is_broken(command):
                words = f"the gate cannot run on the base either: {words}"
                raise GateFailed(Reason.GATE_BROKEN, words, verdict)
            case _:
                code = f"exit {verdict.exit_code}"
                raise GateFailed(
                    Reason.GATE_FAILED, f"gate {code}: {words}".rstrip(": "), verdict
                )

    def _merge(self, commit: Oid) -> Merged:
        tip = self.store.tip_of(plan_branch(self.task.plan))
        if tip is None:
            raise IntegrationMoved(f"percy/plan/{self.task.plan} is gone")
        merged = self.hub.merge(tip, commit, merge_message(self.task), self.clock.now())
        if isinstance(merged, MergeConflict):
            raise MergeConflictError(merged.paths)
        return merged

    def _gate(self, command: str, commit: Oid, tree: Oid) -> GateReport:
        known = self.verdicts.get(tree, command)
        if known is not None:
            return known
        self.clone.checkout_commit(self.path, commit)
        report = run_gate(
            self.processes,
            command,
            self.path,
            self.environment,
            self.bounds,
            self.log,
            self.stop,
            tree=tree,
        )
        if report.stopped:
            raise Interrupted
        self.verdicts.keep(tree, command, report)
        return report

    def _is_broken(self, command: str) -> bool:
        """Whether the gate cannot even run on the tree that the attempt began with."""
        report = self._gate(command, self.base, self.hub.tree_of(self.base))
        return report.verdict.status == "could_not_run"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
