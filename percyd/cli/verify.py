"""``percyd verify``: is what happened on ``percy/state`` what may happen there?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from percyd.cli.common import Options, common, finish_read, pass_options, print_json
from percyd.core.words import counted
from percyd.errors import PercydError, RemoteUnreachable, UnknownIdError, UsageError

if TYPE_CHECKING:
    from percyd.repo.hub import Hub
    from percyd.session import Percyd
    from percyd.state.follower import State
    from percyd.state.verify.report import Verified

_NAME = re.compile(r"[0-9a-f]{4,64}")


@click.command(short_help="Check the history of percy/state.")
@click.argument("commits", required=False, metavar="[RANGE]")
@common
@pass_options
def verify(options: Options, commits: str | None) -> int:
    """Check the history of percy/state against the format and the protocol.

    RANGE is A..B, A.. or a commit, and means what came after A, up to B; without one,
    all up to the remote's tip is checked. The exit code is 1 on any violation, also on one
    that a later repair has put right: A.. looks only at what came after that repair.
    """
    from percyd.state.kept import uncollected

    percyd = options.open()
    try:
        tip, old = _tip(percyd)
        # A walk makes no cycles, and looking for some takes a sixth of its time.
        with uncollected():
            found = _verified(percyd.hub, tip, commits, ask_remote=old is None)
    finally:
        percyd.close()
    if options.json:
        print_json(found.as_json())
    else:
        _print(options, found)
    if old is not None:
        finish_read(*old)
    return PercydError.exit_code if found.violations else 0


def _tip(percyd: Percyd) -> tuple[str, tuple[State, RemoteUnreachable] | None]:
    """The remote's tip, good or not; while it is down the last good one, and why.

    Raises:
        RemoteUnreachable: nothing is known from before either.
        NotInitialised: there is no state branch and never was.
        StateRefused: it was deleted, or what it has become cannot even be fetched.
    """
    try:
        tip = percyd.hub.fetch_state()
    except RemoteUnreachable as error:
        state = percyd.last_known()
        if state is None:
            raise
        return state.tip, (state, error)
    # A branch that is not there is refused, in the words of every other command.
    return tip or percyd.refresh().tip, None


def _verified(
    hub: Hub, newest: str, commits: str | None, *, ask_remote: bool
) -> Verified:
    from percyd.state.verify.walk import verify as walk

    start, dots, end = (commits or "").rpartition("..")
    after = _resolve(hub, start, newest) if dots and start else None
    tip = _resolve(hub, end, newest) if end else newest
    refs = hub if ask_remote and tip == newest else None
    return walk(hub.git, hub.reader, tip, after=after, refs=refs)


def _resolve(hub: Hub, name: str, newest: str) -> str:
    """The commit of the state branch that somebody has named."""
    from percyd.repo.objects import is_ancestor

    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r:.80} is no commit id", hint="see percyd log; A..B, A.. or A"
        )
    found = hub.reader.read(name)
    if (
        found is None
        or found[1] != "commit"
        or not is_ancestor(hub.git, found[0], newest)
    ):
        raise UnknownIdError(
            f"{name[:12]} is no commit of percy/state", hint="see percyd log"
        )
    return found[0]


def _print(options: Options, found: Verified) -> None:
    for violation in found.violations:
        click.echo(str(violation))
    commits = counted(found.commits, "commit")
    count = len(found.violations)
    if not count:
        click.echo(f"{commits}, no violation")
        return
    what = counted(count, "violation")
    if found.is_mended:
        last = found.violations[-1].mended_by
        options.say(
            f"percyd: {what} in {commits}, mended since: nothing is left to do; "
            f"percyd verify {last}.. looks at what follows"
        )
        return
    options.say(
        f"percyd: {what} in {commits}; they stay in the history: percyd doctor says "
        "what is to be mended, percyd verify COMMIT.. looks at what follows"
    )
