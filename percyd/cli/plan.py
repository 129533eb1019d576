"""``percyd plan``: documents checked and taken in, plans listed and shown."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import (
    Options,
    common,
    opened,
    pass_options,
    print_json,
    reading,
)
from percyd.cli.names import plan_ids
from percyd.cli.plan_graph import graph
from percyd.cli.plan_land import land
from percyd.cli.plan_new import new
from percyd.cli.steer import cancel_plan, pause, rerun, resume
from percyd.errors import InvalidPlan, NotARepository, PercydError, UsageError

if TYPE_CHECKING:
    from percyd.session import Percyd

#: One byte more than a document may have: enough to see that it has too many.
_READ_BYTES = 4 * 1024 * 1024 + 1


@click.group()
@common
def plan() -> None:
    """Check, submit, steer and show plans.

    ID is a plan's id: the name of its file without extension, as in `percyd status`.
    """


for command in (new, pause, resume, cancel_plan, rerun, land, graph):
    plan.add_command(command)


def read_document(name: str) -> bytes:
    """The bytes of a file, or of standard input for ``-``; no more than are allowed."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(_READ_BYTES)
        with Path(name).open("rb") as file:
            return file.read(_READ_BYTES)
    except OSError as error:
        raise UsageError(
            f"cannot read {name!r:.200}: {error.strerror}", hint="name a plan file"
        ) from error


@plan.command(short_help="Print every problem of plan files.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@common
@pass_options
def check(options: Options, files: tuple[str, ...]) -> int:
    """Print every problem as `file:line: field: what is wrong; what is allowed`.

    The files need not be committed, and nothing is taken in. The exit code is 2 if there
    is a problem.
    """
    from percyd.intake.check import check_document
    from percyd.intake.scan import PROBLEMS_SHOWN

    configured = _default_runner(options)
    reports = []
    for name in files:
        checked = check_document(name, read_document(name), configured)
        reports.append(checked)
        if options.json:
            continue
        for problem in checked.problems[:PROBLEMS_SHOWN]:
            click.echo(str(problem))
        if len(checked.problems) > PROBLEMS_SHOWN:
            click.echo(f"{name}: and {len(checked.problems) - PROBLEMS_SHOWN} more")
        if not checked.problems:
            click.echo(f"{name}: ok, {checked.words}")
    bad = [checked for checked in reports if checked.problems]
    if options.json:
        print_json({"files": [checked.as_json() for checked in reports]})
    elif bad:
        count = sum(len(checked.problems) for checked in bad)
        what = "1 problem" if count == 1 else f"{count} problems"
        options.say(f"percyd: {what} in {len(bad)} of {len(files)} files; mend them")
    return InvalidPlan.exit_code if bad else 0


def _default_runner(options: Options) -> str | None:
    """The configured runner; outside of a repository none is configured."""
    try:
        return options.open().effective.config.runner
    except NotARepository:
        return None


@plan.command()
@click.argument("file", metavar="FILE")
@common
@pass_options
def submit(options: Options, file: str) -> None:
    """Take in a plan now: a committed plan file, any other file, or `-`.

    Of a file in .percy/plans its committed version counts; any other is taken as it is,
    and `-` is standard input.

    The edited, committed file of a plan that is still open changes that plan: what
    nobody has begun is added, updated or cancelled; what is claimed or done stays.
    """
    from percyd.intake.submit import submit as take_in

    with opened(options) as percyd:
        percyd.refresh()
        taken = take_in(percyd.intake, file, read_document(file))
    if options.json:
        print_json(taken.as_json())
    else:
        click.echo(taken.words)


@plan.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def start(options: Options, plan_id: str) -> None:
    """Release a plan that its document holds back as a draft."""
    from percyd.core.operations.steer import Start
    from percyd.views.show import need_plan

    with opened(options) as percyd:
        need_plan(percyd.refresh().snapshot, plan_id)
        applied = percyd.store.apply(Start(percyd.store.stamp(), plan_id))
    if options.json:
        print_json({"plan": plan_id, "commit": applied.commit})
    else:
        click.echo(f"{plan_id} is {'started' if applied.commit else 'started already'}")


@plan.command(name="list")
@common
@pass_options
def list_(options: Options) -> None:
    """List the plans."""
    from percyd.cli.plans_show import render_plan_list
    from percyd.views.status import cluster_status

    with reading(options) as (_, state, _):
        found = cluster_status(state.tip, state.read_at, state.snapshot)
        plans, tasks = found["plans"], found["tasks"]
        options.show({"plans": plans}, lambda c: render_plan_list(c, plans, tasks))


@plan.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@common
@pass_options
def show(options: Options, plan_id: str) -> None:
    """Show one plan with its tasks."""
    from percyd.cli.plans_show import render_plan
    from percyd.views.archived import with_archived
    from percyd.views.show import plan_show

    with reading(options) as (percyd, state, _):
        found = plan_show(with_archived(percyd.hub.reader, state, plan_id), plan_id)
        missing = 0 if options.json else _not_in_its_base(percyd, found)
        options.show(found, lambda c: render_plan(c, found, missing))


def _not_in_its_base(percyd: Percyd, found: Mapping[str, Any]) -> int:
    """How many commits up to a plan's file were not on the remote's base branch.

    The work of a plan starts from what the remote has: a file that was committed
    together with code, and taken in before that was pushed, is ahead of its own base.
    """
    from percyd.repo.discover import count_between

    base, at = found["base_commit"], found["source"]["commit"]
    if found["source"]["kind"] != "file" or not base or not at:
        return 0
    try:
        return count_between(percyd.clone, base, at)
    except PercydError:
        return 0  # its commit is of another clone, or is gone
