"""``percyd plan land``: a finished plan goes into its base branch."""

from __future__ import annotations

from functools import partial

import click

from percyd.cli.common import Options, common, opened, pass_options, print_json
from percyd.cli.names import plan_ids


@click.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@click.option(
    "--wait", is_flag=True, help="Wait for the merge of a base branch that has moved."
)
@common
@pass_options
def land(options: Options, plan_id: str, wait: bool) -> None:
    """Fast-forward the base branch to the result of a plan that is done.

    If the base branch has moved, a task land-N is added, which merges it into the
    plan's branch and passes the gate; the command ends with 1, and is to be run again.
    With --wait it follows that task, and ends with 0 once the plan has landed.

    A base branch that contains the result already is only noted. One that is checked
    out in a repository without a remote is not moved: the merge to run is printed.
    """
    from percyd.dispatch.land import PlanLanding, landed_words
    from percyd.repo.discover import may_move
    from percyd.views.show import need_plan

    with opened(options) as percyd:
        need_plan(percyd.refresh().snapshot, plan_id)  # an unknown id, with the nearest
        may = partial(may_move, percyd.clone, percyd.remote)
        landing = PlanLanding(
            percyd.store, percyd.clock, may, lambda text: options.say(f"percyd: {text}")
        )
        applied = (landing.land_in_the_end if wait else landing.land)(plan_id)
    record = applied.snapshot.plans[plan_id].record
    result = record.result
    if options.json:
        print_json(
            {
                "plan": plan_id,
                "landed_commit": result.landed_commit if result else None,
                "landed_into": result.landed_into if result else None,
                "commit": applied.commit,
            }
        )
    else:
        click.echo(landed_words(record, already=applied.commit is None))
