"""From a commit to the first program, and from a task's end to its dependent's start.

Real ``percyd serve`` and ``percyd worker`` processes, on a remote that is a folder. The
programs leave files whose times say when they began and ended.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

from percyd.bench.children import Command, command
from percyd.bench.lab import BASE_REF, Lab
from percyd.bench.raw import WHO, bare, beside
from percyd.bench.values import Row, Sample, Target
from percyd.core.ids import STATE_REF
from percyd.errors import PercydError
from percyd.repo.runner import Git

TITLE = "Triggers: from a commit to its program, from a task's end to the next one"
#: The longest pause of the poll: the default, and one that nothing may wait for.
POLLS_S = (15, 60)
#: So many pushes may it take, and so much more with the longer pause.
_PUSHES = 10
_SLOWER = 1.2
_CHAIN = 4
_WITHIN_S = 60.0
_PAUSE_S = 0.002


def measure(lab: Lab) -> list[Row]:
    """Both ways, with each pause of the poll; then between two processes."""
    began: dict[int, list[Sample]] = {}
    hopped: dict[int, list[Sample]] = {}
    for poll_s in POLLS_S:
        lab.say(f"trigger: poll of {poll_s} s at most")
        with _shop(lab) as shop, shop.runs("serve", shop.clone, poll_s):
            began[poll_s], hopped[poll_s] = _plans(lab, shop)
    lab.say("trigger: two processes")
    with _shop(lab) as shop, ExitStack() as held:
        for what, where in (("serve", shop.clone), ("worker", shop.clone_again("b"))):
            held.enter_context(shop.runs(what, where, 60, can=what))
        _, between = _plans(lab, shop, wants=("serve", "worker"))
    return [
        *_rows("commit", "commit to first program", began),
        *_rows("one process", "task's end to dependent's program", hopped),
        _row("two processes, poll 60 s", "task's end to dependent's program", between),
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


@dataclass
class _Shop:
    """A clone, its remote on this machine, percyd set up; the marks of its tasks."""

    lab: Lab
    folder: Path
    environ: Mapping[str, str]
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def clone(self) -> Path:
        """Where plans are committed."""
        return self.folder / "clone"

    @property
    def marks(self) -> Path:
        """What the programs leave."""
        return self.folder / "marks"

    @property
    def remote(self) -> Path:
        """The bare repository."""
        return self.folder / "remote.git"

    def set_up(self) -> None:
        """Make all of it."""
        self.marks.mkdir(parents=True)
        self.clone.mkdir()
        bare(self.remote, self.environ)
        git = self._git(self.clone)
        git.run("init", "--quiet", "--template=", "--initial-branch=main")
        git.run("config", "core.bare", "false")
        git.run("remote", "add", "origin", str(self.remote))
        self.commit({"README.md": "hello\n"})
        self._push(git)
        with command(["init", "--no-hooks"], self.clone, self.environ) as made:
            made.wait(_WITHIN_S)
        config = 'base = "main"\n'
        self.commit({".percy/config.toml": config})
        self._push(git)

    def clone_again(self, name: str) -> Path:
        """Another clone, as of another machine."""
        path = self.folder / name
        git = self._git(path)
        git.run("clone", "--quiet", str(self.remote), str(path), network=True)
        return path

    def _git(self, path: Path) -> Git:
        return Git(path / ".git", environ=self.environ)

    def _push(self, git: Git) -> None:
        git.run("push", "--quiet", str(self.remote), f"HEAD:{BASE_REF}", network=True)

    def commit(self, files: Mapping[str, str]) -> None:
        """Commit files as a person would."""
        git = self._git(self.clone)
        for name, text in files.items():
            path = self.clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git.run("add", "--all", work_tree=self.clone)
        git.run("commit", "-q", "-m", "more", work_tree=self.clone, extra_env=WHO)

    @contextmanager
    def runs(
        self, what: str, clone: Path, poll_s: float, can: str = ""
    ) -> Iterator[Command]:
        """A process of percyd's, ready to work."""
        environ = {**self.environ, "PERCYD_WATCH__POLL_S": str(poll_s)}
        environ["PERCYD_WORKER__CAPABILITIES"] = can
        with command([what], clone, environ) as process:
            process.hear("watching", _WITHIN_S)
            yield process

    def plan(self, length: int, wants: Sequence[str]) -> list[Path]:
        """Commit a plan of a chain of tasks; answers the marks of their starts."""
        name = f"p{next(self._numbers)}"
        lines = [f"title: {name}", "tasks:"]
        starts = []
        for number in range(length):
            start = self.marks / f"{name}-{number}"
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
        self.commit({f".percy/plans/{name}.yaml": "\n".join(lines) + "\n"})
        return starts

    def rest(self) -> None:
        """Wait until nothing moves, and the poll is past its shortest pauses."""
        git = Git(self.remote, environ=self.environ)
        tip = None
        while tip != (tip := git.ref(STATE_REF)):
            threading.Event().wait(self.lab.scale.quiet_s)


@contextmanager
def _shop(lab: Lab) -> Iterator[_Shop]:
    folder = lab.new_folder()
    state = {"PERCYD_STATE_DIR": str(folder / "state")}
    shop = _Shop(lab, folder, {**lab.environ, **state})
    shop.set_up()
    yield shop


def _plans(
    lab: Lab, shop: _Shop, wants: Sequence[str] = ()
) -> tuple[list[Sample], list[Sample]]:
    """One plan after the other; the first ones only warm up."""
    began: list[Sample] = []
    hopped: list[Sample] = []
    for number in range(lab.scale.warm_ups + lab.scale.plans):
        shop.rest()
        raw = lab.raw.run(2)
        starts = shop.plan(_CHAIN, wants)
        committed = lab.clock.boot_s()
        first = _seen(lab, starts[0])
        for start in starts[1:]:
            _seen(lab, start)
        if number < lab.scale.warm_ups:
            continue
        raw += lab.raw.run(2)
        began.append(beside((first - committed) * 1000, raw))
        for before, after in pairwise(starts):
            ended = before.with_name(f"{before.name}.end")
            took_ns = after.stat().st_mtime_ns - ended.stat().st_mtime_ns
            hopped.append(beside(took_ns / 1e6, raw))
    return began, hopped


def _seen(lab: Lab, mark: Path) -> float:
    """When a mark was there, on the boot clock."""
    give_up = lab.clock.boot_s() + _WITHIN_S
    while not mark.exists():
        if lab.clock.boot_s() > give_up:
            raise PercydError(f"no program has begun within {_WITHIN_S:g} s")
        threading.Event().wait(_PAUSE_S)
    return lab.clock.boot_s()
