"""A commit by itself: its parents, its author, its words, its trailers (FORMAT 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from percyd.core.edges import Op
from percyd.state.verify.commits import WHO, StateCommit
from percyd.state.verify.report import Finding
from percyd.state.verify.step import Step, name_of

_OPERATIONS = frozenset(Op)
#: 128 bits in base64, the shortest usual way to write them.
_OP_ID_LENGTH = 22
#: Operations that follow a plan or many tasks at once and need not name each.
_UNNAMED = frozenset({Op.RECONCILE, Op.CANCEL, Op.ARCHIVE, Op.PLAN_TASKS, Op.REPAIR})
#: Operations of one agent; the first three change its own record.
_OF_AGENT = frozenset(
    {Op.JOIN, Op.LEAVE, Op.LOST, Op.CLAIM, Op.WORK, Op.TURN}
    | {Op.COMPLETE, Op.RELEASE, Op.FAIL, Op.ASK}
)
_NAMES_AGENT = frozenset({Op.JOIN, Op.LEAVE, Op.LOST, Op.CLAIM})

Trailers = Mapping[str, tuple[str, ...]]


def judge_form(commit: StateCommit, trailers: Trailers, first: bool) -> Iterator[str]:
    """What is wrong with a commit, whatever it changes."""
    parents = len(commit.link.parents)
    if parents != (0 if first else 1):
        kind = "a root" if first else "any other commit"
        yield f"has {parents} parents; {kind} has {0 if first else 1}"
    for role, who in (("author", commit.author), ("committer", commit.committer)):
        if who != WHO:
            yield f"{role} is {who}, not {WHO}"
    operations = trailers.get("Percy-Operation", ())
    op = operations[0] if operations else ""
    if len(operations) != 1 or op not in _OPERATIONS:
        yield f"Percy-Operation is {_shown(operations)}: one operation is needed"
    elif (op == Op.INIT) != first:
        yield "init is the first operation and no other"
    subject = commit.message.partition("\n")[0]
    if not subject.startswith(f"{op}: "):
        yield f"the subject is {subject!r:.80}, not '{op}: ...'"
    op_ids = trailers.get("Percy-Op-Id", ())
    if len(op_ids) != 1 or len(op_ids[0]) < _OP_ID_LENGTH:
        yield f"Percy-Op-Id is {_shown(op_ids)}: one of 128 random bits is needed"
    yield from _judge_pairs(trailers)


def _judge_pairs(trailers: Trailers) -> Iterator[str]:
    tasks = trailers.get("Percy-Task", ())
    attempts = trailers.get("Percy-Attempt", ())
    if len(tasks) != len(attempts):
        yield f"{len(tasks)} Percy-Task and {len(attempts)} Percy-Attempt: no pairs"
    if len(set(tasks)) != len(tasks):
        yield "names a task twice"
    for key in ("Percy-Plan", "Percy-Agent"):
        if len(trailers.get(key, ())) > 1:
            yield f"has more than one {key}"


def judge_trailers(step: Step) -> Iterator[Finding]:
    """Whether the trailers name what the commit changes."""
    for what in (*_judge_tasks(step), *_judge_plan(step), *_judge_agent(step)):
        yield "", what


def _judge_tasks(step: Step) -> Iterator[str]:
    named = step.trailers.get("Percy-Task", ())
    attempts = step.trailers.get("Percy-Attempt", ())
    changed = {name_of(diff): diff for diff in step.tasks}
    for name, attempt in zip(named, attempts, strict=False):
        task = step.after.task(name)
        # A turn is the plan's record; the task's own stays as it is.
        if name not in changed and step.op != Op.TURN:
            yield f"names {name}, which does not change"
        elif task is not None and attempt != str(task.attempt):
            yield f"names attempt {attempt} of {name}, which is at {task.attempt}"
    if step.op in _UNNAMED:
        return
    for name, diff in changed.items():
        if diff.old is not None and name not in named:
            yield f"changes {name} and does not name it in a trailer"


def _judge_plan(step: Step) -> Iterator[str]:
    for plan in step.trailers.get("Percy-Plan", ()):
        others = [name for name in step.touched if name != plan]
        if others or not (step.tasks or step.plans):
            yield f"names plan {plan}, but is about {_shown(others)}"


def _judge_agent(step: Step) -> Iterator[str]:
    named = step.trailers.get("Percy-Agent", ())
    if step.op not in _OF_AGENT or (not named and step.op not in _NAMES_AGENT):
        return
    agents: set[str | None] = {name_of(diff) for diff in step.agents}
    if step.op == Op.CLAIM:
        agents = {diff.new.assigned_to for diff in step.tasks if diff.new}
    elif step.op == Op.TURN:
        tasks = [step.before.task(name) for name in step.trailers.get("Percy-Task", ())]
        agents = {task.assigned_to for task in tasks if task}
    elif step.op not in _NAMES_AGENT:
        agents = {diff.old.assigned_to for diff in step.tasks if diff.old}
    if agents != set(named):
        yield f"Percy-Agent is {_shown(named)}; it is about {_shown(agents)}"


def _shown(names: Iterable[object]) -> str:
    return ", ".join(sorted(str(name) for name in names)) or "nothing"
