"""Finds every violation of the state format in a repository, with nothing but git.

Written from the published format alone: it imports nothing of percyd, so that a
mistake there cannot hide itself here. It walks the first-parent history of
``percy/state``, compares each commit with its parent, and then holds the refs of the
repository against what the newest tree says of them.

    python -m tests.support.checker REPOSITORY
"""

from __future__ import annotations

import graphlib
import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Record = dict[str, Any]
Entry = tuple[str, str]  # mode, object id


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STATE_REF: Final = "refs/heads/percy/state"
PLAN_REFS: Final = "refs/heads/percy/plan/"
AGENT_BRANCHES: Final = "refs/heads/agent/"
WHO: Final = "percyd <percyd@localhost>"
ABSENT: Final = "absent"

OPERATIONS: Final = _words(
    "init join leave lost take-in plan-tasks reconcile start pause resume close land "
    "archive resolve claim work turn complete ask answer approve reject release "
    "requeue fail retry cancel say repair"
)
HELD: Final = frozenset({"assigned", "working"})
ENDED: Final = frozenset({"completed", "failed", "cancelled"})
DEAD: Final = frozenset({"failed", "cancelled"})
CLOSED: Final = frozenset({"done", "failed", "cancelled"})

#: One line a row: statuses from -> to: the operations that may do it.
TASK_EDGES: Final = """
absent -> blocked submitted: take-in plan-tasks reconcile land complete
blocked -> submitted: resolve
submitted -> blocked: reconcile
blocked submitted -> cancelled: cancel resolve reconcile
blocked -> blocked: reconcile
submitted -> submitted: reconcile
submitted -> assigned: claim
assigned -> working: work
assigned working -> submitted: lost leave requeue release
working -> completed: complete plan-tasks
working -> input_required: ask
assigned working -> failed: fail lost
assigned working -> cancelled: cancel
input_required -> submitted: answer approve
input_required -> failed: reject
input_required -> cancelled: cancel
failed cancelled -> submitted blocked: retry
cancelled -> blocked submitted: reconcile
completed failed cancelled -> absent: archive
blocked -> blocked: say repair
submitted -> submitted: say repair
assigned -> assigned: say repair
working -> working: say repair
input_required -> input_required: say repair
completed -> completed: say repair
failed -> failed: say repair
cancelled -> cancelled: say repair
"""
PLAN_EDGES: Final = """
absent -> draft ready: take-in
draft -> ready: start reconcile
draft ready executing failed -> cancelled: cancel
ready -> executing: claim
ready executing -> done failed: close
failed cancelled -> executing: retry
done -> executing: land
done failed cancelled -> absent: archive
"""
AGENT_EDGES: Final = """
absent -> joined: join
joined -> left: leave
joined -> lost: lost
left lost -> absent: archive
"""

_ENDS: Final = "assigned_to claim reason retries attempts"
_WORDS: Final = (
    "title description type runner run specialization depends_on paths priority "
    "verify timeout_s max_attempts review allow_empty"
)
#: What an operation may change in a task besides ``status`` and ``updated_at``.
TASK_FIELDS: Final[Mapping[str, str]] = {
    "claim": "attempt assigned_to claim base reason",
    "work": "base",
    "release": _ENDS,
    "requeue": _ENDS,
    "leave": _ENDS,
    "lost": _ENDS,
    "fail": _ENDS,
    "cancel": "assigned_to claim reason attempts",
    "complete": "assigned_to claim reason result attempts",
    "plan-tasks": "assigned_to claim reason result attempts",
    "ask": "assigned_to claim reason messages attempts",
    "resolve": "reason",
    "answer": "reason messages retries",
    "approve": "reason messages retries approved",
    "reject": "reason messages approved",
    "retry": _WORDS + " reason result approved retries",
    "reconcile": _WORDS + " reason",
    "say": "messages",
}
#: What an operation may change in a plan besides ``updated_at``.
PLAN_FIELDS: Final[Mapping[str, str]] = {
    "claim": "status planning",
    "release": "landing planning",
    "requeue": "landing planning",
    "leave": "landing planning",
    "lost": "landing planning",
    "fail": "landing planning",
    "complete": "landing",
    "ask": "landing planning",
    "cancel": "status reason landing planning",
    "plan-tasks": "planning landing",
    "start": "status",
    "pause": "paused",
    "resume": "paused",
    "turn": "landing",
    "close": "status reason result",
    "retry": "status reason result",
    "land": "status reason result",
    "reconcile": "title description status source verify land defaults budget limits "
    "review_plan",
}
#: Operations that are about one task: they change no other one that is there.
SINGLE: Final = _words("work complete ask answer approve reject release fail say")
#: Operations whose trailers name exactly the tasks that they change.
NAMING: Final = _words(
    "claim work complete ask release requeue fail leave lost resolve retry"
)
#: Operations that end a claim, and how the attempt may have ended.
OUTCOMES: Final[Mapping[str, str]] = {
    "release": "failed released parked",
    "requeue": "lost released",
    "leave": "released",
    "lost": "lost",
    "fail": "failed",
    "cancel": "cancelled",
    "complete": "completed",
    "plan-tasks": "completed",
    "ask": "asked",
}
COUNTED: Final = frozenset({"failed", "lost"})

RETRIED: Final = _words(
    "runner_failed timed_out idle empty_result gate_failed gate_timed_out conflict "
    "left_branch agent_lost"
)
UNCOUNTED: Final = frozenset({"released", "parked"})
FINAL: Final = _words(
    "runner_missing gate_broken workspace_failed sandbox_unavailable "
    "unsupported_repository attempts_exhausted dependency_failed rejected cancelled "
    "removed planner_invalid"
)
REASONS: Final = (
    RETRIED | UNCOUNTED | FINAL | {"paused_by_user", "budget", "question", "review"}
)

#: Every key is always present.
KEYS: Final[Mapping[str, str]] = {
    "marker": "format project created_at",
    "plan": "id title description status paused landing base_branch base_commit "
    "source planning verify land defaults budget limits review_plan reason result "
    "created_by created_at updated_at",
    "task": "id plan title description type runner run specialization depends_on "
    "paths priority verify timeout_s max_attempts review allow_empty status attempt "
    "retries assigned_to claim base reason approved result messages attempts "
    "created_by created_at updated_at",
    "agent": "id name host pid version capabilities slots runners beat_s lease_s "
    "idle_beat_s started_at status",
    "paused": "code message",
    "reason": "code message",
    "landing": "task attempt claim",
    "source": "kind path commit blob submitted_by",
    "planning": "task agent since",
    "limits": "timeout_s idle_s log_bytes max_attempts backoff_s fix_rounds max_depth",
    "plan.result": "commit landed_commit landed_into",
    "task.result": "branch commit integration_commit summary verdict usage session",
    "verdict": "status command exit_code tree duration_s",
    "usage": "input_tokens output_tokens cost_usd duration_s turns",
    "messages": "kind text by attempt",
    "attempts": "number agent claim outcome reason branch commit rescue verdict "
    "session summary usage",
}
LISTS: Final = _words(
    "specialization depends_on paths messages attempts capabilities runners"
)
VALUES: Final[Mapping[str, str]] = {
    "plan.status": "draft ready executing done failed cancelled",
    "plan.land": "manual auto",
    "task.status": "blocked submitted assigned working input_required completed "
    "failed cancelled",
    "task.type": "implement test review refactor fix docs chore plan land",
    "agent.status": "joined left lost",
    "source.kind": "file cli api mcp",
    "verdict.status": "passed failed could_not_run timed_out none",
    "messages.kind": "question answer say reject",
    "attempts.outcome": "completed failed lost released parked cancelled asked",
}
INTEGERS: Final = frozenset({"task.attempt", "task.retries", "task.priority"})

_ID: Final = r"[a-z0-9][a-z0-9_-]{0,47}"
_AGENT: Final = r"[a-z0-9][a-z0-9_-]{0,40}-[0-9a-f]{6}"
RESERVED: Final = _words("state plan percy agent head index lock con nul aux")
PATHS: Final = {
    "marker": re.compile(r"percy\.json"),
    "plan": re.compile(rf"plans/({_ID})/plan\.json"),
    "source": re.compile(rf"plans/({_ID})/source\.(?:md|yaml|yml|json|toml)"),
    "task": re.compile(rf"plans/({_ID})/tasks/([0-9a-f])/({_ID})\.json"),
    "agent": re.compile(rf"agents/({_AGENT})\.json"),
    "archive": re.compile(rf"archive/({_ID})\.jsonl"),
}
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_OID: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def _table(text: str) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for row in text.strip().splitlines():
        statuses, _, operations = row.partition(": ")
        sources, _, targets = statuses.partition(" -> ")
        for pair in itertools.product(sources.split(), targets.split()):
            found.setdefault(pair, set()).update(operations.split())
    return found


EDGES: Final = {
    "task": _table(TASK_EDGES),
    "plan": _table(PLAN_EDGES),
    "agent": _table(AGENT_EDGES),
}


# The repository


class Repository:
    """Reads a repository with git; objects through one ``cat-file --batch``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._batch = subprocess.Popen(
            self._argv("cat-file", "--batch"),
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self._batch.communicate()

    def _argv(self, *args: str) -> list[str]:
        return ["git", "-C", str(self.path), *args]

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        return {**kept, "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"}

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run git; the caller judges how it ended."""
        return subprocess.run(
            self._argv(*args),
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def lines(self, *args: str) -> list[str]:
        """The lines that a git command prints."""
        done = self.run(*args)
        if done.returncode:
            raise RuntimeError(f"git {args[0]}: {done.stderr.strip()}")
        return done.stdout.splitlines()

    def read(self, oid: str) -> bytes | None:
        """One object's content; None if it is not there."""
        assert self._batch.stdin is not None
        assert self._batch.stdout is not None
        self._batch.stdin.write(f"{oid}\n".encode())
        self._batch.stdin.flush()
        header = self._batch.stdout.readline().split()
        if len(header) != 3:
            return None
        content = self._batch.stdout.read(int(header[2]))
        self._batch.stdout.read(1)
        return content

    def tree(self, oid: str) -> dict[str, Entry]:
        """The entries of one tree, by name."""
        content = self.read(oid) or b""
        size = len(oid) // 2
        found: dict[str, Entry] = {}
        at = 0
        while at < len(content):
            nul = content.index(b"\0", at)
            mode, _, name = content[at:nul].decode(errors="replace").partition(" ")
            found[name] = (mode, content[nul + 1 : nul + 1 + size].hex())
            at = nul + 1 + size
        return found

    def difference(
        self, old: str | None, new: str | None, prefix: str = ""
    ) -> Iterator[tuple[str, Entry | None, Entry | None]]:
        """The files that differ between two trees: path, old entry, new entry."""
        before = self.tree(old) if old else {}
        after = self.tree(new) if new else {}
        for name in sorted(before.keys() | after.keys()):
            pair = [before.get(name), after.get(name)]
            if pair[0] == pair[1]:
                continue
            below = [e[1] if e and e[0] == _FOLDER else None for e in pair]
            if any(below):
                yield from self.difference(below[0], below[1], f"{prefix}{name}/")
            files = [e if e and e[0] != _FOLDER else None for e in pair]
            if any(files):
                yield f"{prefix}{name}", files[0], files[1]

    def commit(self, oid: str) -> Commit:
        """One commit, parsed."""
        content = (self.read(oid) or b"").decode(errors="replace")
        head, _, message = content.partition("\n\n")
        fields = [line.partition(" ")[::2] for line in head.splitlines()]
        people = {k: v.rsplit(" ", 2)[0] for k, v in fields if k in _PEOPLE}
        return Commit(
            oid=oid,
            tree=next((v for k, v in fields if k == "tree"), ""),
            parents=[v for k, v in fields if k == "parent"],
            people=[people.get(key, "") for key in _PEOPLE],
            message=message,
        )


_FOLDER: Final = "40000"
_PEOPLE: Final = ("author", "committer")


@dataclass
class Commit:
    """What is looked at in a commit."""

    oid: str
    tree: str
    parents: list[str]
    people: list[str]
    message: str

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.partition("\n")[0]

    def trailers(self, key: str) -> list[str]:
        """The values of one trailer, in order."""
        block = self.message.strip().rpartition("\n\n")[2]
        pairs = [line.partition(": ") for line in block.splitlines()]
        return [value for name, colon, value in pairs if colon and name == key]


# The history


@dataclass
class Change:
    """One record before and after a commit."""

    kind: str
    id: str
    path: str
    old: Record | None
    new: Record | None

    def status(self, record: Record | None) -> str:
        """A record's status, ``absent`` without one."""
        return ABSENT if record is None else str(record.get("status"))

    @property
    def edge(self) -> tuple[str, str]:
        """The change of status."""
        return self.status(self.old), self.status(self.new)

    def fields(self) -> list[str]:
        """The names of the fields that differ, if the record was and is there."""
        if self.old is None or self.new is None:
            return []
        keys = self.old.keys() | self.new.keys()
        return sorted(k for k in keys if self.old.get(k) != self.new.get(k))


@dataclass
class Tree:
    """The records of one commit."""

    plans: dict[str, Record] = field(default_factory=dict)
    tasks: dict[str, Record] = field(default_factory=dict)
    agents: dict[str, Record] = field(default_factory=dict)
    archived: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    members: dict[str, set[str]] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        """Take over what a commit changed in one record."""
        match change.kind:
            case "task":
                put(self.tasks, change.id, change.new)
                plan = change.id.partition(".")[0]
                names = self.members.setdefault(plan, set())
                (names.discard if change.new is None else names.add)(change.id)
                is_held = change.edge[1] in HELD
                (self.held.add if is_held else self.held.discard)(change.id)
            case "plan":
                put(self.plans, change.id, change.new)
            case "agent":
                put(self.agents, change.id, change.new)

    def tasks_of(self, plan: str) -> list[Record]:
        """A plan's tasks."""
        return [self.tasks[name] for name in sorted(self.members.get(plan, ()))]

    def status(self, task: str) -> str:
        """A task's status, ``absent`` without one."""
        return str(self.tasks[task].get("status")) if task in self.tasks else ABSENT


def put(records: dict[str, Record], key: str, record: Record | None) -> None:
    """Set or remove a record."""
    if record is None:
        records.pop(key, None)
    else:
        records[key] = record


def code_of(record: Record) -> str | None:
    """The code of a record's reason."""
    reason = record.get("reason")
    return str(reason.get("code")) if isinstance(reason, dict) else None


def folder_of(pattern: str) -> list[str]:
    """The literal folder in front of a pattern, as its parts; [] for the whole tree."""
    literal = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return [part for part in literal.rpartition("/")[0].split("/") if part]


def overlap(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether two lists of patterns could reserve the same file."""
    for one, other in itertools.product(map(folder_of, ours), map(folder_of, theirs)):
        shorter = min(len(one), len(other))
        if one[:shorter] == other[:shorter]:
            return True
    return False


class History:
    """Walks the commits of ``percy/state`` and collects what is wrong with them."""

    def __init__(self, repo: Repository) -> None:
        self._repo = repo
        self.found: list[str] = []
        self.tree = Tree()
        self.completed: list[str] = []  # task ids, in the order of the state
        self.agents_seen: set[str] = set()
        self._op_ids: dict[str, str] = {}
        self._claims: dict[str, str] = {}
        self._commit = Commit("", "", [], [], "")
        self._op = ""
        self._before = Tree()

    def _say(self, what: str, problem: str) -> None:
        where = f"{self._commit.oid[:10]} {self._op or '?'}"
        self.found.append(f"{where}: {what}: {problem}")

    def walk(self, tip: str) -> None:
        """Check every commit up to ``tip``."""
        previous: str | None = None
        for oid in self._repo.lines("rev-list", "--first-parent", "--reverse", tip):
            self._commit = self._repo.commit(oid)
            self._check_commit(is_first=previous is None)
            changes = self._changes(previous)
            self._check_changes(changes)
            for change in changes:
                self.tree.apply(change)
            self._check_after(changes)
            previous = self._commit.tree

    # The commit itself

    def _check_commit(self, *, is_first: bool) -> None:
        commit = self._commit
        operations = commit.trailers("Percy-Operation")
        self._op = operations[0] if operations else ""
        if len(commit.parents) != (0 if is_first else 1):
            self._say("commit", f"has {len(commit.parents)} parents")
        if len(operations) != 1 or self._op not in OPERATIONS:
            self._say("commit", f"Percy-Operation is {operations}")
        if (self._op == "init") != is_first:
            self._say("commit", "init is the first operation and no other")
        if not commit.subject.startswith(f"{self._op}: "):
            self._say("commit", f"the subject is {commit.subject!r}")
        if commit.people != [WHO, WHO]:
            self._say("commit", f"is by {commit.people}")
        op_ids = commit.trailers("Percy-Op-Id")
        if len(op_ids) != 1 or len(op_ids[0]) < 22:
            self._say("commit", f"Percy-Op-Id is {op_ids}")
        for op_id in op_ids:
            if op_id in self._op_ids:
                self._say("commit", f"op id of {self._op_ids[op_id][:10]} again")
            self._op_ids[op_id] = commit.oid

    def _changes(self, previous: str | None) -> list[Change]:
        changes = []
        for path, old, new in self._repo.difference(previous, self._commit.tree):
            kind, match = next(
                ((k, m) for k, p in PATHS.items() if (m := p.fullmatch(path))),
                ("", None),
            )
            if match is None:
                self._say(path, "is no file of the format")
                continue
            if new is not None and new[0] != "100644":
                self._say(path, f"has mode {new[0]}")
            name = self._name(kind, path, match)
            content = self._repo.read(new[1]) if new else None
            if new is not None and content is None:
                self._say(path, "cannot be read")
                continue
            self._check_file(kind, path, is_new=old is None, is_gone=new is None)
            if kind == "archive":
                self._check_archive(name, content or b"")
            elif kind != "source":
                records = {
                    "task": self.tree.tasks,
                    "plan": self.tree.plans,
                    "agent": self.tree.agents,
                }.get(kind, {})
                record = self._record(kind, path, content)
                changes.append(Change(kind, name, path, records.get(name), record))
        if not changes and self._commit.tree == previous:
            self._say("commit", "changes nothing")
        return changes

    def _name(self, kind: str, path: str, match: re.Match[str]) -> str:
        names = [g for g in match.groups() if g]
        if kind == "task":
            plan, folder, short = names
            if folder != hashlib.sha256(short.encode()).hexdigest()[:1]:
                self._say(path, "lies in the wrong folder")
            names = [plan, short]
        if kind != "agent" and RESERVED & set(names):
            self._say(path, "has a reserved word as an id")
        return ".".join(names)

    def _check_file(self, kind: str, path: str, *, is_new: bool, is_gone: bool) -> None:
        """Which operations may add, change and remove the files that are no records."""
        allowed = {
            "marker": ("init", "repair", ""),
            "source": ("take-in", "reconcile", "archive"),
            "archive": ("archive", "", ""),
        }.get(kind)
        what = 0 if is_new else 2 if is_gone else 1
        if (kind, self._op) == ("source", "reconcile"):
            return  # an edited document may have another ending
        if allowed and allowed[what] != self._op:
            self._say(path, f"is {('added', 'changed', 'removed')[what]}")

    def _record(self, kind: str, path: str, content: bytes | None) -> Record | None:
        if content is None:
            return None
        try:
            record = json.loads(content, parse_constant=_no_constant)
            text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)
            canonical = f"{text}\n".encode()
        except ValueError as error:
            self._say(path, f"is no JSON: {error}")
            return {}
        if not isinstance(record, dict):
            self._say(path, "is no JSON object")
            return {}
        if content != canonical:
            self._say(path, "is not in canonical form")
        for problem in shape_problems(kind, record):
            self._say(path, problem)
        self._check_identity(kind, path, record)
        return record

    def _check_identity(self, kind: str, path: str, record: Record) -> None:
        match = PATHS[kind].fullmatch(path)
        assert match is not None
        if kind == "marker":
            if record.get("format") != 1:
                self._say(path, f"names format {record.get('format')}")
        elif kind == "task":
            plan, _, short = match.groups()
            if (record.get("id"), record.get("plan")) != (f"{plan}.{short}", plan):
                self._say(path, f"holds {record.get('id')}")
        elif record.get("id") != match[1]:
            self._say(path, f"holds {record.get('id')}")

    def _check_archive(self, plan: str, content: bytes) -> None:
        """An archive holds the plan and its tasks as they were."""
        tasks = [self.tree.tasks[n] for n in sorted(self.tree.members.get(plan, ()))]
        kept = [self.tree.plans.get(plan), *tasks]
        try:
            # Other line ends may stand in a text as they are.
            rows = content.decode().removesuffix("\n").split("\n")
            lines = [json.loads(row) for row in rows]
        except ValueError as error:
            self._say(f"archive of {plan}", f"is no JSON: {error}")
            return
        if lines != kept:
            self._say(f"archive of {plan}", "differs from the records")
        self.tree.archived.add(plan)

    # Edges and fields

    def _check_changes(self, changes: list[Change]) -> None:
        self._before = self.tree
        for change in changes:
            if change.kind == "marker":
                continue
            self._check_edge(change)
            self._check_fields(change)
        tasks = [c for c in changes if c.kind == "task"]
        self._check_trailers(tasks)
        moved = [c for c in tasks if c.old is not None]
        if self._op in SINGLE and len(moved) != 1:
            self._say("commit", f"changes {len(moved)} tasks")
        agents = [c for c in changes if c.kind == "agent"]
        if self._op in ("join", "leave", "lost") and len(agents) != 1:
            self._say("commit", f"changes {len(agents)} agents")
        for change in changes:
            if self._op == "turn" and (change.old or {}).get("landing"):
                self._say(change.id, "the landing turn is taken from another claim")
        if self._op in ("pause", "resume", "cancel"):
            self._check_steered(changes)
        if self._op == "reconcile":
            self._check_edited(changes)
        for change in moved:
            if change.new is not None:
                self._check_task(change, change.old or {}, change.new)
        for change in tasks:
            if change.old is None and change.new is not None:
                self._check_new(change, change.new, tasks)
        if self._op == "claim":
            self._check_claims(moved)
        if self._op == "land":
            self._check_landing(changes)

    def _check_steered(self, changes: list[Change]) -> None:
        """What a person has done: to one plan, or to one task."""
        plans = [c for c in changes if c.kind == "plan"]
        tasks = [c for c in changes if c.kind == "task"]
        for change in plans:
            new = change.new or {}
            paused = new.get("paused")
            if self._op != "cancel" and change.edge[0] in CLOSED:
                self._say(change.id, f"is changed although it is {change.edge[0]}")
            if self._op == "resume" and paused is not None:
                self._say(change.id, "is resumed, and is paused still")
            if self._op == "pause":
                code = paused.get("code") if isinstance(paused, dict) else None
                if code not in ("paused_by_user", "budget"):
                    self._say(change.id, f"is paused for {code}")
            if self._op == "cancel":
                old = change.old or {}
                moved = change.edge[0] != change.edge[1]
                if moved and code_of(new) != "cancelled":
                    self._say(change.id, f"is cancelled for {code_of(new)}")
                if not moved and old.get("reason") != new.get("reason"):
                    self._say(change.id, "is not cancelled, and its reason changes")
        if self._op != "cancel":
            if len(plans) != 1 or tasks:
                self._say("commit", f"changes {len(plans)} plans, {len(tasks)} tasks")
            return
        ended = {c.id for c in plans if c.edge[0] != c.edge[1]}
        about = ended | {c.id.partition(".")[0] for c in tasks}
        if len(about) != 1 or (not ended and len(tasks) != 1):
            self._say("commit", f"cancels {len(tasks)} tasks, {len(ended)} plans")

    def _check_landing(self, changes: list[Change]) -> None:
        """A plan lands, or a task that merges its base branch is added before."""
        tasks = [c for c in changes if c.kind == "task"]
        plans = [c for c in changes if c.kind == "plan"]
        if len(plans) > 1 or len(tasks) > 1 or any(c.old is not None for c in tasks):
            self._say("commit", f"lands {len(plans)} plans with {len(tasks)} tasks")
            return
        for change in plans:
            old, new = change.old or {}, change.new or {}
            result = new.get("result") or {}
            if not tasks:
                before = (old.get("result") or {}).get("commit")
                if change.edge != ("done", "done") or not result.get("landed_commit"):
                    self._say(change.id, f"lands, and is {change.edge}")
                if result.get("landed_into") != old.get("base_branch"):
                    self._say(change.id, f"lands in {result.get('landed_into')}")
                if result.get("commit") != before:
                    self._say(change.id, "lands with another result")
            elif change.edge != ("done", "executing") or result:
                self._say(change.id, f"is to be merged, and is {change.edge}")
        for change in tasks:
            plan = change.id.partition(".")[0]
            record = self._before.plans.get(plan, {})
            others = self.tree.tasks_of(plan)
            ended = all(
                t.get("status") == "completed" or code_of(t) == "removed"
                for t in others
            )
            if not plans and (record.get("land") != "auto" or not ended):
                self._say(change.id, f"is added to a plan {record.get('status')}")
            number = 1 + sum(t.get("type") == "land" for t in others)
            if change.id != f"{plan}.land-{number}":
                self._say(change.id, f"is landing task number {number}")

    def _check_edge(self, change: Change) -> None:
        old, new = change.edge
        if change.kind == "plan" and old == new:
            return  # the fields say which operations may do that
        if self._op not in EDGES[change.kind].get((old, new), ()):
            self._say(change.id, f"{old} -> {new} is no edge of this operation")

    def _check_fields(self, change: Change) -> None:
        if change.old is None or change.new is None or self._op == "repair":
            return
        if change.kind == "agent":
            allowed = {"status"}
        else:
            table = TASK_FIELDS if change.kind == "task" else PLAN_FIELDS
            allowed = set(table.get(self._op, "").split()) | {"updated_at"}
            allowed |= {"status"} if change.kind == "task" else set()
        wrong = set(change.fields()) - allowed
        if wrong:
            self._say(change.id, f"changes {', '.join(sorted(wrong))}")
        for name in ("attempts", "messages"):
            old, new = change.old.get(name) or [], change.new.get(name) or []
            if new[: len(old)] != old:
                self._say(change.id, f"{name} do not only grow")

    def _check_trailers(self, tasks: list[Change]) -> None:
        named = self._commit.trailers("Percy-Task")
        attempts = self._commit.trailers("Percy-Attempt")
        if len(named) != len(attempts) or len(set(named)) != len(named):
            self._say("commit", f"Percy-Task {named}, Percy-Attempt {attempts}")
        changed = {c.id: c for c in tasks}
        if self._op == "turn":
            return  # it names whose turn it is; that task's record stays as it was
        for name, attempt in zip(named, attempts, strict=False):
            record = changed[name].new if name in changed else None
            if record is None:
                self._say("commit", f"Percy-Task {name} does not change")
            elif str(record.get("attempt")) != attempt:
                self._say("commit", f"Percy-Attempt of {name} is {attempt}")
        existing = {c.id for c in tasks if c.old is not None}
        if self._op in NAMING and existing - set(named):
            self._say("commit", f"no Percy-Task for {sorted(existing - set(named))}")

    # Guards

    def _check_task(self, change: Change, old: Record, new: Record) -> None:
        edge = change.edge
        if edge[0] in HELD and edge[1] not in HELD and self._op in OUTCOMES:
            self._check_end(change.id, old, new)
        match self._op:
            case "work":
                if (new.get("attempt"), new.get("claim")) != token_of(old):
                    self._say(change.id, "is worked on under another claim")
                if not new.get("base"):
                    self._say(change.id, "is worked on from no base")
            case "resolve":
                self._check_resolved(change, new)
            case "retry":
                wrong = [k for k in ("reason", "result", "approved") if new.get(k)]
                if wrong or new.get("retries") != 0:
                    self._say(change.id, "is retried, but not from the start")
            case "complete":
                self._check_completed(change.id, old, new)
            case "cancel":
                if code_of(new) not in ("cancelled", "dependency_failed"):
                    self._say(change.id, f"is cancelled for {code_of(new)}")
            case "reconcile":
                if "cancelled" in edge:
                    record = new if edge[1] == "cancelled" else old
                    if code_of(record) != "removed":
                        self._say(change.id, f"{edge} for {code_of(record)}")
                    if edge[0] == "cancelled" and new.get("reason") is not None:
                        self._say(change.id, "is reopened with a reason")
                elif old.get("reason") != new.get("reason"):
                    self._say(change.id, "is edited, and its reason changes")
                if edge == ("submitted", "blocked"):
                    self._check_held_back(change, old, new)
            case "answer" if new.get("retries") != 0:
                self._say(change.id, "is answered, and its retries count on")
            case "approve" if not new.get("approved"):
                self._say(change.id, "is approved, but no commit is")

    def _check_held_back(self, change: Change, old: Record, new: Record) -> None:
        added = set(new.get("depends_on") or []) - set(old.get("depends_on") or [])
        if all(self.tree.status(name) == "completed" for name in added):
            self._say(change.id, "is blocked by no added dependency")

    def _check_edited(self, changes: list[Change]) -> None:
        """A plan follows its document: one plan, a new version, its own tasks."""
        plans = {c.id: c for c in changes if c.kind == "plan"}
        if len(plans) != 1:
            self._say("commit", f"reconciles {len(plans)} plans")
        for change in changes:
            if change.kind == "task" and change.id.partition(".")[0] not in plans:
                self._say(change.id, "is reconciled without its plan")
        for name, change in plans.items():
            old, new = change.old or {}, change.new or {}
            if old.get("status") in CLOSED:
                self._say(name, f"is reconciled, it is {old.get('status')}")
            sources = [
                (record.get("source") or {}).get("blob") for record in (old, new)
            ]
            if sources[0] == sources[1]:
                self._say(name, "is reconciled with the version it follows")

    def _check_resolved(self, change: Change, new: Record) -> None:
        statuses = [self._before.status(d) for d in new.get("depends_on", [])]
        if change.edge[1] == "submitted" and set(statuses) - {"completed"}:
            self._say(change.id, "is ready although a dependency is not completed")
        if change.edge[1] == "cancelled" and code_of(new) != "dependency_failed":
            self._say(change.id, f"is cancelled for {code_of(new)}")

    def _check_end(self, name: str, old: Record, new: Record) -> None:
        """A claim ends: its entry, its count, and the reason that goes with it."""
        entries = (new.get("attempts") or [])[len(old.get("attempts") or []) :]
        if len(entries) != 1:
            self._say(name, f"a claim ends and leaves {len(entries)} entries")
            return
        entry = entries[0]
        if (entry.get("number"), entry.get("claim")) != token_of(old):
            self._say(name, "ends another claim than the parent's")
        if entry.get("agent") != old.get("assigned_to"):
            self._say(name, f"is ended for {entry.get('agent')}")
        outcome = entry.get("outcome")
        if outcome not in OUTCOMES[self._op].split():
            self._say(name, f"the attempt ends {outcome}")
        counted = old.get("retries", 0) + (outcome in COUNTED)
        if new.get("retries") != counted:
            self._say(name, f"retries are {new.get('retries')}, not {counted}")
        self._check_why(name, new, entry, counted)

    def _check_why(self, name: str, new: Record, entry: Record, counted: int) -> None:
        allowed = self._attempts_allowed(new)
        real, status = code_of(entry), new.get("status")
        if status == "submitted":
            if new.get("reason") != entry.get("reason"):
                self._say(name, "the reason is not that of the attempt")
            wanted = RETRIED if entry.get("outcome") in COUNTED else UNCOUNTED
            if real not in wanted:
                self._say(name, f"goes back to the queue for {real}")
            if allowed is not None and counted >= allowed:
                self._say(name, f"is queued again after {counted} of {allowed}")
        elif status == "failed" and code_of(new) == "attempts_exhausted":
            if allowed is not None and counted < allowed:
                self._say(name, f"is out of attempts after {counted} of {allowed}")
        elif status == "failed" and code_of(new) not in FINAL:
            self._say(name, f"fails for good for {code_of(new)}")
        elif status == "completed" and new.get("reason") is not None:
            self._say(name, "is completed with a reason")
        elif status == "cancelled" and real != code_of(new):
            self._say(name, f"is cancelled for {code_of(new)}, its attempt for {real}")

    def _attempts_allowed(self, task: Record) -> int | None:
        plan = self._before.plans.get(str(task.get("plan")), {})
        value = task.get("max_attempts") or (plan.get("limits") or {}).get(
            "max_attempts"
        )
        return value if isinstance(value, int) else None

    def _check_completed(self, name: str, old: Record, new: Record) -> None:
        self.completed.append(name)
        result = new.get("result") or {}
        refs = [result.get(k) for k in ("branch", "commit", "integration_commit")]
        if old.get("type") == "review":
            if any(refs) or result.get("verdict"):
                self._say(name, "is a review and names refs")
            return
        plan = self._before.plans.get(str(old.get("plan")), {})
        landing = plan.get("landing")
        if landing and (landing.get("attempt"), landing.get("claim")) != token_of(old):
            self._say(name, f"lands in the turn of {landing.get('task')}")
        branch = f"agent/{old.get('assigned_to')}/{name}"
        if not all(refs) or refs[0] != branch:
            self._say(name, f"the result names {refs}")
        entry = (new.get("attempts") or [{}])[-1]
        if [entry.get("branch"), entry.get("commit")] != refs[:2]:
            self._say(name, "the last attempt does not name the result")
        verdict = (result.get("verdict") or {}).get("status")
        if verdict != ("passed" if old.get("verify") else "none"):
            self._say(name, f"lands with verdict {verdict}")

    def _check_claims(self, changes: list[Change]) -> None:
        agents = self._commit.trailers("Percy-Agent")
        for index, change in enumerate(changes):
            old, new = change.old or {}, change.new or {}
            if [new.get("assigned_to")] != agents:
                self._say(change.id, f"is claimed, Percy-Agent is {agents}")
            self._check_claim(change.id, old, new)
            taken = [self._before.tasks[n] for n in sorted(self._before.held)]
            taken += [other.new or {} for other in changes[:index]]
            for other in taken:
                if overlap(new.get("paths") or [], other.get("paths") or []):
                    self._say(change.id, f"its paths overlap with {other.get('id')}")

    def _check_claim(self, name: str, old: Record, new: Record) -> None:
        before = self._before
        plan = before.plans.get(str(old.get("plan")), {})
        if plan.get("status") not in ("ready", "executing") or plan.get("paused"):
            self._say(name, f"is claimed, its plan is {plan.get('status')} or paused")
        for other in new.get("depends_on") or []:
            if before.status(other) != "completed":
                self._say(name, f"is claimed, {other} is {before.status(other)}")
        agent = before.agents.get(str(new.get("assigned_to")), {})
        if agent.get("status") != "joined":
            self._say(name, f"is claimed by {new.get('assigned_to')}, not joined")
        if new.get("attempt") != old.get("attempt", 0) + 1:
            self._say(name, f"attempt {old.get('attempt')} -> {new.get('attempt')}")
        token = str(new.get("claim"))
        if token in self._claims:
            self._say(name, f"has the claim token of {self._claims[token]}")
        self._claims[token] = name
        if new.get("base") is not None or new.get("reason") is not None:
            self._say(name, "is claimed with a base or a reason")

    def _check_new(self, change: Change, new: Record, tasks: list[Change]) -> None:
        fresh = {"attempt": 0, "retries": 0, "attempts": [], "messages": []}
        empty = ["assigned_to", "claim", "base", "reason", "approved", "result"]
        wrong = [k for k, v in fresh.items() if new.get(k) != v]
        wrong += [k for k in empty if new.get(k) is not None]
        if wrong:
            self._say(change.id, f"is new and has {', '.join(wrong)}")
        short = change.id.partition(".")[2]
        is_landing = re.fullmatch(r"land-[0-9]+", short) is not None
        if is_landing != (self._op == "land") or is_landing != (
            new.get("type") == "land"
        ):
            self._say(change.id, "only land adds land-N")
        if self._op == "complete":
            reviews = [c for c in tasks if (c.old or {}).get("type") == "review"]
            if new.get("type") not in ("fix", "review") or not reviews:
                self._say(change.id, "is added by the completion of no review")
        if str(new.get("plan")) in self.tree.archived:
            self._say(change.id, "belongs to an archived plan")
        if self._op == "take-in" and str(new.get("plan")) in self._before.plans:
            self._say(change.id, "is taken in, its plan was there before")

    # The tree after the commit

    def _check_after(self, changes: list[Change]) -> None:
        plans = set()
        for change in changes:
            if change.kind == "task":
                plans.add(change.id.partition(".")[0])
                self._check_invariants(change)
            elif change.kind == "plan":
                plans.add(change.id)
            elif change.kind == "agent":
                self.agents_seen.add(change.id)
        gone = {c.id for c in changes if c.kind == "agent" and c.edge[1] != "joined"}
        for name in sorted(self.tree.held):
            if self.tree.tasks[name].get("assigned_to") in gone:
                self._say(name, "is held by an agent that is gone")
        for plan in sorted(plans):
            self._check_plan(plan, changes)

    def _check_invariants(self, change: Change) -> None:
        task = change.new
        if task is None:
            return
        name, is_held = change.id, change.edge[1] in HELD
        for key in ("assigned_to", "claim"):
            if is_held != bool(task.get(key)):
                self._say(name, f"is {change.edge[1]} and {key} is {task.get(key)}")
        attempt = task.get("attempt")
        if not isinstance(attempt, int):
            return
        numbers = [entry.get("number") for entry in task.get("attempts") or []]
        if numbers != list(range(1, attempt + (not is_held))):
            self._say(name, f"attempt {attempt}, but attempts {numbers}")
        if is_held and str(task.get("assigned_to")) not in self.tree.agents:
            self._say(name, f"is held by {task.get('assigned_to')}, not registered")
        statuses = {self.tree.status(d) for d in task.get("depends_on") or []}
        if change.edge[1] == "submitted" and statuses - {"completed"}:
            self._say(name, "is ready although a dependency is not completed")
        if code_of(task) == "dependency_failed" and not statuses & DEAD:
            self._say(name, "says dependency_failed, no dependency did")

    def _check_plan(self, plan: str, changes: list[Change]) -> None:
        record = self.tree.plans.get(plan)
        if record is None:
            if self.tree.members.get(plan):
                self._say(plan, "has tasks and no plan record")
            return
        mine = [c for c in changes if c.kind == "task" and c.id.startswith(f"{plan}.")]
        if any(c.old is None or "depends_on" in c.fields() for c in mine):
            self._check_graph(plan)
        landing = record.get("landing")
        if landing is not None:
            task = self.tree.tasks.get(str(landing.get("task")), {})
            token = (landing.get("attempt"), landing.get("claim"))
            if task.get("status") not in HELD or token != token_of(task):
                self._say(plan, "the landing turn is held by no claim")
        status = record.get("status")
        if self._op == "claim" and mine and status != "executing":
            self._say(plan, f"a task is claimed and the plan is {status}")
        if status in CLOSED or self._op == "close":
            self._check_closed(plan, record)

    def _check_closed(self, plan: str, record: Record) -> None:
        tasks = self.tree.tasks_of(plan)
        status = record.get("status")
        is_open = [t["id"] for t in tasks if t.get("status") not in ENDED]
        bad = [
            t["id"]
            for t in tasks
            if t.get("status") in DEAD and code_of(t) != "removed"
        ]
        if is_open and status in CLOSED:
            self._say(plan, f"is {status}, open are {is_open[:3]}")
        if status == "done" and bad:
            self._say(plan, f"is done, not completed are {bad[:3]}")
        if status == "failed" and not bad:
            self._say(plan, "is failed, and every task is completed")

    def _check_graph(self, plan: str) -> None:
        graph = {}
        for task in self.tree.tasks_of(plan):
            needs = task.get("depends_on") or []
            graph[task["id"]] = needs
            for other in needs:
                if other not in self.tree.tasks:
                    self._say(task["id"], f"depends on {other}, which is not there")
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            self._say(plan, f"has a cycle: {' <- '.join(error.args[1][:9])}")


def token_of(task: Record) -> tuple[Any, Any]:
    """The fencing token of a held task."""
    return task.get("attempt"), task.get("claim")


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def shape_problems(kind: str, record: Record, prefix: str = "") -> Iterator[str]:
    """Keys that are missing and values that are not in the format."""
    name = f"{prefix}{kind}"
    for key in KEYS[kind].split():
        if key not in record:
            yield f"{name}.{key} is missing"
            continue
        value = record[key]
        full = f"{kind.rpartition('.')[2]}.{key}"
        if key in LISTS:
            if not isinstance(value, list):
                yield f"{name}.{key} is no list"
                continue
            if key in KEYS:
                for item in value:
                    yield from shape_problems(key, item, f"{name}.")
            continue
        if full in VALUES and value not in VALUES[full].split():
            yield f"{name}.{key} is {value!r}"
        if full in INTEGERS and type(value) is not int:
            yield f"{name}.{key} is {value!r}"
        if key.endswith("_at") and value is not None and not _is_time(value):
            yield f"{name}.{key} is {value!r}"
        if key == "code" and value not in REASONS:
            yield f"{name}.code is {value!r}"
        inner = key if key in KEYS else f"{kind}.{key}"
        if inner in KEYS and isinstance(value, dict):
            yield from shape_problems(inner, value, f"{name}.")


def _is_time(value: object) -> bool:
    return isinstance(value, str) and _TIME.fullmatch(value) is not None


# What the newest tree says of the refs


class Refs:
    """Holds the refs of the repository against the newest records."""

    def __init__(self, repo: Repository, history: History) -> None:
        self._repo = repo
        self._tree = history.tree
        self._completed = history.completed
        self._agents = history.agents_seen
        rows = repo.lines("for-each-ref", "--format=%(refname) %(objectname)")
        self._refs = dict(row.split(" ", 1) for row in rows)
        self._parents: dict[str, list[str]] = {}
        for row in repo.lines("rev-list", "--all", "--parents"):
            oid, *parents = row.split()
            self._parents[oid] = parents
        self.found: list[str] = []

    def _say(self, what: str, problem: str) -> None:
        self.found.append(f"refs: {what}: {problem}")

    def check(self) -> None:
        """Check everything."""
        for plan in self._tree.plans.values():
            self._check_integration(plan)
            self._check_landed(plan)
        results = {}
        for name, task in self._tree.tasks.items():
            result = task.get("result") or {}
            if task.get("status") == "completed" and result.get("branch"):
                results[f"refs/heads/{result['branch']}"] = result.get("commit")
            self._check_rescues(name, task)
        known = self._tree.plans.keys() | self._tree.archived
        for ref, oid in self._refs.items():
            if ref.startswith(AGENT_BRANCHES) and results.get(ref) != oid:
                task_id = ref.rpartition("/")[2]
                if task_id.partition(".")[0] not in self._tree.archived:
                    self._say(ref, f"is at {oid[:10]}, the result says otherwise")
            if ref.startswith(PLAN_REFS):
                if ref.removeprefix(PLAN_REFS) not in known:
                    self._say(ref, "belongs to no plan")
            elif ref.startswith("refs/heads/percy/") and ref != STATE_REF:
                self._say(ref, "is no ref of the format")

    def _check_rescues(self, name: str, task: Record) -> None:
        for entry in task.get("attempts") or []:
            ref = entry.get("rescue")
            if ref is None:
                continue
            if ref != f"refs/percy/rescue/{name}/{entry.get('number')}":
                self._say(name, f"the rescue ref is {ref}")
            if self._refs.get(ref) != entry.get("commit") or not entry.get("commit"):
                self._say(ref, f"is at {self._refs.get(ref)}, not {entry['commit']}")

    def _check_landed(self, plan: Record) -> None:
        """What has landed is on the base branch, and has the result in it."""
        result = plan.get("result") or {}
        landed, commit = result.get("landed_commit"), result.get("commit")
        tip = self._refs.get(f"refs/heads/{result.get('landed_into')}")
        if landed is None or tip is None:
            return
        if not self._descends(tip, str(landed)):
            self._say(str(plan.get("id")), f"{landed} is not on its base branch")
        elif not self._descends(str(landed), str(commit)):
            self._say(str(plan.get("id")), f"{landed} has not the result {commit}")

    def _check_integration(self, plan: Record) -> None:
        name = str(plan.get("id"))
        tip = self._refs.get(PLAN_REFS + name)
        if tip is None:
            if not (plan.get("result") or {}).get("landed_commit"):
                self._say(name, "has no integration branch")
            return
        base = str(plan.get("base_commit"))
        chain = self._first_parents(tip, base)
        if chain is None:
            self._say(name, "the integration branch does not start at base_commit")
            return
        if plan.get("status") in ("done", "failed"):
            commit = (plan.get("result") or {}).get("commit")
            if commit != tip:
                self._say(name, f"result.commit is {commit}, the branch is at {tip}")
        place = {oid: index for index, oid in enumerate(chain)}
        merges: dict[str, str] = {}
        for task in self._tree.tasks_of(name):
            integration = (task.get("result") or {}).get("integration_commit")
            if task.get("status") != "completed" or integration is None:
                continue
            if integration in merges:
                self._say(task["id"], f"shares its merge with {merges[integration]}")
            merges[integration] = task["id"]
            self._check_result(task, place)
        for oid in chain[1:]:
            if oid not in merges:
                self._say(name, f"{oid[:10]} is no completed task's merge")
        landed = [merges[oid] for oid in chain[1:] if oid in merges]
        wanted = [n for n in self._completed if n in landed]
        if landed != wanted:
            self._say(name, f"landed in the order {landed}, completed {wanted}")

    def _check_result(self, task: Record, place: Mapping[str, int]) -> None:
        name, result = task["id"], task["result"]
        commit, integration = result.get("commit"), result.get("integration_commit")
        base = task.get("base")
        if commit not in self._parents:
            self._say(name, f"the result {commit} is on no ref")
        elif not self._descends(commit, str(base)):
            self._say(name, "the result does not descend from its base")
        if base not in place:
            self._say(name, f"base {base} is not on the integration branch")
        if integration not in place:
            self._say(name, f"{integration} is not on the integration branch")
            return
        merge = self._repo.commit(integration)
        if len(merge.parents) != 2 or merge.parents[1] != commit:
            self._say(name, "its merge does not merge the result")
        if merge.people != [WHO, WHO]:
            self._say(name, f"its merge is by {merge.people}")
        if merge.trailers("Percy-Task") != [name]:
            self._say(name, f"its merge names {merge.trailers('Percy-Task')}")
        tree = (result.get("verdict") or {}).get("tree")
        if tree is not None and tree != merge.tree:
            self._say(name, "what landed is not the tree of the verdict")
        for other in task.get("depends_on") or []:
            needed = str(
                (self._tree.tasks.get(other, {}).get("result") or {}).get(
                    "integration_commit"
                )
            )
            if needed in place and place[needed] > place.get(str(base), -1):
                self._say(name, f"its base does not contain the work of {other}")

    def _first_parents(self, tip: str, base: str) -> list[str] | None:
        """The commits from ``base`` to ``tip``, or None if they are not one line."""
        chain = [tip]
        while chain[-1] != base:
            parents = self._parents.get(chain[-1])
            if not parents:
                return None
            chain.append(parents[0])
        return chain[::-1]

    def _descends(self, commit: str, base: str) -> bool:
        queue, seen = deque([commit]), {commit}
        while queue:
            oid = queue.popleft()
            if oid == base:
                return True
            fresh = [p for p in self._parents.get(oid, []) if p not in seen]
            seen.update(fresh)
            queue.extend(fresh)
        return False


def unsettled(tree: Tree) -> list[str]:
    """What a monitor would still have to do: nothing, once the processes are idle."""
    found = []
    for name, task in sorted(tree.tasks.items()):
        statuses: Set[str] = {tree.status(d) for d in task.get("depends_on") or []}
        status = task.get("status")
        if status in ("blocked", "submitted") and statuses & DEAD:
            found.append(f"tip: {name}: is {status}, a dependency is dead")
        if status == "blocked" and not statuses - {"completed"}:
            found.append(f"tip: {name}: is blocked by nothing")
        if status == "cancelled" and statuses & DEAD and code_of(task) is None:
            found.append(f"tip: {name}: is cancelled for no reason")
    for name, plan in sorted(tree.plans.items()):
        tasks = tree.tasks_of(name)
        ended = all(task.get("status") in ENDED for task in tasks)
        if tasks and ended and plan.get("status") not in CLOSED:
            found.append(f"tip: {name}: is {plan.get('status')}, no task is open")
    return found


def check(repo: Path, *, settled: bool = True) -> list[str]:
    """Every violation in a repository, bare or not; [] if there is none.

    ``settled`` also reports what is only right while processes are still at work: a
    cascade that has not happened, a plan that is not closed.
    """
    with Repository(repo) as repository:
        tip = repository.run("rev-parse", "--verify", "-q", STATE_REF).stdout.strip()
        if not _OID.fullmatch(tip):
            return ["refs: percy/state: is not there"]
        fsck = repository.run(
            "fsck", "--connectivity-only", "--no-dangling", "--no-progress"
        )
        if fsck.returncode:
            words = (fsck.stdout + fsck.stderr).splitlines()
            return [f"fsck: {line}" for line in words]
        history = History(repository)
        history.walk(tip)
        refs = Refs(repository, history)
        refs.check()
        later = unsettled(history.tree) if settled else []
        return [*history.found, *refs.found, *later]


def statistics(repo: Path) -> dict[str, int]:
    """How many commits of each operation there are: for reports, not for judging."""
    counts: dict[str, int] = {}
    with Repository(repo) as repository:
        for row in repository.lines(
            "log", "--first-parent", "--format=%s", STATE_REF, "--"
        ):
            operation = row.partition(":")[0]
            counts[operation] = counts.get(operation, 0) + 1
    return counts


def main(args: list[str], write: Callable[[str], object] = print) -> int:
    """The command line."""
    if len(args) != 1:
        write("usage: python -m tests.support.checker REPOSITORY")
        return 2
    found = check(Path(args[0]))
    for line in found:
        write(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
