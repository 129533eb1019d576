"""What a coding program is told: the texts of `percyd/prompts`, filled in.

The only place where prompts are made. What people or programs have written is always
data between tags, and the tags are chosen so that no text can close its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from percyd.core.document.problems import escaped
from percyd.core.ids import short_ref
from percyd.core.records import Plan, Task, Verdict
from percyd.core.words import counted
from percyd.errors import InvalidConfig

#: Where a repository puts its own in place of percyd's.
FOLDER = ".percy/prompts"
NAMES = ("worker", "fix-gate", "resolve-conflict", "resume", "review")
_VALUE = re.compile(r"\{\{([a-z_]+)\}\}")
#: A prompt without these would leave out what it is for.
_NEEDED = {name: "task" for name in NAMES if name != "resume"} | {"resume": "commit"}
_FILE_BYTES = 256 * 1024
#: So many files of a dependency are named.
_FILES_SHOWN = 50
_SUMMARY_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Done:
    """What a task that was depended on did."""

    task: Task
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Prompts:
    """The texts by name: percyd's own, and what a repository has in their place."""

    own: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, top: Path | None) -> Prompts:
        """The prompts of the repository with the work tree ``top``.

        Raises:
            InvalidConfig: one of its files cannot be used; names all that is wrong.
        """
        folder = top / FOLDER if top else None
        if folder is None or not folder.is_dir():
            return cls()
        problems: list[str] = []
        own = {}
        for path in sorted(folder.glob("*.md")):
            where = f"{FOLDER}/{path.name}"
            if path.stem not in NAMES:
                known = ", ".join(NAMES)
                problems.append(f"{where}: is no prompt of percyd's; there are {known}")
                continue
            try:
                text = own[path.stem] = _read(path)
            except (OSError, ValueError) as error:
                problems.append(f"{where}: cannot be read: {error}")
            else:
                problems += [f"{where}:{p}" for p in _problems(path.stem, text)]
        if problems:
            raise InvalidConfig("\n".join(problems))
        return cls(own)

    def fill(self, name: str, values: Mapping[str, str]) -> str:
        """A prompt with its values in their places; parts without a value go."""
        text = self.own.get(name) or _ours(name)
        filled = _VALUE.sub(lambda found: values.get(found[1], ""), text)
        return re.sub(r"\n{3,}", "\n\n", filled).strip() + "\n"


def _read(path: Path) -> str:
    if path.stat().st_size > _FILE_BYTES:
        raise ValueError(f"is larger than {_FILE_BYTES} bytes")
    return path.read_text(encoding="utf-8")


def _problems(name: str, text: str) -> Iterable[str]:
    known = set(_VALUE.findall(_ours(name)))
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        for value in _VALUE.findall(line):
            found.add(value)
            if value not in known:
                there = ", ".join(sorted(known))
                yield f"{number}: {{{{{escaped(value)}}}}} is no value; there are {there}"
    if (needed := _NEEDED[name]) not in found:
        yield f"1: has no {{{{{needed}}}}}, without which it is for nothing"


@cache
def _ours(name: str) -> str:
    return (files("percyd") / "prompts" / f"{name}.md").read_text(encoding="utf-8")


def block(tag: str, text: str) -> str:
    """Text as data: between tags that it does not hold itself, in any writing."""
    while re.search(rf"</\s*{re.escape(tag)}\s*>", text, re.IGNORECASE):
        tag += "-"
    return f"<{tag}>\n{text.strip()}\n</{tag}>"


def task_block(task: Task, tag: str = "task") -> str:
    """A task as whoever is to do it sees it."""
    head = f"Task {task.id}, attempt {task.attempt}: {task.title}"
    return block(tag, f"{head}\n\n{task.description or ''}")


def plan_block(plan: Plan) -> str:
    """The plan that a task belongs to."""
    text = f"{plan.title}\n\n{plan.description or ''}"
    return f"The plan that it belongs to:\n\n{block('plan', text)}"


def dependencies_block(done: Sequence[Done]) -> str:
    """What has been done already, and is in the worktree."""
    if not done:
        return ""
    parts = [_done_text(each) for each in done]
    return (
        "What it builds on is in the worktree already:\n\n"
        f"{block('done', chr(10).join(parts))}"
    )


def _done_text(done: Done) -> str:
    result = done.task.result
    lines = [f"{done.task.id}: {done.task.title}"]
    if result is not None and result.summary:
        lines.append(f"  summary: {result.summary[:_SUMMARY_CHARS]}")
    if done.files:
        more = len(done.files) - _FILES_SHOWN
        names = ", ".join(done.files[:_FILES_SHOWN])
        lines.append(f"  files: {names}{f' and {more} more' if more > 0 else ''}")
    return "\n".join(lines)


def worker_values(
    plan: Plan, task: Task, *, branch: str, base: str, done: Sequence[Done], before: str
) -> dict[str, str]:
    """The values of ``worker.md``; ``before`` is what an earlier attempt left."""
    gate = paths = ""
    if task.verify:
        gate = f"When you end, this command must pass:\n\n{block('gate', task.verify)}"
    if task.paths:
        within = block("paths", "\n".join(task.paths))
        paths = f"Change only what these patterns match:\n\n{within}"
    return {
        "branch": short_ref(branch),
        "base": base,
        "task": task_block(task),
        "plan": plan_block(plan),
        "paths": paths,
        "dependencies": dependencies_block(done),
        "gate": gate,
        "before": before,
    }


def verdict_text(verdict: Verdict) -> str:
    """What the gate said, in words."""
    how = {
        "failed": f"ended with exit code {verdict.exit_code}",
        "timed_out": "ran longer than it may",
    }.get(verdict.status, f"was {verdict.status}")
    return f"The command:\n\n{block('gate', verdict.command or '')}\n\nIt {how}."


def output_block(tail: str) -> str:
    """The end of what a gate has printed."""
    lines = counted(len(tail.splitlines()), "line")
    return f"The last {lines} of its output:\n\n{block('output', tail)}" if tail else ""


def review_values(
    plan: Plan, task: Task, *, diffs: Sequence[str], diff: str, done: Sequence[Done]
) -> dict[str, str]:
    """The values of ``review.md``: the work of the tasks that it depends on.

    ``diffs`` are the commands that show it, ``diff`` is what they show, if it is short.
    """
    return {
        "task": task_block(task),
        "plan": plan_block(plan),
        "dependencies": dependencies_block(done),
        "diffs": block("commands", "\n".join(diffs)),
        "diff": f"That is:\n\n{block('diff', diff)}" if diff else "",
    }
