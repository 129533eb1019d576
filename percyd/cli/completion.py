"""``percyd completion``: what a shell has to know."""

from __future__ import annotations

import click

from percyd.cli.common import Options, common, pass_options, print_json

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_PERCYD_COMPLETE"


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@common
@pass_options
@click.pass_context
def completion(ctx: click.Context, options: Options, shell: str) -> None:
    """Print the script that completes commands, options and ids in a shell.

    \b
    bash:  mkdir -p ~/.local/share/bash-completion/completions
           percyd completion bash > ~/.local/share/bash-completion/completions/percyd
    zsh:   percyd completion zsh > DIR/_percyd, with DIR in fpath
    fish:  mkdir -p ~/.config/fish/completions
           percyd completion fish > ~/.config/fish/completions/percyd.fish

    Ids are those of the last state that this clone has seen; nothing is asked of the
    remote.
    """  # noqa: D301 - click wants the character itself
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    script = found(ctx.find_root().command, {}, "percyd", _VARIABLE).source()
    if options.json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
