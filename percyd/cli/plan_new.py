"""``percyd plan new``: a plan file to begin with."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from percyd.cli.common import Options, common, pass_options, print_json
from percyd.errors import PlanExists, UsageError


@click.command(short_help="Write a commented plan file.")
@click.argument("name", metavar="NAME")
@common
@pass_options
def new(options: Options, name: str) -> None:
    """Write a commented plan to .percy/plans/NAME.yaml, for you to edit and commit.

    It is valid as it is. A file that is there is never overwritten.
    """
    from percyd.config import COMMITTED
    from percyd.core.document.names import FOLDER, is_plan_file, plan_id_of
    from percyd.core.document.problems import escaped
    from percyd.core.ids import document_id_problem
    from percyd.intake.template import template

    plan = name.removesuffix(".yaml").removesuffix(".plan")
    problem = document_id_problem(plan)
    if problem is None and not is_plan_file(f"{plan}.yaml"):
        problem = "is not read as a plan"
    if problem:
        raise UsageError(
            f"{escaped(plan)} is no name for a plan: it {problem}",
            hint=f"percyd plan new {_legal(plan)}",
        )
    percyd = options.open()
    top = percyd.clone.work_tree
    if top is None:
        raise UsageError(
            "a bare repository has no files", hint="run the command in a clone of it"
        )
    folder = top / FOLDER
    for path in sorted(folder.glob("*")):
        if is_plan_file(path.name) and plan_id_of(path.name)[0] == plan:
            raise PlanExists(
                f"{FOLDER}/{path.name} is there already", hint="choose another name"
            )
    path = folder / f"{plan}.yaml"
    _write(path, template(plan, percyd.effective.config.runner))
    shown = os.path.relpath(path)
    commit = (
        f"git add {shlex.quote(shown)} && git commit -m {shlex.quote(f'Plan {plan}')}"
    )
    if options.json:
        print_json({"plan": plan, "path": str(path), "commit_with": commit})
        return
    click.echo(f"written: {shown}")
    click.echo("edit it, then commit it, which starts it:")
    click.echo(f"  {commit}")
    if not (top / COMMITTED).exists():
        options.say("percyd is not set up here yet: run percyd init before")


def _legal(name: str) -> str:
    from percyd.core.document.names import is_plan_file
    from percyd.core.ids import slug

    plan = slug(name[:200])
    return plan if is_plan_file(f"{plan}.yaml") else f"{plan}-1"


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise PlanExists(
            f"{path.name} is there already", hint="choose another name"
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
