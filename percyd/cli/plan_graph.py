"""``percyd plan graph``: what waits for what, as a drawing."""

from __future__ import annotations

import click

from percyd.cli.common import Options, common, pass_options, print_json, reading
from percyd.cli.names import plan_ids

#: Many forges draw no Mermaid graph that is larger than its own defaults.
_MERMAID_EDGES, _MERMAID_CHARS = 500, 50_000


@click.command()
@click.argument("plan_id", metavar="ID", shell_complete=plan_ids)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["mermaid", "dot", "svg"]),
    default="mermaid",
    show_default=True,
    help="mermaid for Markdown, dot for Graphviz, svg needs no other program.",
)
@common
@pass_options
def graph(options: Options, plan_id: str, format_: str) -> None:
    """Print the graph of a plan's tasks, coloured by status."""
    from percyd.views.drawing import FORMATS
    from percyd.views.show import need_plan

    with reading(options) as (_, state, _):
        plan = need_plan(state.snapshot, plan_id)
        text = FORMATS[format_](plan)
        if options.json:
            print_json({"plan": plan_id, "format": format_, "graph": text})
        else:
            click.echo(text, nl=False)
        edges = text.count(" --> ")
        if format_ == "mermaid" and (
            edges > _MERMAID_EDGES or len(text) > _MERMAID_CHARS
        ):
            options.say(
                f"percyd: {edges:,} edges, {len(text):,} characters: many viewers draw "
                f"no Mermaid graph above {_MERMAID_EDGES} and {_MERMAID_CHARS:,}; "
                "use --format svg"
            )
