"""``percyd rescue``: unpublished work that was kept, seen and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from percyd.cli.common import Options, common, pass_options, print_json, reading

if TYPE_CHECKING:
    from rich.console import Console

    from percyd.cli.tables import Json
    from percyd.core.snapshot import Snapshot
    from percyd.session import Percyd
    from percyd.views.rescues import Kept


@click.group()
@common
def rescue() -> None:
    """See work that was kept unpublished, and make branches of it.

    Every attempt that does not complete leaves what it made on a ref of its own,
    refs/percy/rescue/TASK/ATTEMPT. Nothing removes it.
    """


@rescue.command(name="list")
@common
@pass_options
def list_(options: Options) -> None:
    """List what is kept, of all tasks.

    That is what is on the remote's rescue refs, and results that this machine alone has.
    """
    from percyd.views.archived import with_all_archived
    from percyd.views.rescues import row

    with reading(options) as (percyd, state, is_new):
        snapshot = with_all_archived(percyd.hub.reader, state)
        found = _all(percyd, snapshot, is_new=is_new)
        rows = [row(percyd.hub, snapshot, kept) for kept in found]
        options.show({"rescues": rows}, lambda c: _render_list(c, rows))


@rescue.command()
@click.argument("name", metavar="TASK/ATTEMPT")
@click.option("--patch", "-p", is_flag=True, help="The whole diff, not only its size.")
@common
@pass_options
def show(options: Options, name: str, patch: bool) -> None:
    """Show the commits of one attempt's work, and what they change."""
    from percyd.cli import patches
    from percyd.views.archived import with_all_archived
    from percyd.views.rescues import commits_of, find, row

    with reading(options) as (percyd, state, is_new):
        snapshot = with_all_archived(percyd.hub.reader, state)
        kept = find(_all(percyd, snapshot, is_new=is_new), name)
        git = percyd.hub.git
        about = row(percyd.hub, snapshot, kept)
        base = about["base"]
        commits = [_commit_json(c) for c in commits_of(percyd.hub, base, kept)]
        if options.json:
            files = patches.files_json(git, base, kept.commit) if base else None
            document = {**about, "log": commits, "changes": files}
            if patch and base:
                patches.print_json_patch(document, git, base, kept.commit)
            else:
                print_json(document)
            return
        options.show(about, lambda c: _render_one(c, about, commits))
        if base:
            click.echo()
            print_diff = patches.print_patch if patch else patches.print_stat
            print_diff(git, base, kept.commit)


@rescue.command()
@click.argument("name", metavar="TASK/ATTEMPT")
@click.argument("branch", required=False, metavar="[BRANCH]")
@common
@pass_options
def restore(options: Options, name: str, branch: str | None) -> None:
    """Make a branch of one attempt's work in this repository.

    The branch is new, by default rescue/TASK/ATTEMPT. Your checkout, index and other
    branches stay as they are.
    """
    from percyd.repo.newbranch import make_branch
    from percyd.session import BLOCKING
    from percyd.views.archived import with_all_archived
    from percyd.views.rescues import base_of, find

    with reading(options) as (percyd, state, is_new):
        snapshot = with_all_archived(percyd.hub.reader, state)
        kept = find(_all(percyd, snapshot, is_new=is_new), name)
        chosen = branch or f"rescue/{kept.key}"
        make_branch(percyd.clone, percyd.hub.path, kept.commit, chosen, BLOCKING)
        base = base_of(percyd.hub, snapshot, kept)
        since = f"{base[:10]}..{chosen}" if base else f"-1 {chosen}"
        if options.json:
            print_json({"branch": chosen, "commit": kept.commit, "base": base})
            return
        click.echo(f"branch {chosen} is at {kept.commit[:10]}: {kept.key}")
        click.echo(f"  git log -p {since}")
        click.echo(f"  git merge {chosen}")


def _all(percyd: Percyd, snapshot: Snapshot, *, is_new: bool) -> list[Kept]:
    """All that is kept, its objects here; while the remote is down what was seen."""
    from percyd.views import rescues

    hub = percyd.hub
    if is_new:
        found = rescues.bring(hub, snapshot, rescues.on_remote(hub))
    else:
        found = rescues.seen_before(hub)
    pins = rescues.pinned_here(hub, found)
    return [*found, *(rescues.bring(hub, snapshot, pins) if is_new else pins)]


def _commit_json(commit: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    from percyd.views.times import as_text

    return {
        "commit": commit.commit,
        "subject": commit.subject,
        "author": commit.author,
        "time": as_text(datetime.fromtimestamp(commit.when_s, UTC)),
    }


def _render_list(console: Console, rows: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from percyd.cli.tables import line, moment, styled, table, word

    if not rows:
        line(console, Text("nothing is kept: no attempt has left unpublished work"))
    table(
        console,
        [
            [
                styled(f"{row['task']}/{row['attempt']}"),
                word(row["outcome"] or "unknown"),
                Text(moment(row["when"])),
                Text(_size(row)),
                styled("only on this machine", "bold yellow")
                if row["only_here"]
                else styled(f"by {row['agent']}" if row["agent"] else ""),
            ]
            for row in rows
        ],
    )


def _size(row: Json) -> str:
    from percyd.cli.tables import several

    if row["files"] is None:
        return "of unknown size"
    return f"{several(row['commits'], 'commit')}, {several(row['files'], 'file')}"


def _render_one(console: Console, row: Json, commits: list[dict[str, Any]]) -> None:
    from rich.text import Text

    from percyd.cli.tables import (
        brief,
        facts,
        joined,
        line,
        moment,
        reason_text,
        styled,
        word,
    )

    title = [styled(f"{row['task']}/{row['attempt']}", "bold")]
    line(console, joined([*title, word(row["outcome"] or "unknown")]))
    facts(
        console,
        [
            ("agent", styled(row["agent"] or "")),
            ("reason", reason_text(row["reason"])),
            ("kept in", styled(row["ref"])),
            ("from", Text(brief(row["base"]))),
            ("commit", Text(brief(row["commit"]))),
            ("size", Text(_size(row))),
        ],
    )
    console.print()
    for commit in commits:
        head = [Text(brief(commit["commit"]), "dim"), Text(moment(commit["time"]))]
        line(console, joined([*head, styled(commit["subject"])]))
