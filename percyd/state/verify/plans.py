"""The rules of a plan's way, and of the graph of its tasks (FORMAT 3; S11)."""

from __future__ import annotations

from collections.abc import Iterator

from percyd.core import graph
from percyd.core.edges import CLOSED, DEAD, PLAN_EDGES, Op, PlanStatus, is_legal
from percyd.core.reasons import Reason
from percyd.core.records import Plan, Task
from percyd.core.snapshot import PlanState
from percyd.state.codec import path_of
from percyd.state.verify import fields
from percyd.state.verify.claims import is_held, judge_landing
from percyd.state.verify.report import Finding
from percyd.state.verify.step import Diff, Step, name_of

#: Operations that change the record of one plan, or add it.
_ONE_PLAN = frozenset(
    {Op.TAKE_IN, Op.START, Op.PAUSE, Op.RESUME, Op.RECONCILE, Op.CLOSE, Op.TURN}
)
_PAUSES = frozenset({Reason.PAUSED_BY_USER, Reason.BUDGET})
_CYCLE_SHOWN = 6


def judge_plans(step: Step) -> Iterator[Finding]:
    """What is wrong with how a commit changes plans, or leaves them."""
    if step.op in _ONE_PLAN and len(step.plans) != 1:
        yield "", f"{step.op} is about one plan and changes {len(step.plans)}"
    if step.op == Op.CANCEL:
        yield from _judge_cancel(step)
    if step.op == Op.RECONCILE:
        others = {d.new.plan for d in step.tasks if d.new} - set(
            map(name_of, step.plans)
        )
        for name in sorted(others):
            yield "", f"reconcile changes tasks of {name} and not that plan"
    for diff in step.plans:
        for what in _judge(step, diff):
            yield diff.path, what
    for name in step.touched:
        state = step.after.plan(name)
        if state is None:
            continue
        for what in _judge_state(state, step):
            yield path_of(state.record), what
        yield from _judge_graph(state, step)


def _judge(step: Step, diff: Diff[Plan]) -> Iterator[str]:
    old, new = diff.old, diff.new
    source, target = diff.edge
    if source != target and not is_legal(PLAN_EDGES, source, target, step.op):
        yield f"{source} -> {target} is no edge of {step.op or 'no operation'}"
    if new is None:
        return
    if old is None:
        later = [k for k in ("landing", "result", "reason") if new.__dict__[k]]
        if later:
            yield f"is new and has {', '.join(later)}"
        if new.id in step.before.archived:
            yield "is new, but a plan of this id is archived"
        return
    wrong = fields.wrongly_changed(fields.PLAN, step.op, fields.changed(old, new))
    if wrong:
        yield f"{step.op or 'no operation'} may not change {', '.join(wrong)}"
    lost = fields.forgotten(old, new)
    if lost:
        yield f"does not preserve the keys {', '.join(lost)}"
    if old.result is not None and old.result.landed_commit is not None:
        yield "has landed and is closed for good, but changes"
    yield from judge_landing(step, diff)
    yield from _judge_moved(step, old, new)


def _judge_moved(step: Step, old: Plan, new: Plan) -> Iterator[str]:
    match step.op:
        case Op.CLAIM if not any(d.new and d.new.plan == new.id for d in step.tasks):
            yield "is executing although none of its tasks is claimed"
        case Op.PAUSE | Op.RESUME if old.status in CLOSED:
            yield f"is changed by {step.op} although it is {old.status}"
        case Op.PAUSE:
            yield from _judge_paused(new)
        case Op.RESUME if new.paused is not None:
            yield "is resumed and still paused"
        case Op.CANCEL:
            yield from _judge_cancelled(old, new)
        case Op.RECONCILE:
            yield from _judge_edited(step, old, new)
        case Op.CLOSE if new.status in (PlanStatus.DONE, PlanStatus.FAILED):
            tasks = step.after.plans[new.id].tasks.values()
            bad = sorted(task.id for task in tasks if _is_bad(task))
            if bad and new.status is PlanStatus.DONE:
                yield f"is done, but {bad[0]} is not completed"
            if not bad and new.status is PlanStatus.FAILED:
                yield "is failed, but every task is completed"


def _judge_paused(new: Plan) -> Iterator[str]:
    if new.paused is None:
        yield "is paused without a reason"
    elif new.paused.code not in _PAUSES:
        yield f"is paused with reason {new.paused.code}"


def _judge_edited(step: Step, old: Plan, new: Plan) -> Iterator[str]:
    """A plan follows another version of its document, and keeps that one."""
    if old.status in CLOSED:
        yield f"is reconciled although it is {old.status}"
    if old.source.blob == new.source.blob:
        yield "is reconciled and follows the same version as before"
    if not any(f.kind == "source" and f.plan == new.id and f.new for f in step.others):
        yield "is reconciled and keeps no document of the version that it follows"


def _judge_cancelled(old: Plan, new: Plan) -> Iterator[str]:
    """A cancel ends the plan, or only clears the turn of a task that it ends."""
    code = new.reason.code if new.reason else None
    if old.status == new.status:
        if old.reason != new.reason:
            yield f"has another reason although it stays {new.status}"
    elif code is not Reason.CANCELLED:
        yield f"is cancelled with reason {code}"


def _judge_cancel(step: Step) -> Iterator[Finding]:
    """A cancel is about one task, or about one plan with all that is open in it."""
    plans = {name_of(diff) for diff in step.plans if diff.edge[0] != diff.edge[1]}
    about = {task.plan for diff in step.tasks if (task := diff.new)}
    if len(plans | about) != 1:
        shown = ", ".join(sorted(plans | about)) or "nothing"
        yield "", f"cancel is about one plan or one task, and changes {shown}"
    elif not plans and len(step.tasks) != 1:
        yield "", f"cancel is about one task and changes {len(step.tasks)}"


def _is_bad(task: Task) -> bool:
    return task.status in DEAD and not task.is_removed


def _judge_state(state: PlanState, step: Step) -> Iterator[str]:
    """What has to hold of a plan in every tree, whoever changed it or its tasks."""
    plan = state.record
    if state.open_count and plan.status in CLOSED:
        yield f"is {plan.status} with {state.open_count} open tasks"
    turn = plan.landing
    if turn is None or is_held(step.after, turn.task, turn.attempt, turn.claim):
        return
    yield f"{turn.task} has the landing turn and does not hold that claim"


def _judge_graph(state: PlanState, step: Step) -> Iterator[Finding]:
    changed = [diff for diff in step.tasks if _has_new_edges(diff, state)]
    for diff in changed:
        for name in diff.new.depends_on if diff.new else ():
            if name not in state.tasks:
                yield diff.path, f"depends on {name}, which is not in the plan"
    for diff in step.tasks:
        # Only archive removes tasks, and all of a plan: who depends on one cannot stay.
        if diff.new is None and diff.old and diff.old.plan == state.record.id:
            yield path_of(state.record), f"loses {diff.old.id} and stays"
    if all(_is_leaf(diff, step) for diff in changed):
        return
    edges = {name: state.tasks[name].depends_on for name in sorted(state.tasks)}
    cycle = graph.shortest_cycle(edges) if _is_cyclic(edges) else None
    if cycle:
        shown = " -> ".join(cycle[:_CYCLE_SHOWN])
        yield path_of(state.record), f"has a cycle: {shown}"


def _has_new_edges(diff: Diff[Task], state: PlanState) -> bool:
    if diff.new is None or diff.new.plan != state.record.id:
        return False
    return diff.old is None or diff.old.depends_on != diff.new.depends_on


def _is_leaf(diff: Diff[Task], step: Step) -> bool:
    """A new task that only hangs on what was there before closes no cycle."""
    if diff.old is not None or diff.new is None:
        return False
    return all(step.before.task(name) for name in diff.new.depends_on)


def _is_cyclic(edges: graph.Graph) -> bool:
    try:
        graph.topological(edges)
    except ValueError:
        return True
    return False
