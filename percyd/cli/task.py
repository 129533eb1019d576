"""``percyd task``: tasks listed, shown, tried again."""

from __future__ import annotations

import click

from percyd.cli.common import (
    Options,
    common,
    opened,
    pass_options,
    print_json,
    reading,
)
from percyd.cli.names import plan_ids, task_ids
from percyd.cli.steer import cancel_task
from percyd.cli.task_diff import diff
from percyd.cli.task_log import log


@click.group()
@common
def task() -> None:
    """Show tasks, cancel them, and try them again.

    ID is a task's full id, PLAN.TASK, as `percyd task list` shows it.
    """


task.add_command(log)
task.add_command(diff)
task.add_command(cancel_task)


@task.command(name="list")
@click.argument("plan_id", required=False, metavar="[PLAN]", shell_complete=plan_ids)
@common
@pass_options
def list_(options: Options, plan_id: str | None) -> None:
    """List the tasks, of all plans or of one."""
    from percyd.cli.tasks_show import render_task_list
    from percyd.views.status import cluster_status

    with reading(options, in_workspace=True) as (_, state, _):
        found = cluster_status(state.tip, state.read_at, state.snapshot, plan_id)
        tasks = found["tasks"]
        options.show({"tasks": tasks}, lambda c: render_task_list(c, tasks))


@task.command()
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@common
@pass_options
def show(options: Options, task_id: str) -> None:
    """Show one task: why it waits, its attempts, its result."""
    from percyd.cli.tasks_show import render_task
    from percyd.views.archived import with_archived
    from percyd.views.rescues import kept_of
    from percyd.views.show import task_show

    with reading(options, in_workspace=True) as (percyd, state, is_new):
        found = task_show(with_archived(percyd.hub.reader, state, task_id), task_id)
        kept = kept_of(percyd.hub, found["id"], ask_remote=is_new)
        found["kept"] = {str(each.attempt): each.ref for each in kept}
        logs = [str(path) for path in percyd.home.logs_of(found["id"])]
        options.show({**found, "logs": logs}, lambda c: render_task(c, found))
        if logs and not options.json:
            click.echo("logs on this machine:")
            for name in logs:
                click.echo(f"  {name}")


@task.command(name="retry", short_help="Try a failed or cancelled task again.")
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@common
@pass_options
def retry_task(options: Options, task_id: str) -> None:
    """Try a failed or cancelled task again, and what was cancelled because of it.

    It is done as the plan's committed file and configuration have it by now.
    """
    from percyd.intake.retry import retry
    from percyd.views.show import task_show

    with opened(options) as percyd:
        task_show(percyd.refresh().snapshot, task_id)  # an unknown id, with the nearest
        done = retry(percyd.intake, task_id)
    if options.json:
        edited, back = list(done.edited), list(done.back)
        print_json(
            {"task": task_id, "back": back, "edited": edited, "commit": done.commit}
        )
    elif done.back:
        click.echo(f"back in the queue: {', '.join(done.back)}")
        if done.edited:
            are = "it was" if len(done.edited) == 1 else "they were"
            click.echo(f"edited since {are} tried: {', '.join(done.edited)}")
    else:
        click.echo(f"{task_id} is in the queue already")
