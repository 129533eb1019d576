"""``percyd demo``: the whole thing in a temporary repository, in under a minute."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, console, pass_options, print_json
from percyd.errors import PercydError, WorkFailed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from percyd.core.snapshot import Snapshot
    from percyd.daemon import Daemon
    from percyd.outcome import Outcome
    from percyd.session import Percyd

_STYLES = {
    "completed": "green",
    "working": "cyan",
    "assigned": "cyan",
    "failed": "red",
    "cancelled": "red",
    "submitted": "yellow",
}
_LOOK_S = 0.1


@click.command()
@click.option("--keep", is_flag=True, help="Keep the repository, to look around in.")
@click.option(
    "--slots",
    default=4,
    show_default=True,
    metavar="N",
    help="Tasks at the same time.",
)
@common
@pass_options
def demo(options: Options, keep: bool, slots: int) -> None:
    """Run a plan of ten tasks to its end in a temporary repository.

    One of its tasks fails at first, and two write the same file at the same time: the
    second to land meets a conflict, and runs again on what the first has left.
    """
    from percyd.demo import build

    folder = Path(tempfile.mkdtemp(prefix="percyd-demo-"))
    environ = {**os.environ, "PERCYD_STATE_DIR": str(folder / "state")}
    try:
        clone = build(folder, environ)
        with _Story().heard() as story:
            outcome = _run(options, clone, environ, slots)
        if not options.json:
            _epilogue(console(), clone, environ, story, keep=keep)
        else:
            print_json({"completed": outcome.completed, "clone": str(clone)})
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
        elif not options.json:
            _ways_to_look(console(), folder / "bakery", environ)


class _Story(logging.Handler):
    """Hears which tasks have met a conflict: the state does not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.conflicts: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if record.getMessage() == "runs again":
            what = record.__dict__
            self.conflicts.append((str(what["task"]), str(what["why"])))

    @contextmanager
    def heard(self) -> Iterator[_Story]:
        """Listen to percyd's own log."""
        logger = logging.getLogger("percyd")
        level = logger.level
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        try:
            yield self
        finally:
            logger.setLevel(level)
            logger.removeHandler(self)


def _run(options: Options, clone: Path, environ: dict[str, str], slots: int) -> Outcome:
    from percyd.daemon import Daemon
    from percyd.session import Percyd

    percyd = Percyd.open(clone, environ, {"worker.slots": slots})
    try:
        percyd.initialise(None)
        daemon = Daemon(percyd, takes_in=True, until_idle=True)
        if options.json or options.quiet:
            outcome = daemon.run()
        else:
            outcome = _watch(console(), percyd, daemon)
    finally:
        percyd.close()
    if not outcome.good:
        raise WorkFailed(outcome.words, hint="run percyd demo --keep to look at it")
    return outcome


def _watch(out: Console, percyd: Percyd, daemon: Daemon) -> Outcome:
    """Run the daemon beside a live view of the state."""
    from rich.live import Live

    out.print("A repository with a remote, a committed plan, and one daemon:\n")
    results: list[Outcome] = []
    errors: list[PercydError] = []

    def work() -> None:
        try:
            results.append(daemon.run())
        except PercydError as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="daemon")
    thread.start()
    try:
        with Live(console=out, auto_refresh=False) as live:
            while thread.is_alive():
                live.update(_table(percyd.store.state.snapshot), refresh=True)
                thread.join(_LOOK_S)
            live.update(_table(percyd.store.state.snapshot), refresh=True)
    finally:
        daemon.end(0)
        thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _table(snapshot: Snapshot) -> Table:
    from rich.table import Table

    from percyd.core.graph import topological

    table = Table(box=None, pad_edge=False)
    for title in ("TASK", "STATUS", "TRY", "WHAT"):
        table.add_column(title, no_wrap=True)
    tasks = {task.id: task for task in snapshot.tasks()}
    for name in topological({t.id: t.depends_on for t in tasks.values()}):
        task = tasks[name]
        style = _STYLES.get(task.status, "dim")
        said = task.reason.message if task.reason else task.title
        table.add_row(
            task.id,
            f"[{style}]{task.status}[/]",
            str(task.attempt or ""),
            said,
        )
    return table


def _epilogue(
    out: Console, clone: Path, environ: dict[str, str], story: _Story, *, keep: bool
) -> None:
    from percyd.demo import PLAN_ID, SHARED
    from percyd.repo.runner import Git

    remote = clone.with_name(f"{clone.name}.git")
    branch = f"percy/plan/{PLAN_ID}"
    git = Git(remote, environ=environ)
    out.print(f"\nOne merge per task on {branch}, each of them gated:\n")
    graph = git.run("log", "--graph", "--format=%h %s", branch)
    out.print(graph.text, markup=False)
    for task, why in story.conflicts:
        out.print(f"\n{task} met a {why}.", markup=False)
        out.print("Its command ran again on what had landed before it:\n")
        out.print(git.run("show", f"{branch}:{SHARED}").text, markup=False)
    count = git.run("rev-list", "--count", "percy/state").text
    out.print(f"\nAll of it is in {count} commits on percy/state, on the remote.")
    if not keep:
        out.print("Next: percyd demo --keep leaves it there to look around in;")
        out.print("percyd init sets up a repository of your own.")


def _ways_to_look(out: Console, clone: Path, environ: dict[str, str]) -> None:
    where = shlex.quote(str(clone))
    state = f"PERCYD_STATE_DIR={shlex.quote(environ['PERCYD_STATE_DIR'])}"
    percyd = f"{state} percyd -C {where}"
    out.print(f"\nKept in {clone.parent}. Look around:", markup=False, soft_wrap=True)
    for command in (
        f"{percyd} plan show bakery",
        f"{percyd} task diff bakery.rolls",
        f"git -C {where}.git log -p percy/state",
    ):
        out.print(f"  {command}", markup=False, soft_wrap=True)
