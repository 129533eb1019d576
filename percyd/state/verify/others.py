"""The rules of agents, and of the files that are no records (FORMAT 1 and 3)."""

from __future__ import annotations

from collections.abc import Iterator

from percyd.core.edges import AGENT_EDGES, Op, is_legal
from percyd.core.records import Agent, Record
from percyd.state.verify import fields
from percyd.state.verify.files import archive_problem
from percyd.state.verify.report import Finding
from percyd.state.verify.step import Diff, OtherFile, Step

#: Which operation may add, change and remove the files that are no records.
_FILES: dict[str, tuple[str, str, str]] = {
    "marker": (Op.INIT, "", ""),
    "source": (Op.TAKE_IN, Op.RECONCILE, Op.ARCHIVE),
    "archive": (Op.ARCHIVE, "", ""),
}
_OF_ONE_AGENT = frozenset({Op.JOIN, Op.LEAVE, Op.LOST})


def judge_agents(step: Step) -> Iterator[Finding]:
    """What is wrong with how a commit changes agents."""
    if step.op in _OF_ONE_AGENT and len(step.agents) != 1:
        yield "", f"{step.op} is about one agent and changes {len(step.agents)}"
    for diff in step.agents:
        for what in _judge(step.op, diff):
            yield diff.path, what


def _judge(op: str, diff: Diff[Agent]) -> Iterator[str]:
    if not is_legal(AGENT_EDGES, *diff.edge, op):
        yield f"{' -> '.join(diff.edge)} is no edge of {op or 'no operation'}"
    if diff.old is None or diff.new is None:
        return
    names = fields.changed(diff.old, diff.new)
    wrong = fields.wrongly_changed(fields.AGENT, op, names)
    if wrong:
        yield f"{op or 'no operation'} may not change {', '.join(wrong)}"


def judge_files(step: Step) -> Iterator[Finding]:
    """What is wrong with the marker, the sources and the archives of a commit."""
    for file in step.others:
        what = "added" if not file.old else "changed" if file.new else "removed"
        allowed = _FILES[file.kind][("added", "changed", "removed").index(what)]
        # An edited document may have got another ending: one goes, one comes.
        renamed = file.kind == "source" and step.op == Op.RECONCILE
        if step.op != allowed and not renamed:
            yield file.path, f"is {what} by {step.op or 'no operation'}"
        if file.kind == "source" and file.new and file.plan not in step.after.plans:
            yield file.path, f"is the source of plan {file.plan}, which is not there"
    if step.op == Op.INIT and (step.tasks or step.plans or step.agents):
        yield "", "init makes more than the marker"
    if step.op == Op.ARCHIVE:
        yield from _judge_archive(step)


def _judge_archive(step: Step) -> Iterator[Finding]:
    written = {f.plan: f for f in step.others if f.kind == "archive" and f.new}
    for diff in step.plans:
        if diff.old is None or diff.new is not None:
            continue
        file = written.pop(diff.old.id, None)
        if file is None:
            yield diff.path, "is removed and not kept in the archive"
        else:
            yield from _judge_kept(step, diff.old.id, file)
    for file in written.values():
        yield file.path, f"is written, but plan {file.plan} is not removed"


def _judge_kept(step: Step, plan: str, file: OtherFile) -> Iterator[Finding]:
    state = step.before.plans[plan]
    kept: list[Record] = [state.record]
    kept += [state.tasks[name] for name in sorted(state.tasks)]
    problem = archive_problem(file.content, kept)
    if problem:
        yield file.path, problem
    gone = {diff.old.id for diff in step.tasks if diff.old and diff.new is None}
    for name in sorted(set(state.tasks) - gone):
        yield file.path, f"is the archive of a plan whose task {name} stays"
