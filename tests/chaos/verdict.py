"""What must hold once all is well again, judged from outside with git and the system."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage
from tests.chaos.work import Work
from tests.support.checker import check

#: What a slot keeps: its clone, and the index files of its checkouts.
OWN = ("repo.git", ".percyd")
#: What percyd leaves on a remote (docs/state-format).
REFS = (
    *("refs/heads/main", "refs/heads/percy/state", "refs/heads/percy/plan/"),
    *("refs/heads/agent/", "refs/percy/agents/", "refs/percy/rescue/"),
)
Tasks = dict[str, dict[str, Any]]


def problems(stage: Stage, todo: Work, tasks: Tasks) -> Iterator[str]:
    """Everything that is wrong; nothing runs any more."""
    yield from check(stage.remote)
    verified = stage.percyd("verify")
    if verified.returncode != 0:
        yield f"percyd verify: {verified.returncode}: {verified.stdout} {verified.stderr}"
    yield from _fsck(stage)
    yield from ends(tasks, todo)
    yield from results(stage, tasks)
    yield from journal(stage, tasks)
    yield from leftovers(stage)


def _fsck(stage: Stage) -> Iterator[str]:
    said = stage.git(stage.remote, "fsck", "--full", "--no-dangling", "--no-progress")
    if said:
        yield f"git fsck: {said}"


def ends(tasks: Tasks, todo: Work) -> Iterator[str]:
    """Every task has ended as its program and the graph want it, for a reason."""
    if tasks.keys() != todo.ends.keys():
        yield f"tasks: {sorted(tasks.keys() ^ todo.ends.keys())}"
    for name, task in tasks.items():
        wanted, found = todo.ends[name], (task["status"], task["reason"])
        if found[0] != wanted or (found[1] is None) != (wanted == "completed"):
            yield f"{name} is {found}, and should be {wanted}"


def results(stage: Stage, tasks: Tasks) -> Iterator[str]:
    """What a completed task made is on its plan's branch once, and nothing else is."""
    merged: list[str] = []
    lines: dict[str, str] = {}
    for plan in sorted({task["plan"] for task in tasks.values()}):
        branch = f"percy/plan/{plan}"
        trailer = "--format=%(trailers:key=Percy-Task,valueonly)"
        log = stage.git(stage.remote, "log", "--first-parent", trailer, branch)
        merged += log.split()
        tree = stage.git(stage.remote, "ls-tree", "-r", "--name-only", branch)
        for path in tree.splitlines():
            if path.startswith("out/"):
                lines[path[4:]] = stage.git(stage.remote, "show", f"{branch}:{path}")
    completed = {name for name, task in tasks.items() if task["status"] == "completed"}
    if sorted(merged) != sorted(completed):
        yield f"merged: {sorted((Counter(merged) - Counter(completed)).elements())}"
        yield f"not merged: {sorted(completed - set(merged))}"
    ran = {" ".join(words[1:4]) for words in _notes(stage) if words[0] == "end"}
    for name in sorted(completed | lines.keys()):
        wanted = f"{name} {tasks[name]['attempt']} "
        line = lines.get(name, "")
        if not line.startswith(wanted) or line not in ran or name not in completed:
            yield f"{name}: {line!r} on the branch, attempt {wanted!r} completed"


def _notes(stage: Stage) -> list[list[str]]:
    return [line.split() for line in stage.journal.read_text().splitlines()]


def journal(stage: Stage, tasks: Tasks) -> Iterator[str]:
    """No program ran twice for one attempt, none for an attempt that there is not."""
    begun: Counter[tuple[str, int]] = Counter()
    for what, name, attempt, *_ in _notes(stage):
        begun[(name, int(attempt))] += what == "start"
    for (name, number), times in begun.items():
        if times != 1:
            yield f"{name}, attempt {number}: {times} programs"
        if not 1 <= number <= tasks[name]["attempt"]:
            yield f"{name}: a program for attempt {number}"


def leftovers(stage: Stage) -> Iterator[str]:
    """Worktrees, locks, half-made things, refs and processes that nobody owns."""
    state, remote = stage.state, stage.remote
    for path in state.glob("*/slots/*/*"):
        if path.name not in OWN:
            yield f"left: {path}"
    for path in (*state.rglob("*.lock"), *remote.rglob("*.lock")):
        if path.parent.name != "locks":
            yield f"lock: {path}"
    # Since git 2.39 a receive-pack that dies of a signal, as it does when it has to tell
    # something to a pusher who is gone, leaves its quarantine to git's own clean-up.
    died = _deaths(stage)
    for path in _without_a_death(remote.glob("objects/*incoming*"), died):
        yield f"quarantine of no push that died there, of {died}: {path}"
    stage.git(remote, "prune", "--expire=now")
    for path in remote.glob("objects/*incoming*"):
        yield f"quarantine that git does not clear: {path}"
    refs = stage.git(remote, "for-each-ref", "--format=%(refname)").splitlines()
    for ref in refs:
        if not ref.startswith(REFS):
            yield f"ref: {ref}"
    for process in stage.processes():
        yield f"process {process.pid}: {process.name()}"


def _deaths(stage: Stage) -> list[tuple[float, float]]:
    """From when to when those pushes were on the remote that a signal ended there."""
    found = []
    for path in stage.traces.iterdir():
        trace = [json.loads(line) for line in path.read_text().splitlines()]
        starts = [e for e in trace if e["event"] == "start"]
        is_push = any("receive-pack" in e["argv"] for e in starts)
        if is_push and any(e["event"] == "signal" for e in trace):
            times = [datetime.fromisoformat(e["time"]).timestamp() for e in trace]
            found.append((min(times), max(times)))
    return found


def _without_a_death(
    quarantines: Iterable[Path], deaths: Sequence[tuple[float, float]]
) -> Iterator[Path]:
    """The quarantines that no push can have left: each push leaves one, of its own time."""
    free = sorted(deaths, key=lambda times: times[1])
    for changed_s, path in sorted((path.stat().st_mtime, path) for path in quarantines):
        mine = next((t for t in free if t[0] <= changed_s <= t[1]), None)
        if mine is None:
            yield path
        else:
            free.remove(mine)


def statistics(tasks: Tasks) -> dict[str, int]:
    """How many attempts have ended in which way."""
    attempts = [attempt for task in tasks.values() for attempt in task["attempts"]]
    return dict(Counter(attempt["outcome"] for attempt in attempts))
