"""The checker finds what is planted in a state branch, and nothing in a clean one."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checker import check, main
from tests.support.gitrepo import git
from tests.support.verified import verified

Record = dict[str, Any]

AGENT = "laptop-3fa9c1"
OTHER = "server-00beef"
PLAN = "plans/p/plan.json"
PERCYD = "percyd <percyd@localhost> 1767225600 +0000"
TIME = "2026-01-01T00:00:00Z"
STATE = "refs/heads/percy/state"
BRANCH = "refs/heads/percy/plan/p"


def why(code: str) -> Record:
    return {"code": code, "message": ""}


def agent_card(name: str) -> Record:
    return {
        "id": name,
        "name": name.rpartition("-")[0],
        "host": "host",
        "pid": 1,
        "version": "0",
        "capabilities": [],
        "slots": 2,
        "runners": [],
        "beat_s": 20,
        "lease_s": 90,
        "idle_beat_s": 300,
        "started_at": TIME,
        "status": "joined",
    }


def a_task(name: str, *needs: str, paths: tuple[str, ...] = (), **to: Any) -> Record:
    keys = (
        "description runner timeout_s max_attempts review allow_empty verify "
        "assigned_to claim base reason approved result created_by"
    )
    return {
        **dict.fromkeys(keys.split()),
        "id": f"p.{name}",
        "plan": "p",
        "title": f"Über {name}",
        "type": "implement",
        "run": "true",
        "specialization": [],
        "depends_on": [f"p.{need}" for need in needs],
        "paths": list(paths),
        "priority": 0,
        "status": "blocked" if needs else "submitted",
        "attempt": 0,
        "retries": 0,
        "messages": [],
        "attempts": [],
        "created_at": TIME,
        "updated_at": TIME,
        **to,
    }


def a_plan(base: str) -> Record:
    keys = (
        "description paused landing planning verify budget reason result created_by "
        "review_plan defaults"
    )
    return {
        **dict.fromkeys(keys.split()),
        "id": "p",
        "title": "Plan",
        "status": "ready",
        "base_branch": "main",
        "base_commit": base,
        "source": {
            "kind": "file",
            "path": ".percy/plans/p.yaml",
            "commit": base,
            "blob": None,
            "submitted_by": None,
        },
        "land": "manual",
        "limits": {
            "timeout_s": 3600,
            "idle_s": 900,
            "log_bytes": 1000,
            "max_attempts": 2,
            "backoff_s": 5,
            "fix_rounds": 2,
            "max_depth": 1,
        },
        "created_at": TIME,
        "updated_at": TIME,
    }


def path_of(task: str) -> str:
    short = task.partition(".")[2]
    folder = hashlib.sha256(short.encode()).hexdigest()[0]
    return f"plans/p/tasks/{folder}/{short}.json"


class Story:
    """A state branch and its refs, told one operation at a time.

    Every method writes one right commit; the keywords of some put a wrong value in.
    """

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        git(repo.parent, "init", "-q", "--bare", str(repo))
        self._importer = subprocess.Popen(
            ["git", "-C", str(repo), "fast-import", "--quiet", "--force"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._marks = 0
        self._marked: dict[str, str] = {}
        self._tip: str | None = None
        self.records: dict[str, Record] = {}
        self.refs: dict[str, str] = {}
        self.base = self.code("base", None, {"README": b"hello\n"})
        self.refs["refs/heads/main"] = self.base
        self.commit("init", {"percy.json": marker()})
        self.join(AGENT)

    # Writing

    def _write(
        self, message: str, files: dict[str, bytes | None], *parents: str, mode: str
    ) -> str:
        self._marks += 1
        text = message.encode()
        stream = [
            f"commit refs/heads/written-{self._marks}\nmark :{self._marks}\n"
            f"author {PERCYD}\ncommitter {PERCYD}\ndata {len(text)}\n".encode(),
            text,
            b"\n",
            *(
                f"{'merge' if number else 'from'} {self._marked[parent]}\n".encode()
                for number, parent in enumerate(parents)
            ),
        ]
        for path, content in files.items():
            if content is None:
                stream.append(f"D {path}\n".encode())
            else:
                stream.append(f"M {mode} inline {path}\n".encode())
                stream.append(b"data %d\n%b\n" % (len(content), content))
        stream.append(f"\nget-mark :{self._marks}\n".encode())
        assert self._importer.stdin is not None
        assert self._importer.stdout is not None
        self._importer.stdin.write(b"".join(stream))
        self._importer.stdin.flush()
        oid = self._importer.stdout.readline().decode().strip()
        self._marked[oid] = f":{self._marks}"
        return oid

    def code(
        self, message: str, parent: str | None, files: dict[str, bytes | None]
    ) -> str:
        """A commit that is no state."""
        parents = [parent] if parent else []
        return self._write(message, files, *parents, mode="100644")

    def commit(
        self,
        op: str,
        records: dict[str, Record | bytes | None],
        *tasks: str,
        agent: str | None = None,
        op_id: str | None = None,
        subject: str | None = None,
        extra_parents: tuple[str, ...] = (),
        mode: str = "100644",
    ) -> None:
        """One state commit that changes these records."""
        files: dict[str, bytes | None] = {}
        for path, record in records.items():
            if isinstance(record, dict):
                self.records[path] = record
                text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)
                files[path] = f"{text}\n".encode()
            else:
                self.records.pop(path, None)
                files[path] = record
        number = self._marks + 1
        lines = [f"Percy-Operation: {op}", f"Percy-Op-Id: {op_id or f'{number:032x}'}"]
        for name in tasks:
            lines.append(f"Percy-Task: {name}")
            lines.append(f"Percy-Attempt: {self.records[path_of(name)]['attempt']}")
        if agent:
            lines.append(f"Percy-Agent: {agent}")
        message = f"{subject or f'{op}: something'}\n\n" + "\n".join(lines) + "\n"
        parents = [self._tip] if self._tip else []
        self._tip = self._write(message, files, *parents, *extra_parents, mode=mode)
        self.refs[STATE] = self._tip

    def found(self, *, settled: bool = False) -> list[str]:
        """End the writing, set the refs, and check."""
        self._importer.communicate()
        git(self.repo, "update-ref", "--stdin", stdin="".join(self._moves()))
        return check(self.repo, settled=settled)

    def _moves(self) -> list[str]:
        moves = [f"update {ref} {oid}\n" for ref, oid in self.refs.items()]
        written = range(1, self._marks + 1)
        return moves + [f"delete refs/heads/written-{n}\n" for n in written]

    # Records

    def task(self, name: str) -> Record:
        return copy.deepcopy(self.records[path_of(f"p.{name}")])

    def plan(self, **to: Any) -> Record:
        return {**copy.deepcopy(self.records[PLAN]), **to}

    # Operations

    def join(self, name: str) -> None:
        self.commit("join", {f"agents/{name}.json": agent_card(name)}, agent=name)

    def take_in(self, *tasks: Record, **to: Any) -> None:
        self.refs[BRANCH] = self.base
        records: dict[str, Record | bytes | None] = {
            path_of(task["id"]): task for task in tasks
        }
        records[PLAN] = {**a_plan(self.base), **to}
        records["plans/p/source.yaml"] = b"title: Plan\n"
        self.commit("take-in", records)

    def claim(
        self,
        *names: str,
        agent: str = AGENT,
        subject: str | None = None,
        **wrong: Any,
    ) -> None:
        records: dict[str, Record | bytes | None] = {}
        if self.records[PLAN]["status"] == "ready":
            records[PLAN] = self.plan(status="executing")
        for name in names:
            task = self.task(name)
            task["attempt"] += 1
            token = f"{name}-{task['attempt']}".rjust(32, "0")
            task |= {"status": "assigned", "assigned_to": agent, "claim": token}
            task |= {"base": None, "reason": None, **wrong}
            records[path_of(task["id"])] = task
        tasks = [f"p.{name}" for name in names]
        self.commit("claim", records, *tasks, agent=agent, subject=subject)

    def change(self, op: str, name: str, **to: Any) -> None:
        task = {**self.task(name), **to}
        self.commit(op, {path_of(task["id"]): task}, task["id"])

    def work(self, name: str, **wrong: Any) -> None:
        self.change(
            "work", name, **{"status": "working", "base": self.refs[BRANCH], **wrong}
        )

    def ended(self, name: str, outcome: str, code: str | None, **to: Any) -> Record:
        """The record of a task whose claim has ended."""
        task = self.task(name)
        entry = {
            **dict.fromkeys(["branch", "commit", "rescue", "verdict", "session"]),
            "number": task["attempt"],
            "agent": task["assigned_to"],
            "claim": task["claim"],
            "outcome": outcome,
            "reason": why(code) if code else None,
            "summary": None,
            "usage": None,
        }
        return {
            **task,
            "assigned_to": None,
            "claim": None,
            "reason": why(code) if code else None,
            "retries": task["retries"] + (outcome in ("failed", "lost")),
            "attempts": [*task["attempts"], entry],
            **to,
        }

    def release(self, name: str, code: str = "runner_failed", **wrong: Any) -> None:
        task = self.ended(name, "failed", code, status="submitted")
        rescued = self.code("rescued", task["base"], {"half": b"done\n"})
        ref = f"refs/percy/rescue/p.{name}/{task['attempt']}"
        self.refs[ref] = rescued
        task["attempts"][-1] |= {"commit": rescued, "rescue": ref}
        task |= wrong
        self.commit("release", {path_of(task["id"]): task}, task["id"])

    def fail(self, name: str, **wrong: Any) -> None:
        task = self.ended(name, "failed", "runner_failed", status="failed")
        task |= {"reason": why("attempts_exhausted"), **wrong}
        self.commit("fail", {path_of(task["id"]): task}, task["id"])

    def complete(self, name: str, **wrong: Any) -> None:
        task = self.ended(name, "completed", None, status="completed")
        branch = f"agent/{task['attempts'][-1]['agent']}/p.{name}"
        work = self.code(name, task["base"], {name: b"work\n"})
        merge = self._write(
            f"Merge p.{name}\n\nPercy-Task: p.{name}\nPercy-Attempt: 1\n",
            {name: b"work\n"},
            self.refs[BRANCH],
            work,
            mode="100644",
        )
        self.refs[BRANCH] = merge
        self.refs[f"refs/heads/{branch}"] = work
        verdict = dict.fromkeys(
            ("status", "command", "exit_code", "tree", "duration_s")
        )
        task["attempts"][-1] |= {"branch": branch, "commit": work}
        task["result"] = {
            "branch": branch,
            "commit": work,
            "integration_commit": merge,
            "summary": None,
            "verdict": {**verdict, "status": "none"},
            "usage": None,
            "session": None,
        }
        task |= wrong
        self.commit("complete", {path_of(task["id"]): task}, task["id"])

    def do(self, name: str) -> None:
        """The three commits of a task that goes well."""
        self.claim(name)
        self.work(name)
        self.complete(name)

    def close(self, status: str, code: str | None = None) -> None:
        result = {
            "commit": self.refs[BRANCH],
            "landed_commit": None,
            "landed_into": None,
        }
        reason = why(code) if code else None
        plan = self.plan(status=status, result=result, reason=reason)
        self.commit("close", {PLAN: plan})


def marker() -> Record:
    return {"format": 1, "project": "shop", "created_at": TIME}


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """A repository with a state branch and one agent that has joined."""
    return Story(tmp_path / "remote.git")


def test_a_plan_that_goes_well_has_no_violation(story: Story) -> None:
    story.take_in(a_task("a", paths=("lib/*.py",)), a_task("b", "a"))
    story.do("a")
    story.change("resolve", "b", status="submitted")
    story.claim("b")
    story.work("b")
    story.release("b")
    story.do("b")
    story.close("done")

    assert story.found(settled=True) == []


def test_a_plan_that_fails_and_is_retried_has_no_violation(story: Story) -> None:
    story.take_in(a_task("a", max_attempts=1), a_task("b", "a"))
    story.claim("a")
    story.work("a")
    story.fail("a")
    story.change("resolve", "b", status="cancelled", reason=why("dependency_failed"))
    story.close("failed", "attempts_exhausted")
    records: dict[str, Record | bytes | None] = {
        PLAN: story.plan(status="executing", reason=None, result=None)
    }
    for name, status in (("a", "submitted"), ("b", "blocked")):
        records[path_of(f"p.{name}")] = {
            **story.task(name),
            "status": status,
            "reason": None,
            "retries": 0,
        }
    story.commit("retry", records, "p.a", "p.b")
    story.do("a")
    story.change("resolve", "b", status="submitted")
    story.do("b")
    story.close("done")

    assert story.found(settled=True) == []


def test_an_agent_that_is_lost_with_its_tasks_is_no_violation(story: Story) -> None:
    story.take_in(a_task("a", paths=("a/",)), a_task("b", paths=("b/",)))
    story.claim("a", "b")
    story.work("a")
    records: dict[str, Record | bytes | None] = {
        path_of(f"p.{name}"): story.ended(
            name, "lost", "agent_lost", status="submitted"
        )
        for name in "ab"
    }
    records[f"agents/{AGENT}.json"] = {**agent_card(AGENT), "status": "lost"}
    story.commit("lost", records, "p.a", "p.b", agent=AGENT)

    assert story.found(settled=True) == []


def test_a_finished_plan_in_the_archive_is_no_violation(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.close("done")
    kept = [story.plan(), story.task("a")]
    lines = "".join(json.dumps(record) + "\n" for record in kept)
    story.commit(
        "archive",
        {
            "archive/p.jsonl": lines.encode(),
            PLAN: None,
            path_of("p.a"): None,
            "plans/p/source.yaml": None,
        },
    )

    assert story.found(settled=True) == []


Plant = Callable[[Story], None]
PLANTS: dict[str, tuple[str, str, Plant]] = {}


def plant(checker: str, product: str) -> Callable[[Plant], Plant]:
    """Register a violation, with the words of the checker and of ``percyd verify``."""

    def register(tell: Plant) -> Plant:
        PLANTS[tell.__name__] = (checker, product, tell)
        return tell

    return register


@plant("has 2 parents", "has 2 parents; any other commit has 1")
def a_merge(story: Story) -> None:
    card = {f"agents/{OTHER}.json": agent_card(OTHER)}
    story.commit("join", dict(card), extra_parents=(story.base,))


@plant(
    "p.a: submitted -> working is no edge", "submitted -> working is no edge of work"
)
def a_step_that_skips_the_claim(story: Story) -> None:
    story.take_in(a_task("a"))
    story.change(
        "work", "a", status="working", base=story.base, assigned_to=AGENT, claim="x"
    )


@plant(
    "p.a: submitted -> assigned is no edge of this operation",
    "submitted -> assigned is no edge of release",
)
def a_right_edge_by_the_wrong_operation(story: Story) -> None:
    story.take_in(a_task("a"))
    story.change("release", "a", status="assigned", assigned_to=AGENT, claim="x")


@plant(
    "p.a: completed -> submitted is no edge",
    "completed -> submitted is no edge of retry",
)
def a_task_that_is_done_twice(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.change("retry", "a", status="submitted", result=None)


@plant(
    "agents/laptop-3fa9c1.json: is no JSON",
    "agents/laptop-3fa9c1.json: JSON: Invalid JSON",
)
def a_record_that_is_no_json(story: Story) -> None:
    story.commit("leave", {f"agents/{AGENT}.json": b"{"})


@plant("p: executing -> ready is no edge", "executing -> ready is no edge of start")
def a_plan_that_goes_back(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.commit("start", {PLAN: story.plan(status="ready")})


@plant("attempt 0 -> 2", "attempt 0 is followed by 2")
def an_attempt_that_jumps(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a", attempt=2)


@plant("has the claim token of p.a", "has a claim token of p.a")
def a_token_that_was_used_before(story: Story) -> None:
    story.take_in(a_task("a", paths=("a/",)), a_task("b", paths=("b/",)))
    story.claim("a")
    story.claim("b", claim=story.task("a")["claim"])


@plant("again", "has the op id of")
def an_op_id_that_was_used_before(story: Story) -> None:
    story.commit("join", {f"agents/{OTHER}.json": agent_card(OTHER)}, op_id="f" * 32)
    left = {**agent_card(OTHER), "status": "left"}
    story.commit("leave", {f"agents/{OTHER}.json": left}, op_id="f" * 32)


@plant("p.b: is claimed, p.a is submitted", "is claimed, but p.a is not completed")
def a_claim_before_its_dependency_is_completed(story: Story) -> None:
    story.take_in(a_task("a"), a_task("b", "a", status="submitted"))
    story.claim("b")


@plant("not joined", "which has not joined")
def a_claim_by_an_agent_that_is_not_there(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a", agent=OTHER)


@plant("not joined", "which has not joined")
def a_claim_by_an_agent_that_has_left(story: Story) -> None:
    story.take_in(a_task("a"))
    left = {**agent_card(AGENT), "status": "left"}
    story.commit("leave", {f"agents/{AGENT}.json": left}, agent=AGENT)
    story.claim("a")


@plant("p.b: its paths overlap with p.a", "its paths overlap with those of p.a")
def a_claim_of_paths_that_another_task_holds(story: Story) -> None:
    story.take_in(a_task("a", paths=("lib/a/*.py",)), a_task("b", paths=("lib/",)))
    story.claim("a")
    story.claim("b")


@plant("its paths overlap with p.", "its paths overlap with those of p.b")
def two_tasks_with_the_same_paths_in_one_claim(story: Story) -> None:
    story.take_in(a_task("a", paths=("lib/x.py",)), a_task("b", paths=("*.md",)))
    story.claim("a", "b")


@plant("is claimed, its plan is ready or paused", "is claimed, but plan p is paused")
def a_claim_from_a_paused_plan(story: Story) -> None:
    story.take_in(a_task("a"), paused=why("paused_by_user"))
    story.claim("a")


@plant("a task is claimed and the plan is ready", "is claimed and leaves plan p ready")
def a_claim_that_leaves_the_plan_ready(story: Story) -> None:
    story.take_in(a_task("a"))
    task = story.task("a") | {"attempt": 1, "assigned_to": AGENT, "claim": "x"}
    records = {path_of("p.a"): {**task, "status": "assigned"}}
    story.commit("claim", dict(records), "p.a", agent=AGENT)


@plant("lies in the wrong folder", "plans/p/tasks/0/b.json holds task p.b")
def a_task_in_the_wrong_folder(story: Story) -> None:
    story.take_in(a_task("a"))
    wrong = a_task("b", type="fix")
    story.commit("take-in", {"plans/p/tasks/0/b.json": wrong})


@plant("is not in canonical form", "is not in canonical form")
def a_record_with_other_spaces(story: Story) -> None:
    left = {**agent_card(AGENT), "status": "left"}
    content = json.dumps(left, sort_keys=True, indent=2) + "\n"
    story.commit("leave", {f"agents/{AGENT}.json": content.encode()})


@plant("is not in canonical form", "is not in canonical form")
def a_record_with_escaped_letters(story: Story) -> None:
    content = json.dumps(agent_card(OTHER) | {"host": "Über"}, sort_keys=True, indent=1)
    story.commit("join", {f"agents/{OTHER}.json": f"{content}\n".encode()})


@plant("is not in canonical form", "is not in canonical form")
def a_key_that_is_there_twice(story: Story) -> None:
    card = json.dumps(agent_card(OTHER), sort_keys=True, indent=1)
    twice = card.replace(' "host":', ' "host": "other",\n "host":') + "\n"
    story.commit("join", {f"agents/{OTHER}.json": twice.encode()})


@plant("agent.host is missing", "host: Field required")
def a_key_that_is_not_there(story: Story) -> None:
    card = agent_card(OTHER)
    del card["host"]
    story.commit("join", {f"agents/{OTHER}.json": card})


@plant("task.attempts.outcome is 'odd'", "attempts.0.outcome: Input should be")
def a_value_that_the_format_does_not_know(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    wrong = story.ended("a", "odd", "runner_failed")["attempts"]
    story.release("a", attempts=wrong)


@plant("has mode 100755", "has mode 100755")
def a_file_that_can_be_executed(story: Story) -> None:
    card = {f"agents/{OTHER}.json": agent_card(OTHER)}
    story.commit("join", dict(card), mode="100755")


@plant("notes.txt: is no file of the format", "notes.txt: is no file of the format")
def a_file_that_does_not_belong(story: Story) -> None:
    card = {f"agents/{OTHER}.json": agent_card(OTHER)}
    story.commit("join", {**card, "notes.txt": b"hello\n"})


@plant("the subject is 'fix: it'", "the subject is 'fix: it'")
def a_subject_of_another_operation(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a", subject="fix: it")


@plant("the result says otherwise", "but p.a was completed with")
def a_result_branch_that_has_moved(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    branch = f"refs/heads/agent/{AGENT}/p.a"
    story.refs[branch] = story.code("more", story.refs[branch], {"more": b"x\n"})


@plant("is no completed task's merge", "which is no completed task's merge")
def a_commit_on_the_integration_branch_that_is_no_result(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.refs[BRANCH] = story.code("more", story.refs[BRANCH], {"more": b"x\n"})


@plant("is not on the integration branch", "is not on percy/plan/p")
def a_result_that_was_taken_back(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.refs[BRANCH] = story.base


@plant("has no integration branch", "refs/heads/percy/plan/p: is not on the remote")
def an_integration_branch_that_is_gone(story: Story) -> None:
    story.take_in(a_task("a"))
    del story.refs[BRANCH]


@plant(
    "the rescue ref is refs/percy/rescue/p.a/7",
    "names the rescue ref refs/percy/rescue/p.a/7",
)
def a_rescue_ref_of_another_attempt(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    entries = story.ended("a", "failed", "conflict")["attempts"]
    entries[0] |= {"rescue": "refs/percy/rescue/p.a/7", "commit": story.base}
    story.refs["refs/percy/rescue/p.a/7"] = story.base
    story.release("a", code="conflict", attempts=entries)


@plant(
    "refs/percy/rescue/p.a/1: is at None",
    "refs/percy/rescue/p.a/1: is not on the remote",
)
def a_rescue_ref_that_is_gone(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    story.release("a")
    del story.refs["refs/percy/rescue/p.a/1"]


@plant("ends another claim than the parent's", "ends attempt 1; another claim holds it")
def a_completion_under_an_old_claim(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    entries = story.ended("a", "failed", "conflict")["attempts"]
    story.release("a", attempts=[{**entries[0], "claim": "other"}])


@plant("is worked on under another claim", "work may not change claim")
def work_under_another_claim(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a", claim="other")


@plant("is submitted and claim is", "is submitted and has an assigned_to or a claim")
def a_claim_that_outlives_its_status(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    story.release("a", claim="still")


@plant("is queued again after 2 of 2", "goes back to the queue after 2 of 2 attempts")
def an_attempt_too_many(story: Story) -> None:
    story.take_in(a_task("a"))
    for _ in range(2):
        story.claim("a")
        story.work("a")
        story.release("a")


@plant("is out of attempts after 1 of 2", "is out of attempts after 1 of 2")
def a_task_that_fails_too_early(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    story.fail("a")


@plant(
    "the landing turn is held by no claim",
    "p.a has the landing turn and does not hold that claim",
)
def a_landing_turn_that_outlives_its_claim(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    token = story.task("a")["claim"]
    landing = {"task": "p.a", "attempt": 1, "claim": token}
    story.commit("turn", {PLAN: story.plan(landing=landing)})
    story.complete("a")


@plant("p.b: lands in the turn of p.a", "lands in the turn of p.a")
def a_landing_in_the_turn_of_another(story: Story) -> None:
    story.take_in(a_task("a"), a_task("b"))
    story.claim("a", "b")
    story.work("a")
    story.work("b")
    token = story.task("a")["claim"]
    landing = {"task": "p.a", "attempt": 1, "claim": token}
    story.commit("turn", {PLAN: story.plan(landing=landing)})
    story.complete("b")


@plant("lands with verdict none", "lands with the verdict none, not passed")
def a_landing_past_the_gate(story: Story) -> None:
    story.take_in(a_task("a", verify="make test"))
    story.do("a")


@plant("p: has a cycle", "has a cycle: p.a -> p.b -> p.a")
def a_cycle(story: Story) -> None:
    story.take_in(a_task("a", "b"), a_task("b", "a"))


@plant("depends on p.c, which is not there", "depends on p.c, which is not in the plan")
def a_dependency_on_nothing(story: Story) -> None:
    story.take_in(a_task("b", "c"))


@plant("p: is done, open are ['p.b']", "is done with 1 open tasks")
def a_plan_that_is_done_with_open_tasks(story: Story) -> None:
    story.take_in(a_task("a"), a_task("b"))
    story.do("a")
    story.close("done")


@plant("p: is done, not completed are ['p.a']", "is done, but p.a is not completed")
def a_plan_that_is_done_with_failed_tasks(story: Story) -> None:
    story.take_in(a_task("a", max_attempts=1))
    story.claim("a")
    story.work("a")
    story.fail("a")
    story.close("done")


@plant(
    "p: is failed, and every task is completed",
    "is failed, but every task is completed",
)
def a_plan_that_has_failed_for_nothing(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.close("failed", "cancelled")


@plant(
    "is held by an agent that is gone",
    "p.a is still held by laptop-3fa9c1, which is gone",
)
def an_agent_that_leaves_with_a_task(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    left = {**agent_card(AGENT), "status": "left"}
    story.commit("leave", {f"agents/{AGENT}.json": left}, agent=AGENT)


@plant("p.a: changes title", "claim may not change title")
def a_field_that_the_operation_may_not_change(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a", title="Other")


@plant("p.a: attempts do not only grow", "attempts does not only grow")
def an_attempt_that_is_forgotten(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a")
    story.work("a")
    story.release("a")
    story.claim("a", attempts=[])


@plant(
    "p.b: is ready although a dependency is not completed",
    "is resolved, but p.a is submitted",
)
def a_task_that_is_released_too_early(story: Story) -> None:
    story.take_in(a_task("a"), a_task("b", "a"))
    story.change("resolve", "b", status="submitted")


@plant("changes nothing", "changes nothing")
def a_commit_that_changes_nothing(story: Story) -> None:
    story.commit("say", {})


@plant("Percy-Task p.a does not change", "names p.a, which does not change")
def a_trailer_of_a_task_that_does_not_change(story: Story) -> None:
    story.take_in(a_task("a"))
    story.commit("join", {f"agents/{OTHER}.json": agent_card(OTHER)}, "p.a")


@plant("differs from the records", "does not hold the plan and its tasks")
def an_archive_that_forgets(story: Story) -> None:
    story.take_in(a_task("a"))
    story.do("a")
    story.close("done")
    gone: dict[str, Record | bytes | None] = {PLAN: None, path_of("p.a"): None}
    line = json.dumps(story.plan()) + "\n"
    gone |= {"plans/p/source.yaml": None, "archive/p.jsonl": line.encode()}
    story.commit("archive", gone)


@plant("its base does not contain the work of p.a", "does not have the work of p.a")
def a_dependent_that_starts_without_its_dependency(story: Story) -> None:
    story.take_in(a_task("a"), a_task("b", "a"))
    story.do("a")
    story.change("resolve", "b", status="submitted")
    story.claim("b")
    story.work("b", base=story.base)
    story.complete("b")


@pytest.mark.spoiled
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_violation_is_found(story: Story, name: str) -> None:
    checker, product, tell = PLANTS[name]
    tell(story)

    found = story.found()
    report = verified(story.repo)

    assert any(checker in line for line in found), found
    assert report is not None
    assert any(product in str(violation) for violation in report.violations), report


def test_a_cascade_that_has_not_happened_is_found_when_all_is_settled(
    story: Story,
) -> None:
    story.take_in(a_task("a", max_attempts=1), a_task("b", "a"))
    story.claim("a")
    story.work("a")
    story.fail("a")

    assert story.found() == []
    assert check(story.repo) == ["tip: p.b: is blocked, a dependency is dead"]


@pytest.mark.spoiled
def test_an_object_that_is_missing_is_found(story: Story) -> None:
    story.take_in(a_task("a"))
    assert story.found() == []
    pack = next((story.repo / "objects" / "pack").glob("*.pack"), None)
    lost = git(story.repo, "rev-parse", f"{STATE}:{PLAN}")
    if pack is not None:
        moved = pack.rename(story.repo / "kept.pack")
        pack.with_suffix(".idx").unlink()
        with moved.open("rb") as stream:
            subprocess.run(
                ["git", "-C", str(story.repo), "unpack-objects", "-q"],
                stdin=stream,
                check=True,
            )
    (story.repo / "objects" / lost[:2] / lost[2:]).unlink()

    assert any(lost in line for line in check(story.repo))


@pytest.mark.spoiled
def test_the_command_prints_what_it_finds_and_says_so(story: Story) -> None:
    story.take_in(a_task("a"))
    story.claim("a", attempt=2)
    found = story.found()
    printed: list[str] = []

    assert main([str(story.repo)], printed.append) == 1
    assert printed == found != []
    assert main([], printed.append) == 2


def test_a_repository_without_state_is_a_violation(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare")

    assert check(tmp_path) == ["refs: percy/state: is not there"]
