"""What every command has: options before and after its name, output, errors (CLI 1)."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from percyd.errors import PercydError, RemoteUnreachable, UnknownPlan

if TYPE_CHECKING:
    from rich.console import Console

    from percyd.session import Percyd
    from percyd.state.follower import State

F = TypeVar("F", bound=Callable[..., Any])

#: The longest line of an error; what is in the middle of a longer one is left out.
_LINE_CHARS = 1400


@dataclass
class Options:
    """The options that every command takes."""

    directory: Path | None = None
    json: bool = False
    verbose: bool = False
    quiet: bool = False

    def open(
        self, flags: Mapping[str, object] | None = None, *, in_workspace: bool = False
    ) -> Percyd:
        """Percyd in the clone that the command is about."""
        from percyd.session import Percyd

        return Percyd.open(
            self.directory or Path.cwd(), os.environ, flags, in_workspace=in_workspace
        )

    def say(self, text: str) -> None:
        """A line for people, on stderr: never data."""
        if not self.quiet:
            click.echo(text, err=True)

    def show(self, document: object, render: Callable[[Console], None]) -> None:
        """Data on stdout: as JSON, or as people like to read it."""
        if self.json:
            print_json(document)
        else:
            render(console())


#: For readers that are no terminal: grep wants its lines whole.
_PIPE_WIDTH = 200


def console() -> Console:
    """Standard output as rich sees it: no colour unless it is a terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    return Console(highlight=False, width=width)


def print_json(document: object) -> None:
    """One JSON document on a line of its own."""
    click.echo(json.dumps(document, ensure_ascii=False))


def common(command: F) -> F:
    """Add ``--json -C -v -q``, which work before and after a command's name."""

    def store(name: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
        def callback(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
            if value:
                setattr(ctx.ensure_object(Options), name, value)
            return value

        return callback

    options = [
        click.option(
            "--json",
            "json_",
            is_flag=True,
            expose_value=False,
            callback=store("json"),
            help="Print JSON: one document, or one a line.",
        ),
        click.option(
            "-C",
            "directory",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            expose_value=False,
            callback=store("directory"),
            metavar="DIR",
            help="Run as if started in DIR.",
        ),
        click.option(
            "-v",
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=store("verbose"),
            help="Say more, on stderr.",
        ),
        click.option(
            "-q",
            "--quiet",
            is_flag=True,
            expose_value=False,
            callback=store("quiet"),
            help="Say nothing but errors.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def pass_options(command: F) -> Callable[..., Any]:
    """Hand the command its `Options`."""

    @click.pass_context
    @functools.wraps(command)
    def wrapper(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        return command(ctx.ensure_object(Options), *args, **kwargs)

    return wrapper


@contextmanager
def opened(options: Options, *, in_workspace: bool = False) -> Iterator[Percyd]:
    """Percyd in the clone that the command is about, closed at the end."""
    percyd = options.open(in_workspace=in_workspace)
    try:
        yield percyd
    except UnknownPlan as error:
        raise _with_its_file(percyd, error) from None
    finally:
        percyd.close()


def _with_its_file(percyd: Percyd, error: UnknownPlan) -> UnknownPlan:
    """The same error; where there is a file for that plan, how it comes to be one."""
    from percyd.core.document.names import FOLDER, is_plan_file, plan_id_of

    top = percyd.clone.work_tree
    folder = top / FOLDER if top else None
    for path in sorted(folder.glob("*")) if folder else ():
        if is_plan_file(path.name) and plan_id_of(path.name)[0] == error.plan:
            file = f"{FOLDER}/{path.name}"
            return UnknownPlan(
                error.message,
                error.plan,
                f"{file} is there and not taken in: percyd plan check {file} says what "
                "is wrong with it; once it is committed, percyd serve takes it in",
            )
    return error


@contextmanager
def reading(
    options: Options, *, in_workspace: bool = False
) -> Iterator[tuple[Percyd, State, bool]]:
    """Percyd and the newest state; while the remote is down, the last known one.

    The third value says whether the state is new. If it is not, the command ends with
    a line that says how old it is, and exit code 3.

    Raises:
        RemoteUnreachable: nothing is known from before either.
    """
    with opened(options, in_workspace=in_workspace) as percyd:
        error: RemoteUnreachable | None = None
        try:
            state = percyd.look()
        except RemoteUnreachable as unreachable:
            known = percyd.last_look()
            if known is None:
                raise
            state, error = known, unreachable
        yield percyd, state, error is None
    if error is not None:
        finish_read(state, error)


def finish_read(state: State, error: RemoteUnreachable) -> NoReturn:
    """After a read of old state: say how old it is, and exit with 3."""
    read_at = f"{state.read_at:%F %T} UTC"
    click.echo(
        f"percyd: {error.message}; shown is the last known state, read {read_at}",
        err=True,
    )
    raise click.exceptions.Exit(error.exit_code)


def fail(error: PercydError, *, as_json: bool) -> int:
    """Tell what went wrong in one line; answers the exit code."""
    if as_json:
        body = {"code": error.code, "message": error.message, "hint": error.hint}
        print_json({"error": body})
    else:
        for line in f"percyd: {error}".split("\n"):
            click.echo(_harmless(line), err=True)
    return error.exit_code


def _harmless(line: str) -> str:
    """A line that may have a person's own words in it, or those of a remote."""
    from percyd.views.inert import plain

    middle = " ... "
    half = (_LINE_CHARS - len(middle)) // 2
    text = plain(line)
    return text if len(text) <= _LINE_CHARS else text[:half] + middle + text[-half:]


def run_guarded(act: Callable[[], int | None]) -> int:
    """Run a whole command line; every error becomes one line and an exit code."""
    as_json = "--json" in sys.argv
    try:
        return act() or 0
    except PercydError as error:
        return fail(error, as_json=as_json)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.Abort:
        return 130
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except click.ClickException as error:
        return fail(_usage(error), as_json=as_json)
    except BrokenPipeError:
        # The reader of our output has gone, as in `percyd log | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        what = f"{type(error).__name__}: {error}"
        unexpected = PercydError(
            f"percyd itself failed: {what:.300}", hint=_where_it_broke(error)
        )
        return fail(unexpected, as_json=as_json)


def _where_it_broke(error: Exception) -> str:
    """With ``-v`` the traceback goes to a log file (CLI 1): where it is, what to do."""
    if "-v" not in sys.argv and "--verbose" not in sys.argv:
        return "-v writes where to a log file; please report it"
    from percyd.cli.logs import keep_traceback
    from percyd.home import state_root

    try:
        kept = keep_traceback(state_root(os.environ), error)
    except PercydError:
        kept = None
    return f"{kept or 'no log file'} says where; please report it"


def _usage(error: click.ClickException) -> PercydError:
    from percyd.errors import UsageError

    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = f"see {context.command_path} --help" if context else "see percyd --help"
    message = error.format_message()
    if isinstance(error, click.NoSuchOption | click.NoSuchCommand):
        message = error.message
        if error.possibilities:
            hint = f"did you mean {error.possibilities[0]}? {hint.capitalize()}"
    return UsageError(message.rstrip(".").replace("\n", " "), hint=hint)
