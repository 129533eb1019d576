"""``percyd init``: the root of the state branch, and the files to commit."""

from __future__ import annotations

from pathlib import Path

import click

from percyd.cli.common import Options, common, pass_options, print_json
from percyd.cli.hook import show_lines
from percyd.errors import UsageError

_IGNORE = "local.toml\n"


@click.command()
@click.option("--base", metavar="BRANCH", help="The branch that plans start from.")
@click.option(
    "--runner",
    metavar="PROGRAM",
    help="The program that does the tasks; default: the first coding agent found.",
)
@click.option("--no-hooks", is_flag=True, help="Install no git hooks.")
@common
@pass_options
def init(
    options: Options, base: str | None, runner: str | None, no_hooks: bool
) -> None:
    """Set percyd up in this repository. Again: only adds what is missing.

    Makes the branch percy/state on the remote, writes .percy/config.toml, .percy/plans
    and .percy/.gitignore for you to commit, and installs the git hooks. In a bare
    repository it makes the branch and installs post-receive, and writes nothing else.
    """
    from percyd.config import COMMITTED, template
    from percyd.hooking import Hooks, install_quietly

    percyd = options.open()
    try:
        branch = percyd.initialise(base)
    finally:
        percyd.close()
    written: list[str] = []
    if percyd.clone.work_tree is not None:
        files = {
            COMMITTED: template(branch, _runners(runner, percyd.environ.get("PATH"))),
            ".percy/plans/.gitkeep": "",
            ".percy/.gitignore": _IGNORE,
        }
        written = _write_missing(percyd.clone.work_tree, files)
    hooks = Hooks.of(percyd.clone, percyd.environ)
    installed, problem = ([], "") if no_hooks else install_quietly(hooks)
    if options.json:
        remote = percyd.remote.url
        hooked = {"installed": installed, "problem": problem or None}
        print_json(
            {"base": branch, "remote": remote, "written": written, "hooks": hooked}
        )
        return
    click.echo(f"percyd is set up: branch percy/state on {percyd.remote.url}")
    for name in written:
        click.echo(f"  wrote {name}")
    for name in installed:
        click.echo(f"  installed the hook {hooks.folder.path / name}")
    if problem:
        options.say(f"percyd: no hooks: {problem}")
    elif not no_hooks:
        show_lines(options, hooks)
    if written:
        push = "" if percyd.remote.is_local else " && git push"
        click.echo("Next, commit it:")
        click.echo(f'  git add .percy && git commit -m "Set up percyd"{push}')
        click.echo("Then put a plan file into .percy/plans, commit it and run:")
        click.echo("  percyd serve")


def _runners(wanted: str | None, path: str | None) -> dict[str, list[str]]:
    """The runners to set up, the default one first: what is wanted, and what is there."""
    from percyd.runners.registry import installed

    found = {name: [name] for name in installed(path)}
    return {wanted: [wanted], **found} if wanted else found


def _write_missing(top: Path, files: dict[str, str]) -> list[str]:
    written = []
    for name, content in files.items():
        path = top / name
        if path.exists() or path.is_symlink():
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"cannot write {path}: {error.strerror}",
                hint="make it writable and run percyd init again",
            ) from error
        written.append(name)
    return written
