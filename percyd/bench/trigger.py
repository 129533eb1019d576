"""From a commit to the first program, and from a task's end to its dependent's start.

Real ``percyd serve`` and ``percyd worker`` processes, on a remote that is a folder. The
programs leave files whose times say when they began and ended.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from percyd.bench.lab import Lab
from percyd.bench.raw import beside
from percyd.bench.shop import WITHIN_S, Shop, open_shop
from percyd.bench.values import Row, Sample, Target
from percyd.core.ids import STATE_REF, plan_branch
from percyd.errors import PercydError
from percyd.repo.runner import Git

TITLE = "Triggers: from a commit to its program, from a task's end to the next one"
#: The longest pause of the poll: the default, and one that nothing may wait for.
POLLS_S = (15, 60)
#: So many pushes may it take, and so much more with the longer pause.
_PUSHES = 10
_SLOWER = 1.2
_CHAIN = 4
_PAUSE_S = 0.002


def measure(lab: Lab) -> list[Row]:
    """Both ways, with each pause of the poll; then between two processes."""
    began: dict[int, list[Sample]] = {}
    hopped: dict[int, list[Sample]] = {}
    for poll_s in POLLS_S:
        lab.say(f"trigger: poll of {poll_s} s at most")
        with open_shop(lab) as shop, shop.runs("serve", shop.clone, poll_s):
            began[poll_s], hopped[poll_s], _ = _plans(lab, shop)
    lab.say("trigger: two processes")
    with open_shop(lab) as shop, ExitStack() as held:
        for what, where in (("serve", shop.clone), ("worker", shop.clone_again("b"))):
            held.enter_context(shop.runs(what, where, 60, can=what))
        _, between, told = _plans(lab, shop, wants=("serve", "worker"))
    unit = "task's end to dependent's program"
    return [
        *_rows("commit", "commit to first program", began),
        *_rows("one process", unit, hopped),
        _row("two processes, poll 60 s", "completion to dependent's program", told),
        # With what the first process does before it completes, and its push.
        _row("two processes, end to start", unit, between),
    ]


def _rows(
    case: str, unit: str, samples: Mapping[int, Sequence[Sample]]
) -> Iterator[Row]:
    usual, rare = POLLS_S
    yield _row(f"{case}, poll {usual} s", unit, samples[usual])
    ratio = _median(samples[rare]) / _median(samples[usual])
    target = Target("of the time with the usual poll", ratio, _SLOWER)
    yield Row(f"{case}, poll {rare} s", unit, "one raw push", samples[rare], target, {})


def _row(case: str, unit: str, samples: Sequence[Sample]) -> Row:
    times = statistics.median(sample.times_raw for sample in samples)
    target = Target("times raw push", times, _PUSHES)
    return Row(case, unit, "one raw push", samples, target, {})


def _median(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.ms for sample in samples)


def _plan(shop: Shop, name: str, length: int, wants: Sequence[str]) -> list[Path]:
    """Commit a plan of a chain of tasks; answers the marks of their starts."""
    lines = [f"title: {name}", "tasks:"]
    starts = []
    for number in range(length):
        start = shop.marks / f"{name}-{number}"
        starts.append(start)
        lines += [
            f"  - id: t{number}",
            f"    title: t{number}",
            "    allow_empty: true",
            f"    run: ': > {start}; : > {start}.end'",
        ]
        if number:
            lines.append(f"    depends_on: [t{number - 1}]")
        if wants:
            lines.append(f"    specialization: [{wants[number % len(wants)]}]")
    shop.commit({f".percy/plans/{name}.yaml": "\n".join(lines) + "\n"})
    return starts


def _rest(shop: Shop) -> None:
    """Wait until nothing moves, and the poll is past its shortest pauses."""
    git = Git(shop.remote, environ=shop.environ)
    tip = None
    while tip != (tip := git.ref(STATE_REF)):
        threading.Event().wait(shop.lab.scale.quiet_s)


def _plans(
    lab: Lab, shop: Shop, wants: Sequence[str] = ()
) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """One plan after the other; the first ones only warm up.

    From the commit to the first program, from a task's end to its dependent's program,
    and from the moment at which its completion moved the integration branch.
    """
    began: list[Sample] = []
    hopped: list[Sample] = []
    told: list[Sample] = []
    for number in range(lab.scale.warm_ups + lab.scale.plans):
        _rest(shop)
        raw = lab.raw.run(2)
        starts = _plan(shop, f"p{number}", _CHAIN, wants)
        committed = lab.clock.boot_s()
        first = _seen(lab, starts[0])
        completed_ns = []
        for start in starts[1:]:
            _seen(lab, start)
            # The task that has just begun is not through yet: the last completion.
            moved = (shop.remote / plan_branch(f"p{number}")).stat()
            completed_ns.append(moved.st_mtime_ns)
        if number < lab.scale.warm_ups:
            continue
        raw += lab.raw.run(2)
        began.append(beside((first - committed) * 1000, raw))
        for before, after in pairwise(starts):
            ended = before.with_name(f"{before.name}.end")
            took_ns = after.stat().st_mtime_ns - ended.stat().st_mtime_ns
            hopped.append(beside(took_ns / 1e6, raw))
        for moved_ns, start in zip(completed_ns, starts[1:], strict=True):
            took_ns = start.stat().st_mtime_ns - moved_ns
            told.append(beside(took_ns / 1e6, raw))
    return began, hopped, told


def _seen(lab: Lab, mark: Path) -> float:
    """When a mark was there, on the boot clock."""
    give_up = lab.clock.boot_s() + WITHIN_S
    while not mark.exists():
        if lab.clock.boot_s() > give_up:
            raise PercydError(f"no program has begun within {WITHIN_S:g} s")
        threading.Event().wait(_PAUSE_S)
    return lab.clock.boot_s()
