"""``percyd bench``: what the protocol costs here, beside plain git."""

from __future__ import annotations

import os
import signal

import click

from percyd.cli.common import Options, common, pass_options


@click.command(short_help="Measure percyd beside plain git.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="A short look; its numbers mean little.")
@common
@pass_options
def bench(options: Options, names: tuple[str, ...], quick: bool) -> None:
    """Measure percyd in a temporary folder, each number beside a plain git push.

    NAME is transitions, claims, one-task, dispatch, trigger, throughput or growth;
    without one, all are measured, which takes some minutes.
    """
    from percyd.bench.suite import BENCHMARKS, run
    from percyd.cli.bench_show import render_bench
    from percyd.errors import UsageError

    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise UsageError(
            f"there is no benchmark {unknown[0]!r:.80}",
            hint=f"one of {', '.join(BENCHMARKS)}",
        )
    # What is under way is ended, and the folder removed, on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    report = run(
        list(dict.fromkeys(names or BENCHMARKS)),
        os.environ,
        lambda text: options.say(f"percyd: {text}"),
        quick=quick,
    )
    document = report.as_json()
    options.show(document, lambda console: render_bench(console, document))
