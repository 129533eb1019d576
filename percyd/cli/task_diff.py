"""``percyd task diff``: what a task has changed."""

from __future__ import annotations

import click

from percyd.cli.common import Options, common, pass_options, print_json, reading
from percyd.cli.names import task_ids


@click.command()
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@click.option("--stat", is_flag=True, help="A line for each file instead of the patch.")
@common
@pass_options
def diff(options: Options, task_id: str, stat: bool) -> None:
    """Show what a task has changed.

    Of a completed task that is its merge on the plan's branch. Of any other it is the
    newest work that was kept of it, on a rescue ref: stderr says which.
    """
    from percyd.cli import patches
    from percyd.views.archived import with_archived
    from percyd.views.changes import find_change

    with reading(options, in_workspace=True) as (percyd, state, _):
        snapshot = with_archived(percyd.hub.reader, state, task_id)
        found = find_change(percyd.hub, snapshot, task_id)
        git = percyd.hub.git
        if options.json:
            document = {
                "task": found.task,
                "attempt": found.attempt,
                "kind": found.kind,
                "ref": found.ref,
                "base": found.base,
                "commit": found.commit,
                "files": patches.files_json(git, found.base, found.commit),
            }
            if stat:
                print_json(document)
            else:
                patches.print_json_patch(document, git, found.base, found.commit)
            return
        options.say(f"percyd: {found.words}")
        show = patches.print_stat if stat else patches.print_patch
        show(git, found.base, found.commit)
