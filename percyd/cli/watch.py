"""``percyd status --watch``: the same page again whenever something has changed."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, console, print_json
from percyd.cli.following import until_interrupted
from percyd.cli.refusal import refusal_lines
from percyd.core.edges import AgentStatus
from percyd.core.ids import AGENT_REFS, heartbeat_ref
from percyd.errors import PercydError, RemoteUnreachable, StateRefused
from percyd.views.digest import ROWS
from percyd.views.seen import Seen

if TYPE_CHECKING:
    from rich.console import Console

    from percyd.session import Percyd
    from percyd.state.follower import State

#: Between two looks, seconds: after a change, and how long it grows while nothing does.
SOON_S = 0.5
RARELY_S = 5.0
_SLOWER = 1.3
#: So often a page is cut again until it fits the window.
_TRIES = 6

#: Makes the document of a state, from it and from when agents were last seen.
Document = Callable[["State", dict[str, float]], dict[str, Any]]
#: Prints a document, with warnings and so many rows.
Page = Callable[["Console", dict[str, Any], Sequence[str], int], None]


@dataclass
class Sight:
    """What the last look has brought."""

    state: State
    #: What is wrong with the remote or its state, in lines.
    trouble: tuple[str, ...] = ()
    error: PercydError | None = None


class Watcher:
    """Looks at the remote, often while things change and rarely while they do not."""

    def __init__(self, percyd: Percyd, state: State) -> None:
        self._percyd = percyd
        self._seen = Seen()
        self._pause_s = SOON_S
        self.sight = Sight(state)

    def wait(self) -> None:
        """Let some time pass."""
        self._percyd.clock.wait(threading.Event(), self._pause_s)

    def look(self) -> bool:
        """Look again; true if there is something new to show."""
        before = self.sight
        try:
            state, found = self._percyd.look_again(_heartbeats(before.state))
        except RemoteUnreachable as error:
            self.sight = Sight(before.state, (str(error),), error)
        except StateRefused as error:
            self.sight = Sight(before.state, refusal_lines(error), error)
        else:
            beats = {
                ref.removeprefix(AGENT_REFS): oid
                for ref, oid in found.items()
                if ref.startswith(AGENT_REFS)
            }
            self._seen.note(beats, self._percyd.clock.boot_s())
            self.sight = Sight(state)
        now, then = self.sight, before
        changed = (now.state.tip, now.trouble) != (then.state.tip, then.trouble)
        slower_s = min(self._pause_s * _SLOWER, RARELY_S)
        self._pause_s = SOON_S if changed else slower_s
        return changed

    def ages(self) -> dict[str, float]:
        """Seconds since agents were last seen to beat."""
        return self._seen.ages(self._percyd.clock.boot_s())


def _heartbeats(state: State) -> list[str]:
    agents = state.snapshot.agents.values()
    return [heartbeat_ref(a.id) for a in agents if a.status is AgentStatus.JOINED]


def watch(
    options: Options, percyd: Percyd, state: State, document: Document, page: Page
) -> None:
    """Show the state until ^C, as the kind of output asks for."""
    watcher = Watcher(percyd, state)
    with until_interrupted():
        if options.json:
            _documents(watcher, document)
        elif sys.stdout.isatty():
            _screen(watcher, document, page)
        else:
            _pages(watcher, document, page)


def _documents(watcher: Watcher, document: Document) -> None:
    """One JSON document a line; what is wrong with the remote is one too."""
    print_json(document(watcher.sight.state, {}))
    while True:
        watcher.wait()
        if watcher.look():
            error = watcher.sight.error
            if error is None:
                print_json(document(watcher.sight.state, watcher.ages()))
            else:
                body = {"code": error.code, "message": error.message}
                print_json({"error": {**body, "hint": error.hint}})


def _pages(watcher: Watcher, document: Document, page: Page) -> None:
    """The page again, below the last one, whenever it has changed."""
    out = console()
    page(out, document(watcher.sight.state, {}), (), ROWS)
    while True:
        watcher.wait()
        if not watcher.look():
            continue
        if watcher.sight.trouble:
            first, *rest = watcher.sight.trouble
            click.echo("\n".join([f"percyd: {first}", *rest]), err=True)
        else:
            out.print()
            page(out, document(watcher.sight.state, watcher.ages()), (), ROWS)


def _screen(watcher: Watcher, document: Document, page: Page) -> None:
    """The page on the terminal's other screen, drawn anew in one go: no flicker."""
    from rich.live import Live
    from rich.text import Text

    out = console()
    kept = document(watcher.sight.state, {})
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            lines = fitting(out, kept, watcher.sight.trouble, page)
            live.update(Text.from_ansi("\n".join(lines)), refresh=True)
            watcher.wait()
            changed = watcher.look()
            if changed or watcher.ages():
                kept = document(watcher.sight.state, watcher.ages())


def fitting(
    out: Console, shown: dict[str, Any], trouble: Sequence[str], page: Page
) -> list[str]:
    """The lines of a page that fit the window: the most urgent rows of it."""
    width, height = out.size
    room = max(height - 1, 1)
    low, high = 1, min(ROWS, room)
    best: list[str] = []
    for _ in range(_TRIES):
        limit = (low + high + 1) // 2 if best else high
        drawn = _drawn(out, width, shown, trouble, page, limit)
        if len(drawn) <= room:
            best, low = drawn, limit
        else:
            best, high = best or drawn[:room], limit - 1
        if low >= high:
            break
    return best


def _drawn(
    out: Console,
    width: int,
    shown: dict[str, Any],
    trouble: Sequence[str],
    page: Page,
    limit: int,
) -> list[str]:
    """The lines of a page on a console like this one."""
    from rich.console import Console

    text = io.StringIO()
    system: Any = out.color_system
    like = Console(
        file=text,
        width=width,
        highlight=False,
        force_terminal=True,
        color_system=system,
        no_color=out.no_color,
        legacy_windows=False,
    )
    page(like, shown, trouble, limit)
    return text.getvalue().splitlines()
