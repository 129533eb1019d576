"""``percyd run``: one task, without a plan file."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, opened, pass_options, print_json
from percyd.errors import NoRunner, UsageError, WorkFailed

if TYPE_CHECKING:
    from percyd.core.records import Task
    from percyd.core.snapshot import PlanState, Snapshot
    from percyd.session import Percyd

#: The short id of the one task.
TASK = "task"
#: Between two looks of ``--wait``, seconds.
_LOOK_S = 1.0
#: What the keys of the document are called on the command line.
_TYPED = {
    "title": "TITLE",
    "description": "-d",
    "run": "--sh",
    "verify": "--verify",
    "runner": "--runner",
}
_START_ONE = "run percyd serve, or percyd worker on any machine"


@click.command()
@click.argument("title", metavar="TITLE")
@click.option("-d", "--description", metavar="TEXT", help="What else there is to know.")
@click.option("--sh", metavar="COMMAND", help="A shell command that does it.")
@click.option("--verify", metavar="CMD", help="The gate: it must pass to be merged.")
@click.option("--runner", metavar="R", help="The configured runner that does it.")
@click.option("--wait", is_flag=True, help="Follow until it ends; 1 if it is not done.")
@common
@pass_options
def run(
    options: Options,
    title: str,
    description: str | None,
    sh: str | None,
    verify: str | None,
    runner: str | None,
    wait: bool,
) -> None:
    """Have one thing done: a plan of one task, without a plan file.

    The plan's id is made from TITLE. Any worker of the fleet may take it; its work is
    merged into the plan's branch, percy/plan/ID.
    """
    from percyd.intake.submit import submit_untitled

    if sh is not None and runner is not None:
        raise UsageError("--sh and --runner exclude each other", hint="give one")
    content = _document(title, description, sh, verify, runner)
    _refuse_bad(content)
    with opened(options) as percyd:
        percyd.refresh()
        try:
            taken = submit_untitled(percyd.intake, "run.json", content)
        except NoRunner as error:
            raise NoRunner(
                "nothing says how to do it, and no default runner is configured",
                hint="give a command with --sh, or a runner with --runner",
            ) from error
        plan, task = taken.plan, f"{taken.plan}.{TASK}"
        if not wait:
            nobody = _nobody(percyd.store.state.snapshot, task)
            if options.json:
                print_json({**taken.as_json(), "task": task})
            else:
                click.echo(taken.words)
            if nobody:
                options.say(f"percyd: {task} {nobody}")
            return
        options.say(f"percyd: {taken.words}")
        state = _follow(options, percyd, plan)
    _tell(options, state, taken.as_json())


def _document(
    title: str,
    description: str | None,
    sh: str | None,
    verify: str | None,
    runner: str | None,
) -> bytes:
    said = {"description": description, "run": sh, "runner": runner}
    task = {key: value for key, value in said.items() if value is not None}
    plan: dict[str, object] = {"title": title}
    if verify is not None:
        plan["verify"] = verify
    plan["tasks"] = [{"id": TASK, "title": title, **task}]
    return (json.dumps(plan, indent=1, ensure_ascii=False) + "\n").encode(
        "utf-8", "backslashreplace"
    )


def _refuse_bad(content: bytes) -> None:
    """Name what is wrong as it was typed.

    Raises:
        UsageError: a value that no plan may have.
    """
    from percyd.core.document.parse import parse

    for problem in parse("run.json", content).problems:
        name = problem.field.rpartition(".")[2]
        raise UsageError(f"{_TYPED.get(name, name)} {problem.text}")


def _nobody(snapshot: Snapshot, name: str) -> str | None:
    """What to say if no agent that is there could take the task."""
    from percyd.core.ready import kind_of
    from percyd.core.schedule import no_agent

    task = snapshot.task(name)
    wait = no_agent(snapshot, kind_of(task)) if task is not None else None
    if wait is None:
        return None
    what = "" if wait.what.startswith("any ") else f" with {wait.what}"
    return f"waits: there is no agent{what}; {_START_ONE}"


def _follow(options: Options, percyd: Percyd, plan: str) -> PlanState:
    """Tell what happens until the plan has ended.

    Raises:
        WorkFailed: the plan is gone.
    """
    from percyd.cli.following import Watch
    from percyd.core.edges import CLOSED

    watch, said = Watch(percyd, options.say), ""
    try:
        while True:
            state = watch.look()
            found = state.snapshot.plan(plan) if state else None
            if state is not None and found is None:
                raise WorkFailed(f"plan {plan} is gone", hint="see percyd log")
            if state is not None and found is not None:
                if found.record.status in CLOSED:
                    return found
                words = _progress(state.snapshot, f"{plan}.{TASK}")
                if words != said:
                    options.say(f"percyd: {words}")
                said = words
            percyd.clock.wait(threading.Event(), _LOOK_S)
    except KeyboardInterrupt:
        options.say(f"percyd: {plan} goes on; percyd plan cancel {plan} ends it")
        raise


def _progress(snapshot: Snapshot, name: str) -> str:
    """Where the task is, in one line."""
    from percyd.cli.tasks_show import detail
    from percyd.core.edges import HELD
    from percyd.views.waiting import Waiting, task_json

    task = snapshot.task(name)
    if task is None:
        return f"{name} is gone"
    nobody = _nobody(snapshot, name) if task.status not in HELD else None
    if nobody:
        return f"{name} {nobody}"
    said = detail(task_json(task, Waiting(snapshot))).plain
    return f"{name} {task.status}: {said}" if said else f"{name} {task.status}"


def _tell(options: Options, state: PlanState, taken: dict[str, object]) -> None:
    """How it ended.

    Raises:
        WorkFailed: the task was not completed.
    """
    from percyd.core.edges import TaskStatus

    plan = state.record
    (task,) = (t for t in state.tasks.values() if t.id == f"{plan.id}.{TASK}")
    if task.status is not TaskStatus.COMPLETED:
        raise WorkFailed(
            f"{task.id} is {task.status}{_why(task)}",
            hint=f"see percyd task show {task.id}",
        )
    if options.json:
        ended = {"status": plan.status.value, "task": task.model_dump(mode="json")}
        print_json({**taken, **ended})
    else:
        click.echo(f"{task.id} is completed, and merged into percy/plan/{plan.id}")


def _why(task: Task) -> str:
    if task.reason is None:
        return ""
    return f": {task.reason.code}: {task.reason.message}".rstrip(": ")
