"""A long history of ``percy/state``, as a busy fleet would have made it.

The operations are percyd's own. The results that they name do not exist: nobody looks
at refs here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path

from percyd.core.edges import ENDED
from percyd.core.ids import STATE_REF
from percyd.core.operations.agents import Init, Join
from percyd.core.operations.base import (
    Answer,
    LineRequest,
    MergeRequest,
    Operation,
    Stamp,
)
from percyd.core.operations.claims import Claim, EndAttempt, Ending, Work
from percyd.core.operations.completion import Complete, Report, Turn
from percyd.core.operations.plans import Close, Resolve, TakeIn, is_closable
from percyd.core.reasons import Reason
from percyd.core.records import Task, Usage, Verdict, Why
from percyd.core.refs import Merged, Oid
from percyd.core.snapshot import Snapshot, SourceFile
from percyd.repo.objects import write_commits
from percyd.repo.runner import Git
from percyd.repo.values import NewCommit
from percyd.state import codec
from percyd.work.worker import Everything
from tests.support.state import agent, fence, plan, task

_CHUNK = 2000
_AGENTS = 5
_TASKS = 50
#: Every fifth attempt fails, and every tenth takes the landing turn.
_FAILS = 5
_TURNS = 10
_WORDS = "What has to be done, why, and how to see that it is. " * 8


def write_history(folder: Path, commits: int) -> tuple[Git, Oid]:
    """A bare repository whose state branch has so many commits; its tip."""
    git = Git(folder / "long.git")
    git.run("init", "--quiet", "--bare", "--initial-branch=main")
    tip: Oid | None = None
    chunk: list[NewCommit] = []
    for commit in islice(_Story().commits(), commits):
        chunk.append(commit)
        if len(chunk) == _CHUNK:
            tip = write_commits(git, tip, chunk)[-1]
            chunk = []
    if chunk:
        tip = write_commits(git, tip, chunk)[-1]
    if tip is None:
        raise ValueError("a history has at least one commit")
    git.run("update-ref", STATE_REF, tip)
    return git, tip


@dataclass
class _Story:
    """The state, and what is drawn for its operations."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    attempts: Iterator[int] = field(default_factory=lambda: count(1))
    now: datetime = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

    def commits(self) -> Iterator[NewCommit]:
        """Plan after plan, without an end."""
        yield from self._do(Init(self._stamp(), "long"))
        agents = [agent(f"box-{number:06x}") for number in range(_AGENTS)]
        for each in agents:
            yield from self._do(Join(self._stamp(), each))
        for number in count():
            yield from self._take_in(f"plan-{number:05}")
            claims = True
            while claims:
                claims = False
                for each in agents:
                    for commit in self._attempt(each.id):
                        claims = True
                        yield commit

    def _take_in(self, name: str) -> Iterator[NewCommit]:
        tasks = []
        for at in range(_TASKS):
            after = [f"t{at - 1:02}"] if at % 5 else []
            verify = "make test" if at % 3 else None
            paths = (f"src/part{at // 5}/*.py",) if at % 2 else ()
            fields = {"description": _WORDS, "verify": verify, "paths": paths}
            tasks.append(task(name, f"t{at:02}", *after, max_attempts=9, **fields))
        record = plan(name, _oid(name), description=_WORDS)
        document = SourceFile(name, "yaml", f"title: {name}\n".encode())
        yield from self._do(TakeIn(self._stamp(), record, tuple(tasks), document))

    def _attempt(self, agent_id: str) -> Iterator[NewCommit]:
        """One task is claimed and worked on, to a good end or a bad one."""
        tokens = (self._token(),)
        operation = Claim(self._stamp(), agent_id, tokens, Everything())
        claimed = list(self._do(operation))
        yield from claimed
        if not claimed:
            return
        name = next(t.id for t in self.snapshot.held_tasks() if t.claim == tokens[0])
        base = _oid(f"base {name}")
        yield from self._do(Work(self._stamp(), fence(self._task(name)), base))
        number, held = next(self.attempts), fence(self._task(name))
        if number % _FAILS == 0:
            why = Why(code=Reason.GATE_FAILED, message="gate exit 1: no such file")
            ending = Ending("failed", why, _oid(f"rescue {name} {number}"))
            yield from self._do(EndAttempt(self._stamp(), held, ending))
            return
        if number % _TURNS == 1:
            yield from self._do(Turn(self._stamp(), held))
        status = "passed" if self._task(name).verify else "none"
        verdict = Verdict(
            status=status, command="make test", exit_code=0, tree=_oid("tree")
        )
        usage = Usage(input_tokens=120_000, output_tokens=9_000, duration_s=61.5)
        report = Report(_WORDS[:200], verdict, usage, f"session-{number}")
        commit = _oid(f"result {name}")
        yield from self._do(Complete(self._stamp(), held, commit, report))

    def _task(self, name: str) -> Task:
        found = self.snapshot.task(name)
        if found is None:
            raise KeyError(name)
        return found

    def _do(self, operation: Operation) -> Iterator[NewCommit]:
        """The commits of an operation, and of what follows from it."""
        tips = {ref: _oid(ref) for ref in operation.needs}
        if isinstance(operation, TakeIn):
            tips = {}
        elif isinstance(operation, Complete):
            tips = {ref: _oid("tip") for ref in operation.needs}
        answer: Answer = operation.decide(self.snapshot, tips)
        if isinstance(answer, MergeRequest):
            merge = _oid(f"merge {operation.stamp.op_id}")
            answer = answer.then(Merged(merge, _oid("tree")))
        if answer is None:
            return
        assert not isinstance(answer, LineRequest)  # only a landing asks
        self.snapshot = self.snapshot.put(*answer.puts)
        stamp = operation.stamp
        changes = {codec.path_of(entry): codec.encode(entry) for entry in answer.puts}
        words = codec.message(answer.op, answer.subject, stamp.op_id, answer.trailers)
        yield NewCommit(words, stamp.now, changes)
        ended = tuple(t.id for t in answer.tasks if t.status in ENDED)
        if ended:
            yield from self._do(Resolve(self._stamp(), ended))
            for name in {t.plan for t in answer.tasks}:
                if is_closable(self.snapshot.plans[name]):
                    yield from self._do(Close(self._stamp(), name))

    def _stamp(self) -> Stamp:
        self.now += timedelta(seconds=1)
        return Stamp(self._token(), self.now)

    def _token(self) -> str:
        return f"{next(self.numbers):032x}"


def _oid(text: str) -> Oid:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
