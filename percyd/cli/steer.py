"""What a person does to a plan or a task: pause, resume, cancel, run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, opened, pass_options, print_json
from percyd.cli.names import plan_ids, task_ids

if TYPE_CHECKING:
    from percyd.core.operations.base import Operation
    from percyd.core.snapshot import Snapshot
    from percyd.session import Percyd
    from percyd.state.tickets import Applied


@click.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def pause(options: Options, plan_id: str) -> None:
    """Claim no more tasks of a plan; what runs goes on, and lands."""
    from percyd.core.operations.steer import Pause

    applied = _steer(
        options, plan_id, lambda p: Pause(p.store.stamp(), plan_id, _who(p))
    )
    running = _held(applied, plan_id)
    after = f"; what runs goes on: {', '.join(running)}" if running else ""
    words = (f"{plan_id} is paused", f"{plan_id} is paused already")
    _tell(options, applied, {"plan": plan_id}, words, after)


@click.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def resume(options: Options, plan_id: str) -> None:
    """Let a paused plan go on."""
    from percyd.core.operations.steer import Resume

    applied = _steer(options, plan_id, lambda p: Resume(p.store.stamp(), plan_id))
    words = (f"{plan_id} goes on", f"{plan_id} is not paused: it goes on already")
    _tell(options, applied, {"plan": plan_id}, words)


@click.command(name="cancel")
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def cancel_plan(options: Options, plan_id: str) -> None:
    """End a plan and all its open tasks, those that run too.

    Whoever runs one ends it and keeps its unfinished work on a rescue ref. What is
    completed stays on the plan's branch. A plan that has failed is given up: `percyd
    status` shows it no more. `percyd task retry` brings a task and its plan back.
    """
    from percyd.core.operations.steer import CancelPlan

    applied = _steer(
        options, plan_id, lambda p: CancelPlan(p.store.stamp(), plan_id, _who(p))
    )
    names = _changed(applied)
    tasks = "1 task" if len(names) == 1 else f"{len(names)} tasks"
    words = (f"{plan_id} is cancelled", f"{plan_id} is cancelled already")
    document = {"plan": plan_id, "cancelled": names}
    _tell(options, applied, document, words, f", with {tasks}" if names else "")


@click.command(name="cancel")
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@common
@pass_options
def cancel_task(options: Options, task_id: str) -> None:
    """End a task, and what depends on it.

    Whoever runs it ends it and keeps the unfinished work on a rescue ref. `percyd task
    retry` brings it back.
    """
    from percyd.core.operations.steer import CancelTask
    from percyd.views.show import need_task

    with opened(options) as percyd:
        before = percyd.refresh().snapshot
        need_task(before, task_id)  # an unknown id, with the nearest
        operation = CancelTask(percyd.store.stamp(), task_id, _who(percyd))
        applied = percyd.store.apply(operation)
    names = []
    if applied.commit is not None:
        names = [task_id, *_followers(before, applied.snapshot, task_id)]
    after = f", and with it: {', '.join(names[1:])}" if names[1:] else ""
    words = (f"{task_id} is cancelled", f"{task_id} is cancelled already")
    _tell(options, applied, {"task": task_id, "cancelled": names}, words, after)


@click.command(short_help="Do a plan that has ended again.")
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def rerun(options: Options, plan_id: str) -> None:
    """Do a plan that has ended again, as a new plan ID-2, ID-3, ...

    It takes the newest committed version of the plan's file, or the document that was
    submitted, and starts from the base branch as it is now. Archived plans can be run
    again too.
    """
    from percyd.intake.again import rerun as take_again
    from percyd.views.show import need_plan

    with opened(options) as percyd:
        snapshot = percyd.refresh().snapshot
        if plan_id not in snapshot.archived:
            need_plan(snapshot, plan_id)  # an unknown id, with the nearest
        taken = take_again(percyd.intake, plan_id)
    if options.json:
        print_json({**taken.as_json(), "rerun_of": plan_id})
    else:
        click.echo(taken.words)


def _steer(
    options: Options, plan_id: str, make: Callable[[Percyd], Operation]
) -> Applied:
    from percyd.views.show import need_plan

    with opened(options) as percyd:
        need_plan(percyd.refresh().snapshot, plan_id)  # an unknown id, with the nearest
        return percyd.store.apply(make(percyd))


def _tell(
    options: Options,
    applied: Applied,
    document: Mapping[str, object],
    words: tuple[str, str],
    after: str = "",
) -> None:
    """Say that it is done, or that it was so already."""
    if options.json:
        print_json({**document, "commit": applied.commit})
    elif applied.commit is not None:
        click.echo(words[0] + after)
    else:
        click.echo(words[1])


def _who(percyd: Percyd) -> str | None:
    return percyd.intake.submitter()


def _changed(applied: Applied) -> list[str]:
    return [task.id for task in applied.decision.tasks] if applied.decision else []


def _held(applied: Applied, plan_id: str) -> list[str]:
    held = applied.snapshot.held_tasks()
    return sorted(task.id for task in held if task.plan == plan_id)


def _followers(before: Snapshot, after: Snapshot, task_id: str) -> list[str]:
    """What was cancelled because of a task: all that hangs on it and had not ended."""
    from percyd.core.edges import DEAD, TaskStatus
    from percyd.core.ids import plan_of
    from percyd.core.reasons import Reason

    state = after.plans[plan_of(task_id)]
    found: set[str] = set()
    queue = [task_id]
    while queue:
        for name in state.shape.dependents.get(queue.pop(), ()):
            task = state.tasks[name]
            why = task.reason.code if task.reason else None
            was = before.task(name)
            gone = task.status is TaskStatus.CANCELLED and (
                was is None or was.status not in DEAD
            )
            if gone and why is Reason.DEPENDENCY_FAILED and name not in found:
                found.add(name)
                queue.append(name)
    return sorted(found)
