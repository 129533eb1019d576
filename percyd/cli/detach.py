"""``percyd serve --detach``: the daemon in a session of its own, and a word from it.

The same command line runs again, with a pipe in place of ``--detach``. Until it is up
the daemon writes to our terminal, so that whatever is wrong is told as ever; then it
says so through the pipe, and lets go of the terminal.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from percyd.cli.common import Options, print_json

DETACH = "--detach"
READY_FD = "--ready-fd"


def start_detached(options: Options) -> int:
    """Start the daemon; answers once it is up, or has ended: with its exit code."""
    import click

    reading, writing = os.pipe()
    words = [f"{READY_FD}={writing}" if w == DETACH else w for w in sys.argv[1:]]
    # -P: a folder that holds modules of its own must not get in the way.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "percyd", *words],
        stdin=subprocess.DEVNULL,
        pass_fds=[writing],
        start_new_session=True,
    )
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="surrogateescape") as pipe:
        try:
            said = pipe.read()
        except KeyboardInterrupt:
            process.terminate()
            raise
    if not said:
        return _code(process.wait())
    log = said.rstrip("\n")
    if options.json:
        print_json({"pid": process.pid, "log": log})
    else:
        click.echo(f"percyd runs: process {process.pid}, log {log}")
    # It goes on without us; its end is nothing that we wait for.
    process.returncode = 0
    return 0


def _code(code: int) -> int:
    """The exit code of a daemon that a signal has ended is the shell's for it."""
    return code if code >= 0 else 128 - code


def let_go_of_the_terminal(ready_fd: int, log: Path) -> None:
    """In the daemon: say that it is up, and write to nobody's terminal any more.

    What the interpreter itself may say from now on is kept in a file beside the log.
    """
    errors = os.open(f"{log}.err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for fd in (sys.stdout.fileno(), sys.stderr.fileno()):
        os.dup2(errors, fd)
    os.close(errors)
    with os.fdopen(ready_fd, "w", encoding="utf-8", errors="surrogateescape") as pipe:
        pipe.write(f"{log}\n")
