"""``percyd task log``: what an attempt's program has printed, and its gate."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from percyd.cli.common import (
    Options,
    common,
    opened,
    pass_options,
    print_json,
    reading,
)
from percyd.cli.names import task_ids

if TYPE_CHECKING:
    from percyd.cli.following import Watch
    from percyd.clock import Clock
    from percyd.runners.transcript import Transcript
    from percyd.session import Percyd
    from percyd.state.follower import State
    from percyd.views.logs import AttemptLog

#: Between two looks at the log, and at the state. Seconds.
_READ_S = 0.2
_LOOK_S = 1.0


@click.command(short_help="Print what an attempt has printed.")
@click.argument("task_id", metavar="ID", shell_complete=task_ids)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Go on with what comes, until the attempt ends.",
)
@click.option(
    "--attempt",
    type=click.IntRange(1),
    metavar="N",
    help="This attempt; else the newest that was run on this machine.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Print the very bytes: of a coding agent its events, control characters too.",
)
@common
@pass_options
def log(
    options: Options, task_id: str, follow: bool, attempt: int | None, raw: bool
) -> None:
    """Print what an attempt at a task has printed, then what its gate has.

    Of a coding agent, what it said, and a line for each tool that it used. Logs stay on
    the machine that ran the attempt. On a terminal, control characters are shown instead
    of obeyed.
    """
    from percyd.cli.following import Watch, until_interrupted

    if follow:
        with opened(options, in_workspace=True) as percyd, until_interrupted():
            watch = Watch(percyd, options.say)
            state = watch.first()
            found = _find(options, percyd, state, task_id, attempt)
            read = None if raw else _transcript(percyd, state, found)
            _Printer(options, found, raw, read).follow(watch, state, percyd.clock)
        return
    with reading(options, in_workspace=True) as (percyd, state, _):
        found = _find(options, percyd, state, task_id, attempt)
        if options.json:
            _print_document(found)
        else:
            read = None if raw else _transcript(percyd, state, found)
            printer = _Printer(options, found, raw, read)
            printer.print_news()
            printer.finish()
            if not printer.has_printed:
                options.say(f"percyd: attempt {found.attempt} has printed nothing")


def _find(
    options: Options, percyd: Percyd, state: State, task_id: str, attempt: int | None
) -> AttemptLog:
    from percyd.views.archived import with_archived
    from percyd.views.logs import agent_of, find_log, where_run
    from percyd.views.show import need_task

    snapshot = with_archived(percyd.hub.reader, state, task_id)
    task = need_task(snapshot, task_id)
    found = find_log(percyd.home, state.snapshot, task, attempt)
    if attempt is None and task.attempt > found.attempt:
        where = where_run(state.snapshot, agent_of(task, task.attempt))
        options.say(
            f"percyd: this is attempt {found.attempt}; the log of attempt "
            f"{task.attempt} is kept elsewhere: {where}"
        )
    return found


def _transcript(percyd: Percyd, state: State, found: AttemptLog) -> Transcript | None:
    """What makes the program's events readable; None if it has none."""
    from percyd.runners.base import Job
    from percyd.runners.registry import registry
    from percyd.runners.transcript import Transcript
    from percyd.views.archived import with_archived

    snapshot = with_archived(percyd.hub.reader, state, found.task)
    task = snapshot.task(found.task)
    runner = registry(percyd.effective.config).get((task and task.runner) or "")
    reader = runner.reader(Job(found.program)) if runner else None
    return Transcript(reader) if reader else None


def _print_document(found: AttemptLog) -> None:
    """One document, written as it is read."""
    from percyd.cli.untrusted import echo_json_text
    from percyd.views.logs import Growing

    head = {"task": found.task, "attempt": found.attempt, "agent": found.agent}
    click.echo(json.dumps(head)[:-1], nl=False)
    for name, path in (("program", found.program), ("gate", found.gate)):
        click.echo(f', "{name}": ', nl=False)
        if path.is_file():
            echo_json_text(Growing(path).read())
        else:
            click.echo("null", nl=False)
    click.echo("}")


class _Printer:
    """Prints both files of an attempt as they grow."""

    def __init__(
        self,
        options: Options,
        found: AttemptLog,
        raw: bool,
        transcript: Transcript | None,
    ) -> None:
        from percyd.cli.untrusted import Rows, write_raw
        from percyd.views.logs import Growing

        self._options = options
        self._found = found
        self._files = {"program": Growing(found.program), "gate": Growing(found.gate)}
        self._from = "program"
        self._rows: Rows | None = None
        self._line_ended = True
        self.has_printed = False
        self._transcript = transcript
        self._write: Callable[[bytes], None] = write_raw
        if options.json or (sys.stdout.isatty() and not raw):
            self._rows = Rows(self._print_json if options.json else self._show)
            self._write = self._rows.feed

    def follow(self, watch: Watch, state: State, clock: Clock) -> None:
        """Print what there is, and what comes while the attempt goes on."""
        looked_s = clock.boot_s()
        while True:
            # Before the files: what an attempt that is over has printed is in them.
            if clock.boot_s() >= looked_s + _LOOK_S:
                state = watch.look() or state
                looked_s = clock.boot_s()
            is_open = self._found.is_open(state.snapshot)
            self.print_news()
            if not is_open:
                self.finish()
                return
            clock.wait(threading.Event(), _READ_S)

    def print_news(self) -> None:
        """Print what has come since the last time."""
        for name, file in self._files.items():
            for piece in file.read():
                if name != self._from:
                    self._go_over_to(name)
                self.has_printed = True
                if name == "program" and self._transcript is not None:
                    self._print_rows(self._transcript.feed(piece))
                else:
                    self._write(piece)
        self._flush()

    def finish(self) -> None:
        """Print what is left: nothing more will come."""
        if self._transcript is not None:
            self._print_rows(self._transcript.flush())

    def _print_rows(self, rows: Sequence[str]) -> None:
        for row in rows:
            self._write(f"{row}\n".encode())

    def _go_over_to(self, name: str) -> None:
        self._flush()
        self._from = name
        if self._options.json:
            return
        if not self._line_ended:
            click.echo()
            self._line_ended = True
        self._options.say(f"percyd: the {name} of attempt {self._found.attempt}:")

    def _flush(self) -> None:
        if self._rows is not None:
            self._rows.flush()

    def _show(self, row: str, ended: bool) -> None:
        from percyd.cli.untrusted import inert

        click.echo(inert(row), nl=ended)
        self._line_ended = ended

    def _print_json(self, row: str, _: bool) -> None:
        found = self._found
        head = {"task": found.task, "attempt": found.attempt}
        print_json({**head, "from": self._from, "text": row})
