"""``percyd task``: tasks listed, shown, tried again."""

from __future__ import annotations

import click

from percyd.cli.common import (
    Options,
    common,
    finish_read,
    pass_options,
    print_json,
    read_state,
)


@click.group()
@common
def task() -> None:
    """Show tasks, and try them again."""


@task.command(name="list")
@click.argument("plan_id", required=False, metavar="[PLAN]")
@common
@pass_options
def list_(options: Options, plan_id: str | None) -> None:
    """List the tasks, of all plans or of one."""
    from percyd.cli.tasks_show import render_task_list
    from percyd.views.status import cluster_status

    percyd = options.open(in_workspace=True)
    try:
        state, old = read_state(percyd)
    finally:
        percyd.close()
    found = cluster_status(state.tip, state.read_at, state.snapshot, plan_id)
    options.show(
        {"tasks": found["tasks"]}, lambda c: render_task_list(c, found["tasks"])
    )
    finish_read(state, old)


@task.command()
@click.argument("task_id", metavar="ID")
@common
@pass_options
def show(options: Options, task_id: str) -> None:
    """Show one task: why it waits, its attempts, its result."""
    from percyd.cli.tasks_show import render_task
    from percyd.views.show import task_show

    percyd = options.open(in_workspace=True)
    try:
        state, old = read_state(percyd)
    finally:
        percyd.close()
    found = task_show(state.snapshot, task_id)
    logs = percyd.home.logs_of(found["id"])
    found["logs"] = [str(path) for path in logs]
    options.show(found, lambda c: render_task(c, found))
    if logs and not options.json:
        click.echo("logs on this machine:")
        for path in logs:
            click.echo(f"  {path}")
    finish_read(state, old)


@task.command()
@click.argument("task_id", metavar="ID")
@common
@pass_options
def retry(options: Options, task_id: str) -> None:
    """Try a failed or cancelled task again, and what was cancelled because of it."""
    from percyd.core.operations.plans import Retry
    from percyd.views.show import task_show

    percyd = options.open()
    try:
        task_show(percyd.refresh().snapshot, task_id)  # an unknown id, with the nearest
        applied = percyd.store.apply(Retry(percyd.store.stamp(), task_id))
    finally:
        percyd.close()
    back = [task.id for task in applied.decision.tasks] if applied.decision else []
    if options.json:
        print_json({"task": task_id, "back": back, "commit": applied.commit})
    elif back:
        click.echo(f"back in the queue: {', '.join(back)}")
    else:
        click.echo(f"{task_id} is in the queue already")
