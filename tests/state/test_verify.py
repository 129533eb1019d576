"""`verify` finds what is planted in a state branch, and nothing in an honest one."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.core.ids import STATE_REF, task_folder
from percyd.core.operations.agents import Depart
from percyd.core.operations.claims import Claim, EndAttempt, Ending
from percyd.core.operations.completion import Report, Turn
from percyd.core.operations.plans import TakeIn
from percyd.core.operations.retry import Retry
from percyd.core.operations.reviews import CompleteReview
from percyd.core.reasons import Reason
from percyd.core.records import Why
from percyd.core.snapshot import SourceFile
from percyd.errors import UnknownIdError
from percyd.repo.objects import write_commits
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import NewCommit
from percyd.state import codec
from percyd.state.verify.files import Files
from percyd.state.verify.report import Violation
from percyd.state.verify.walk import verify
from percyd.work.worker import Everything
from tests.support.checker import check
from tests.support.gitrepo import git
from tests.support.state import Bench, GitRemote, agent, fence, plan, task
from tests.support.verified import OwnRefs, assert_verified, verified

Json = dict[str, Any]
Changes = dict[str, Json | bytes | None]

AGENT = "box-000000"
CARD = f"agents/{AGENT}.json"
PLAN = "plans/p/plan.json"
WHEN = datetime(2026, 3, 1, tzinfo=UTC)
WHO = "percyd <percyd@localhost> 1767225600 +0000"


def path_of(name: str) -> str:
    plan_id, _, short = name.partition(".")
    return f"plans/{plan_id}/tasks/{task_folder(short)}/{short}.json"


A, B, C, D, E, F = (path_of(f"p.{short}") for short in "abcdef")
OTHER = "agents/laptop-3fa9c1.json"


def text_of(record: Json) -> bytes:
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=False)
    return f"{text}\n".encode()


def failed(code: Reason = Reason.RUNNER_FAILED) -> Ending:
    return Ending("failed", Why(code=code, message="exit 1"))


def claim_again(bench: Bench) -> Any:
    """Claim one task, also one that has just failed."""
    store = bench.store
    operation = Claim(store.stamp(), bench.agent.id, (store.token(),), Everything())
    decision = store.apply(operation).decision
    assert decision is not None
    return decision.tasks[0]


def honest_story(bench: Bench) -> None:
    """Plan ``p``: a is completed, c is worked on, b waits for c, the rest for nobody."""
    bench.start()
    base = bench.base(readme="hello")
    bench.take_in(
        plan("p", base),
        task("p", "a", priority=9),
        task("p", "c", priority=8, paths=("src/*.py",), max_attempts=1),
        task("p", "b", "c"),
        task("p", "d", paths=("src/x/",)),
        task("p", "e", paths=("docs/",)),
        task("p", "f", type="review"),
    )
    bench.take_in(plan("q", base, status="draft"), task("q", "a"))
    bench.do("p.a")
    bench.store.refresh()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote with an honest history, to be copied and spoiled."""
    remote = GitRemote(tmp_path_factory.mktemp("model"))
    bench = Bench(remote)
    honest_story(bench)
    bench.work(bench.task("p.c"))
    for claimed in list(bench.store.state.snapshot.held_tasks()):
        if claimed.id != "p.c":
            ending = Ending("released", Why(code=Reason.RELEASED, message="stop"))
            bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), ending))
    remote.close()
    return remote.git.git_dir


class Spoiled:
    """A copy of the model, and commits that nobody but a test would make."""

    def __init__(self, repo: Path) -> None:
        self.repo = repo
        self.git = Git(repo)
        self.first = self.tip
        rows = git(repo, "ls-tree", "-r", "--name-only", STATE_REF).splitlines()
        self.records: dict[str, Json] = {
            path: json.loads(git(repo, "cat-file", "blob", f"{STATE_REF}:{path}"))
            for path in rows
            if path.endswith(".json")
        }
        self._count = 0

    @property
    def tip(self) -> str:
        return git(self.repo, "rev-parse", STATE_REF)

    def task(self, short: str, **to: Any) -> Json:
        return {**copy.deepcopy(self.records[path_of(f"p.{short}")]), **to}

    def plan(self, **to: Any) -> Json:
        return {**copy.deepcopy(self.records[PLAN]), **to}

    def edited(self, blob: str, plan: str = "p", **to: Any) -> Changes:
        """A plan that follows another version of its document, and that document."""
        record = copy.deepcopy(self.records[f"plans/{plan}/plan.json"])
        record["source"]["blob"] = blob * 40
        source = f"plans/{plan}/source.yaml"
        return {f"plans/{plan}/plan.json": {**record, **to}, source: blob.encode()}

    def op_id(self) -> str:
        self._count += 1
        return f"ff{self._count:030x}"

    def used_op_id(self) -> str:
        """The one of the newest commit."""
        form = "--format=%(trailers:key=Percy-Op-Id,valueonly)"
        return git(self.repo, "log", "-1", form, STATE_REF)

    def message(self, op: str, *trailers: str, op_id: str | None = None) -> str:
        lines = [f"Percy-Operation: {op}", f"Percy-Op-Id: {op_id or self.op_id()}"]
        return f"{op}: something\n\n" + "\n".join([*lines, *trailers]) + "\n"

    def commit(
        self,
        op: str,
        changes: Changes,
        *tasks: str,
        agent: str | None = None,
        message: str | None = None,
    ) -> str:
        """One commit with these files changed, its trailers right unless told."""
        files: dict[str, bytes | None] = {}
        for path, record in changes.items():
            if isinstance(record, dict):
                self.records[path] = record
                files[path] = text_of(record)
            else:
                files[path] = record
        trailers = []
        for name in tasks:
            attempt = self.records[path_of(name)]["attempt"]
            trailers += [f"Percy-Task: {name}", f"Percy-Attempt: {attempt}"]
        if agent:
            trailers.append(f"Percy-Agent: {agent}")
        words = message or self.message(op, *trailers)
        (oid,) = write_commits(self.git, self.tip, [NewCommit(words, WHEN, files)])
        self.git.run("update-ref", STATE_REF, oid)
        return oid

    def change(self, op: str, short: str, **to: Any) -> str:
        record = self.task(short, **to)
        return self.commit(op, {path_of(record["id"]): record}, record["id"])

    def claim(self, *shorts: str, by: str = AGENT, **wrong: Any) -> str:
        changes: Changes = {}
        for short in shorts:
            record = self.task(short)
            record |= {"attempt": record["attempt"] + 1, "assigned_to": by}
            record |= {"claim": self.op_id(), "status": "assigned", "reason": None}
            record |= {"base": None, "updated_at": "2026-03-01T00:00:00Z", **wrong}
            changes[path_of(record["id"])] = record
        return self.commit("claim", changes, *(f"p.{s}" for s in shorts), agent=by)

    def ended(self, short: str, outcome: str, code: str | None, **to: Any) -> Json:
        record = self.task(short)
        why = {"code": code, "message": ""} if code else None
        empty = "branch commit rescue verdict session summary usage"
        entry = {
            **dict.fromkeys(empty.split()),
            "number": record["attempt"],
            "agent": record["assigned_to"],
            "claim": record["claim"],
            "outcome": outcome,
            "reason": why,
        }
        counted = outcome in ("failed", "lost")
        record |= {"assigned_to": None, "claim": None, "reason": why}
        record |= {"retries": record["retries"] + counted}
        return record | {"attempts": [*record["attempts"], entry], **to}

    def end(
        self, op: str, short: str, outcome: str, code: str | None, **to: Any
    ) -> str:
        record = self.ended(short, outcome, code, **to)
        return self.commit(op, {path_of(record["id"]): record}, record["id"])

    def plumbed(self, tree: str, *parents: str, message: str, who: str = WHO) -> str:
        """A commit of any tree with any parents, by anybody."""
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        text = "\n".join([*lines, f"author {who}", f"committer {who}", "", message])
        oid = self.git.run(
            *("hash-object", "-t", "commit", "-w", "--stdin", "--literally"),
            stdin=text.encode(),
        ).text
        self.git.run("update-ref", STATE_REF, oid)
        return oid

    def tree(self, *rows: tuple[str, str, str]) -> str:
        """The tip's tree with entries added that git itself would refuse."""
        listing = self.git.run("cat-file", "tree", f"{self.tip}^{{tree}}").stdout
        for mode, name, oid in rows:
            listing += f"{mode} {name}\0".encode() + bytes.fromhex(oid)
        return self.git.run(
            *("hash-object", "-t", "tree", "-w", "--stdin", "--literally"),
            stdin=listing,
        ).text

    def blob(self, content: bytes = b"x") -> str:
        return self.git.run("hash-object", "-w", "--stdin", stdin=content).text

    def found(self) -> tuple[Violation, ...]:
        report = verified(self.repo)
        assert report is not None
        return report.violations


@pytest.fixture
def spoiled(model: Path, tmp_path: Path) -> Spoiled:
    return Spoiled(Path(shutil.copytree(model, tmp_path / "remote.git")))


# Honest histories


def test_an_honest_history_has_no_violation(spoiled: Spoiled) -> None:
    assert spoiled.found() == ()
    assert check(spoiled.repo, settled=False) == []


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    remote = GitRemote(tmp_path)
    yield Bench(remote)
    remote.close()


def clean(bench: Bench) -> None:
    assert isinstance(bench.remote, GitRemote)
    assert_verified(bench.remote.git.git_dir)
    assert check(bench.remote.git.git_dir, settled=False) == []


def test_a_plan_that_is_done_is_clean(bench: Bench) -> None:
    bench.start()
    base = bench.base(readme="hello")
    bench.take_in(plan("p", base), task("p", "a"), task("p", "b", "a"))
    bench.do("p.a")
    bench.do("p.b")
    assert bench.plan("p").status == "done"
    clean(bench)


def test_failures_a_cascade_and_a_retry_are_clean(bench: Bench) -> None:
    bench.start()
    base = bench.base(readme="hello")
    bench.take_in(plan("p", base), task("p", "a"), task("p", "b", "a"))
    for _ in range(3):
        claimed = claim_again(bench)
        bench.work(claimed)
        bench.store.apply(EndAttempt(bench.store.stamp(), fence(claimed), failed()))
    assert bench.plan("p").status == "failed"
    bench.store.apply(Retry(bench.store.stamp(), "p.a"))
    bench.do("p.a")
    bench.do("p.b")
    assert bench.plan("p").status == "done"
    clean(bench)


def test_a_lost_agent_a_turn_a_source_and_a_review_are_clean(bench: Bench) -> None:
    bench.start()
    base = bench.base(readme="hello")
    other = Bench(bench.remote, 1)
    other.join()
    document = SourceFile("p", "yaml", b"title: P\n")
    operation = plan("p", base), (task("p", "a"), task("p", "r", type="review"))
    bench.store.apply(TakeIn(bench.store.stamp(), *operation, document))
    other.claim(2)
    other.store.apply(Depart(other.store.stamp(), other.agent.id, lost=True))
    bench.store.refresh()
    implement, review = sorted(
        (claim_again(bench) for _ in range(2)), key=lambda claimed: claimed.type
    )
    for claimed in (implement, review):
        bench.work(claimed)
    bench.store.apply(Turn(bench.store.stamp(), fence(implement)))
    # A review moves no branch: whose turn it is to move one does not concern it.
    report = Report("looks right")
    bench.store.apply(CompleteReview(bench.store.stamp(), fence(review), report))
    bench.complete(implement)
    assert bench.plan("p").status == "done"
    clean(bench)


def why(code: str) -> Json:
    return {"code": code, "message": ""}


def test_a_question_and_its_answer_are_clean(spoiled: Spoiled) -> None:
    record = spoiled.ended("c", "asked", "question", status="input_required")
    asked = {"kind": "question", "text": "which?", "by": None, "attempt": 1}
    record["messages"] = [asked]
    spoiled.commit("ask", {C: record}, "p.c")
    said = {"kind": "answer", "text": "that", "by": "me", "attempt": None}
    to = {"status": "submitted", "reason": None, "messages": [asked, said]}
    spoiled.change("answer", "c", **to)
    honest(spoiled)


def test_an_approval_and_a_rejection_are_clean(spoiled: Spoiled) -> None:
    spoiled.claim("e")
    spoiled.change("work", "e", status="working", base=spoiled.plan()["base_commit"])
    for short in "ce":
        spoiled.end("ask", short, "asked", "review", status="input_required")
    spoiled.change("approve", "c", status="submitted", reason=None, approved="1" * 40)
    spoiled.change("reject", "e", status="failed", reason=why("rejected"))
    honest(spoiled)


def test_pauses_edits_and_a_cancelled_plan_are_clean(spoiled: Spoiled) -> None:
    spoiled.commit("pause", {PLAN: spoiled.plan(paused=why("paused_by_user"))})
    spoiled.commit("resume", {PLAN: spoiled.plan(paused=None)})
    fresh = {"attempt": 0, "attempts": [], "reason": None, "depends_on": ["p.e"]}
    added = spoiled.task("e", id="p.g", status="blocked", **fresh)
    edited = spoiled.task("d", title="D2")
    gone = spoiled.task("f", status="cancelled", reason=why("removed"))
    changes: Changes = {D: edited, F: gone, path_of("p.g"): added}
    spoiled.commit("reconcile", changes | spoiled.edited("1", title="P2"))
    back = spoiled.task("f", status="submitted", reason=None)
    spoiled.commit("reconcile", spoiled.edited("2") | {F: back})
    cancelled: Changes = {
        path_of(f"p.{short}"): spoiled.task(
            short, status="cancelled", reason=why("cancelled")
        )
        for short in "bdefg"
    }
    cancelled[C] = spoiled.ended("c", "cancelled", "cancelled", status="cancelled")
    plan_too = spoiled.plan(status="cancelled", reason=why("cancelled"))
    spoiled.commit("cancel", cancelled | {PLAN: plan_too})
    honest(spoiled)


def test_an_archive_is_clean(spoiled: Spoiled) -> None:
    gone: Changes = {
        path_of(f"p.{short}"): spoiled.task(
            short, status="cancelled", reason=why("cancelled")
        )
        for short in "bdef"
    }
    gone[C] = spoiled.ended("c", "cancelled", "cancelled", status="cancelled")
    plan_too = spoiled.plan(status="cancelled", reason=why("cancelled"))
    spoiled.commit("cancel", gone | {PLAN: plan_too})
    tasks = [r for path, r in spoiled.records.items() if path.startswith("plans/p/t")]
    kept = [spoiled.plan(), *sorted(tasks, key=lambda record: str(record["id"]))]
    lines = "".join(json.dumps(record) + "\n" for record in kept)
    paths = [path for path in spoiled.records if path.startswith("plans/p/")]
    folded: Changes = dict.fromkeys(paths)
    spoiled.commit("archive", folded | {"archive/p.jsonl": lines.encode()})
    left = {**spoiled.records[CARD], "status": "left"}
    spoiled.commit("leave", {CARD: left}, agent=AGENT)
    spoiled.commit("archive", {CARD: None})
    honest(spoiled)


def test_a_review_that_asks_for_a_fix_is_clean(spoiled: Spoiled) -> None:
    spoiled.claim("f")
    spoiled.change("work", "f", status="working", base=spoiled.plan()["base_commit"])
    record = spoiled.ended("f", "completed", None, status="completed")
    empty = "branch commit integration_commit verdict usage session"
    record["result"] = {**dict.fromkeys(empty.split()), "summary": "mend it"}
    fresh = {"attempt": 0, "attempts": [], "reason": None, "type": "fix"}
    fix = spoiled.task("e", id="p.fix-1", **fresh)
    spoiled.commit("complete", {F: record, path_of("p.fix-1"): fix}, "p.f")
    honest(spoiled)


def honest(spoiled: Spoiled) -> None:
    assert spoiled.found() == ()
    assert check(spoiled.repo, settled=False) == []


# Planted violations

Plant = Callable[[Spoiled], str]
PLANTS: dict[str, tuple[str, str, str, Plant]] = {}


def plant(path: str, words: str, checker: str) -> Callable[[Plant], Plant]:
    """Register a violation: where and in which words it is reported.

    ``checker`` are the words of the independent checker, which finds it as well.
    """

    def register(tell: Plant) -> Plant:
        PLANTS[tell.__name__] = (path, words, checker, tell)
        return tell

    return register


def card(spoiled: Spoiled, **to: Any) -> Json:
    return {**spoiled.records[CARD], "id": "laptop-3fa9c1", **to}


@plant("", "has 2 parents; any other commit has 1", "has 2 parents")
def a_merge(s: Spoiled) -> str:
    return s.plumbed(
        git(s.repo, "rev-parse", f"{STATE_REF}^{{tree}}"),
        *(s.tip, git(s.repo, "rev-parse", "refs/heads/percy/plan/p")),
        message=s.message("say"),
    )


@plant(
    "",
    "init is the first operation and no other",
    "init is the first operation and no other",
)
def a_second_init(s: Spoiled) -> str:
    return s.commit("init", {"percy.json": {**s.records["percy.json"], "project": "x"}})


@plant("", "author is Eve <eve@example.org>", "is by ['Eve <eve@example.org>'")
def a_commit_by_somebody(s: Spoiled) -> str:
    s.commit("join", {OTHER: card(s)}, agent="laptop-3fa9c1")
    tree = git(s.repo, "rev-parse", f"{STATE_REF}^{{tree}}")
    who = "Eve <eve@example.org> 1767225600 +0000"
    words = s.message("join", "Percy-Agent: laptop-3fa9c1", op_id="e" * 32)
    return s.plumbed(tree, s.first, message=words, who=who)


@plant("", "Percy-Operation is dance", "Percy-Operation is ['dance']")
def an_unknown_operation(s: Spoiled) -> str:
    return s.commit("dance", {OTHER: card(s)})


@plant("", "Percy-Operation is nothing", "Percy-Operation is []")
def a_commit_by_hand(s: Spoiled) -> str:
    return s.commit("", {OTHER: card(s)}, message="oops\n")


@plant("", "the subject is 'mend it'", "the subject is 'mend it'")
def another_subject(s: Spoiled) -> str:
    words = s.message("join", "Percy-Agent: laptop-3fa9c1")
    words = words.replace("join: something", "mend it")
    return s.commit("join", {OTHER: card(s)}, message=words)


@plant("", "has the op id of", "op id of")
def an_op_id_again(s: Spoiled) -> str:
    words = s.message("join", "Percy-Agent: laptop-3fa9c1", op_id=s.used_op_id())
    return s.commit("join", {OTHER: card(s)}, message=words)


@plant("", "no pairs", "Percy-Attempt []")
def a_task_without_its_attempt(s: Spoiled) -> str:
    words = s.message("say", "Percy-Task: p.a")
    said = {"kind": "say", "text": "hi", "by": None, "attempt": None}
    return s.commit("say", {A: s.task("a", messages=[said])}, message=words)


@plant("", "names attempt 7 of p.e", "Percy-Attempt of p.e is 7")
def another_attempt_in_the_trailers(s: Spoiled) -> str:
    words = s.message("say", "Percy-Task: p.e", "Percy-Attempt: 7")
    said = {"kind": "say", "text": "hi", "by": None, "attempt": None}
    return s.commit("say", {E: s.task("e", messages=[said])}, message=words)


@plant(
    "",
    "Percy-Agent is laptop-3fa9c1; it is about box-000000",
    "is claimed, Percy-Agent is ['laptop-3fa9c1']",
)
def a_claim_in_the_name_of_another(s: Spoiled) -> str:
    words = ("Percy-Task: p.e", "Percy-Attempt: 2", "Percy-Agent: laptop-3fa9c1")
    record = s.task("e", status="assigned", assigned_to=AGENT, claim="t" * 32)
    record |= {"attempt": record["attempt"] + 1, "base": None, "reason": None}
    return s.commit("claim", {E: record}, message=s.message("claim", *words))


@plant("", "changes nothing", "changes nothing")
def nothing(s: Spoiled) -> str:
    return s.commit("say", {})


@plant("notes.txt", "is no file of the format", "notes.txt: is no file of the format")
def a_stray_file(s: Spoiled) -> str:
    files: Changes = {OTHER: card(s), "notes.txt": b"hello\n"}
    return s.commit("join", files, agent="laptop-3fa9c1")


@plant("plans/p/tasks/0/zz.json", "holds task p.zz", "lies in the wrong folder")
def a_task_in_the_wrong_folder(s: Spoiled) -> str:
    record = s.task("b", id="p.zz", depends_on=[])
    return s.commit("reconcile", {"plans/p/tasks/0/zz.json": record})


@plant("archive/con.jsonl", "is no file of the format", "has a reserved word as an id")
def a_reserved_word(s: Spoiled) -> str:
    return s.commit("archive", {"archive/con.jsonl": b"{}\n"})


@plant(CARD, "JSON", "is no JSON")
def no_json(s: Spoiled) -> str:
    return s.commit("leave", {CARD: b"{"}, agent=AGENT)


@plant(OTHER, "canonical", "is not in canonical form")
def other_spaces(s: Spoiled) -> str:
    text = json.dumps(card(s), sort_keys=True, indent=2) + "\n"
    return s.commit("join", {OTHER: text.encode()}, agent="laptop-3fa9c1")


@plant(OTHER, "canonical", "is not in canonical form")
def a_key_twice(s: Spoiled) -> str:
    text = text_of(card(s)).replace(b' "host":', b' "host": "x",\n "host":')
    return s.commit("join", {OTHER: text}, agent="laptop-3fa9c1")


@plant(E, "canonical", "is not in canonical form")
def keys_in_another_order(s: Spoiled) -> str:
    said = {"text": "hi", "kind": "say", "by": None, "attempt": None}
    record = s.task("e", messages=[said])
    rows = sorted(record.items())
    text = json.dumps(dict(rows), indent=1, ensure_ascii=False) + "\n"
    s.records[E] = record
    return s.commit("say", {E: text.encode()}, "p.e")


@plant(E, "canonical", "is not in canonical form")
def no_newline_at_the_end(s: Spoiled) -> str:
    said = {"kind": "say", "text": "hi", "by": None, "attempt": None}
    text = text_of(s.task("e", messages=[said])).rstrip(b"\n")
    return s.commit("say", {E: text}, "p.e")


@plant(OTHER, "lacks the keys slots", "agent.slots is missing")
def a_missing_key(s: Spoiled) -> str:
    record = card(s)
    del record["slots"]
    return s.commit("join", {OTHER: record}, agent="laptop-3fa9c1")


@plant(OTHER, "started_at is '1 May'", "agent.started_at is '1 May'")
def another_time(s: Spoiled) -> str:
    record = card(s, started_at="1 May")
    return s.commit("join", {OTHER: record}, agent="laptop-3fa9c1")


@plant(E, "priority", "task.priority is 'high'")
def a_value_out_of_bounds(s: Spoiled) -> str:
    return s.change("reconcile", "e", priority="high")


@plant(OTHER, "holds agent box-000000", "holds box-000000")
def another_id_in_the_file(s: Spoiled) -> str:
    return s.commit("join", {OTHER: s.records[CARD]}, agent="laptop-3fa9c1")


@plant(
    E, "submitted -> working is no edge of work", "p.e: submitted -> working is no edge"
)
def a_skipped_claim(s: Spoiled) -> str:
    to = {"status": "working", "assigned_to": AGENT, "claim": "t" * 32}
    return s.change("work", "e", **to, base="b" * 40)


@plant(
    E,
    "submitted -> assigned is no edge of release",
    "p.e: submitted -> assigned is no edge",
)
def a_right_edge_by_the_wrong_operation(s: Spoiled) -> str:
    to = {"status": "assigned", "assigned_to": AGENT, "claim": "t" * 32}
    return s.change("release", "e", **to)


@plant(
    A,
    "completed -> submitted is no edge of retry",
    "p.a: completed -> submitted is no edge",
)
def a_completed_task_again(s: Spoiled) -> str:
    return s.change("retry", "a", status="submitted", result=None)


@plant(
    PLAN, "executing -> ready is no edge of start", "p: executing -> ready is no edge"
)
def a_plan_that_goes_back(s: Spoiled) -> str:
    return s.commit("start", {PLAN: s.plan(status="ready")})


@plant(OTHER, "absent -> left is no edge of join", "absent -> left is no edge")
def an_agent_that_begins_at_the_end(s: Spoiled) -> str:
    record = card(s, status="left")
    return s.commit("join", {OTHER: record}, agent="laptop-3fa9c1")


@plant(D, "its paths overlap with those of p.c", "p.d: its paths overlap with p.c")
def overlapping_paths(s: Spoiled) -> str:
    return s.claim("d")


@plant(B, "p.c is not completed", "p.b: is claimed, p.c is working")
def a_claim_before_its_dependency(s: Spoiled) -> str:
    return s.claim("b")


@plant(E, "which has not joined", "is claimed by laptop-3fa9c1, not joined")
def a_claim_by_nobody(s: Spoiled) -> str:
    return s.claim("e", by="laptop-3fa9c1")


@plant(E, "is followed by 9", "p.e: attempt 1 -> 9")
def an_attempt_that_jumps(s: Spoiled) -> str:
    return s.claim("e", attempt=9)


@plant(E, "has a claim token of p.c", "p.e: has the claim token of p.c")
def a_token_again(s: Spoiled) -> str:
    return s.claim("e", claim=s.task("c")["claim"])


@plant(E, "has a claim token of p.a", "p.e: has the claim token of p.a")
def a_token_of_an_ended_claim(s: Spoiled) -> str:
    return s.claim("e", claim=s.task("a")["attempts"][0]["claim"])


@plant(E, "claim may not change title", "p.e: changes title")
def a_claim_that_changes_the_title(s: Spoiled) -> str:
    return s.claim("e", title="Other")


@plant(E, "plan p is paused", "is claimed, its plan is executing or paused")
def a_claim_in_a_paused_plan(s: Spoiled) -> str:
    why = {"code": "paused_by_user", "message": ""}
    s.commit("pause", {PLAN: s.plan(paused=why)})
    return s.claim("e")


@plant(PLAN, "is paused without a reason", "p: is paused for None")
def a_pause_of_nothing(s: Spoiled) -> str:
    return s.commit("pause", {PLAN: s.plan(updated_at="2026-03-01T00:00:00Z")})


@plant(PLAN, "is paused with reason idle", "p: is paused for idle")
def a_pause_for_another_reason(s: Spoiled) -> str:
    return s.commit("pause", {PLAN: s.plan(paused=why("idle"))})


@plant(PLAN, "is resumed and still paused", "p: is resumed, and is paused still")
def a_plan_that_is_resumed_into_a_pause(s: Spoiled) -> str:
    return s.commit("resume", {PLAN: s.plan(paused=why("budget"))})


@plant(PLAN, "changed by pause although it is cancelled", "although it is cancelled")
def a_pause_of_a_plan_that_is_closed(s: Spoiled) -> str:
    cancel_the_plan(s, "cancelled")
    return s.commit("pause", {PLAN: s.plan(paused=why("paused_by_user"))})


def cancel_the_plan(s: Spoiled, code: str, *, but: str = "") -> str:
    changes: Changes = {
        path_of(f"p.{short}"): s.task(
            short, status="cancelled", reason=why("cancelled")
        )
        for short in "bdef"
        if short != but
    }
    changes[C] = s.ended("c", "cancelled", "cancelled", status="cancelled")
    plan_too = s.plan(status="cancelled", reason=why(code))
    return s.commit("cancel", changes | {PLAN: plan_too})


@plant(PLAN, "is cancelled with reason removed", "p: is cancelled for removed")
def a_plan_that_is_cancelled_for_another_reason(s: Spoiled) -> str:
    return cancel_the_plan(s, "removed")


@plant(PLAN, "is cancelled with 1 open tasks", "p: is cancelled, open are ['p.e']")
def a_cancelled_plan_that_leaves_a_task(s: Spoiled) -> str:
    return cancel_the_plan(s, "cancelled", but="e")


@plant("", "cancel is about one task and changes 2", "cancels 2 tasks, 0 plans")
def a_cancel_of_two_tasks(s: Spoiled) -> str:
    gone = {"status": "cancelled", "reason": why("cancelled")}
    changes: Changes = {path_of(f"p.{n}"): s.task(n, **gone) for n in "ef"}
    return s.commit("cancel", changes)


@plant("", "one plan or one task, and changes p, q", "cancels 2 tasks, 0 plans")
def a_cancel_in_two_plans(s: Spoiled) -> str:
    gone = {"status": "cancelled", "reason": why("cancelled")}
    other = {**s.records[path_of("q.a")], **gone}
    return s.commit(
        "cancel", {path_of("p.e"): s.task("e", **gone), path_of("q.a"): other}
    )


@plant(PLAN, "has another reason although it stays", "and its reason changes")
def a_cancelled_task_that_gives_its_plan_a_reason(s: Spoiled) -> str:
    gone = s.task("e", status="cancelled", reason=why("cancelled"))
    plan_too = s.plan(reason=why("cancelled"))
    return s.commit("cancel", {path_of("p.e"): gone, PLAN: plan_too}, "p.e")


@plant(C, "with another reason than its attempt's", "its attempt for released")
def a_cancelled_task_whose_attempt_was_released(s: Spoiled) -> str:
    to = {"status": "cancelled", "reason": why("cancelled")}
    record = s.ended("c", "cancelled", "released", **to)
    return s.commit("cancel", {C: record}, "p.c")


@plant(E, "ends an attempt although nobody held it", "p.e: attempt 1, but attempts")
def a_cancelled_task_with_an_attempt_that_never_was(s: Spoiled) -> str:
    to = {"status": "cancelled", "reason": why("cancelled")}
    record = s.ended("e", "cancelled", "cancelled", **to)
    record["attempts"][-1] |= {"agent": AGENT, "claim": "t" * 32}
    return s.commit("cancel", {E: record}, "p.e")


@plant(PLAN, "follows the same version as before", "with the version it follows")
def an_edit_without_another_version(s: Spoiled) -> str:
    changes = s.edited("1")
    changes[PLAN] = s.plan(title="P2")
    return s.commit("reconcile", changes)


@plant(
    "", "changes tasks of p and not that plan", "p.d: is reconciled without its plan"
)
def an_edited_task_without_its_plan(s: Spoiled) -> str:
    return s.commit("reconcile", {D: s.task("d", title="D2")})


@plant("", "about one plan and changes 2", "reconciles 2 plans")
def an_edit_of_two_plans(s: Spoiled) -> str:
    return s.commit("reconcile", s.edited("1") | s.edited("2", "q"))


@plant(E, "is held back by no new dependency", "p.e: is blocked by no added dependency")
def a_task_that_is_held_back_by_nothing(s: Spoiled) -> str:
    held = s.task("e", status="blocked")
    return s.commit("reconcile", s.edited("1") | {E: held})


@plant(E, "gets another reason", "p.e: is edited, and its reason changes")
def an_edit_that_gives_a_reason(s: Spoiled) -> str:
    return s.commit("reconcile", s.edited("1") | {E: s.task("e", reason=why("budget"))})


@plant(F, "is back in its plan and keeps its reason", "p.f: is reopened with a reason")
def a_reopened_task_with_a_reason(s: Spoiled) -> str:
    gone = s.task("f", status="cancelled", reason=why("removed"))
    s.commit("reconcile", s.edited("1") | {F: gone})
    back = s.task("f", status="submitted")
    return s.commit("reconcile", s.edited("2") | {F: back})


@plant(C, "work may not change claim", "is worked on under another claim")
def work_under_another_claim(s: Spoiled) -> str:
    s.claim("e")
    record = s.task("c", claim="t" * 32)
    return s.commit("work", {C: record}, "p.c")


@plant(
    C, "ends attempt 1; another claim holds it", "ends another claim than the parent's"
)
def an_end_under_another_claim(s: Spoiled) -> str:
    record = s.ended("c", "released", "released", status="submitted")
    record["attempts"][-1]["claim"] = "t" * 32
    return s.commit("release", {C: record}, "p.c")


@plant(
    C,
    "is submitted and has an assigned_to or a claim",
    "p.c: is submitted and claim is",
)
def a_claim_that_outlives_its_status(s: Spoiled) -> str:
    to = {"status": "submitted", "claim": s.task("c")["claim"]}
    return s.end("release", "c", "released", "released", **to)


@plant(
    C,
    "goes back to the queue after 1 of 1 attempts",
    "p.c: is queued again after 1 of 1",
)
def an_attempt_too_many(s: Spoiled) -> str:
    return s.end("release", "c", "failed", "conflict", status="submitted")


@plant(C, "has 0 retries after failed, not 1", "p.c: retries are 0, not 1")
def a_failure_that_is_not_counted(s: Spoiled) -> str:
    to = {"status": "submitted", "retries": 0}
    return s.end("release", "c", "failed", "conflict", **to)


@plant(C, "attempts does not only grow", "p.c: attempts do not only grow")
def a_forgotten_attempt(s: Spoiled) -> str:
    s.end("release", "c", "released", "released", status="submitted")
    return s.claim("c", attempts=[])


@plant(C, "is completed without a result", "the result names [None, None, None]")
def a_completion_without_a_result(s: Spoiled) -> str:
    return s.end("complete", "c", "completed", None, status="completed")


@plant(C, "fails for good with reason conflict", "p.c: fails for good for conflict")
def a_failure_that_is_not_final(s: Spoiled) -> str:
    return s.end("fail", "c", "failed", "conflict", status="failed")


@plant(
    B,
    "is resolved, but p.c is working",
    "p.b: is ready although a dependency is not completed",
)
def a_task_released_too_early(s: Spoiled) -> str:
    return s.change("resolve", "b", status="submitted")


@plant(
    PLAN,
    "the landing turn is taken from p.c",
    "the landing turn is taken from another claim",
)
def a_stolen_turn(s: Spoiled) -> str:
    record = s.task("c")
    turn = {"task": "p.c", "attempt": record["attempt"], "claim": record["claim"]}
    trailers = ("Percy-Task: p.c", "Percy-Attempt: 1")
    s.commit("turn", {PLAN: s.plan(landing=turn)}, message=s.message("turn", *trailers))
    s.claim("e")
    taken = {"task": "p.e", "attempt": 2, "claim": s.task("e")["claim"]}
    trailers = ("Percy-Task: p.e", "Percy-Attempt: 2")
    words = s.message("turn", *trailers)
    return s.commit("turn", {PLAN: s.plan(landing=taken)}, message=words)


@plant(
    PLAN,
    "p.c has the landing turn and does not hold that claim",
    "the landing turn is held by no claim",
)
def a_turn_that_outlives_its_claim(s: Spoiled) -> str:
    record = s.task("c")
    turn = {"task": "p.c", "attempt": record["attempt"], "claim": record["claim"]}
    trailers = ("Percy-Task: p.c", "Percy-Attempt: 1")
    s.commit("turn", {PLAN: s.plan(landing=turn)}, message=s.message("turn", *trailers))
    return s.end("release", "c", "released", "released", status="submitted")


@plant(PLAN, "is done with 5 open tasks", "p: is done, open are")
def a_plan_done_too_early(s: Spoiled) -> str:
    result = {"commit": None, "landed_commit": None, "landed_into": None}
    return s.commit("close", {PLAN: s.plan(status="done", result=result)})


@plant(
    "",
    "p.c is still held by box-000000, which is gone",
    "p.c: is held by an agent that is gone",
)
def an_agent_that_leaves_its_task_behind(s: Spoiled) -> str:
    record = {**s.records[CARD], "status": "left"}
    return s.commit("leave", {CARD: record}, agent=AGENT)


@plant(PLAN, "has a cycle: p.d -> p.e -> p.d", "p: has a cycle")
def a_cycle(s: Spoiled) -> str:
    return s.commit(
        "reconcile",
        {
            D: s.task("d", depends_on=["p.e"], status="blocked"),
            E: s.task("e", depends_on=["p.d"], status="blocked"),
        },
    )


@plant(
    E,
    "depends on p.zz, which is not in the plan",
    "p.e: depends on p.zz, which is not there",
)
def a_dependency_on_nothing(s: Spoiled) -> str:
    return s.change("reconcile", "e", depends_on=["p.zz"], status="blocked")


@plant(
    path_of("p.g"),
    "is taken in, but plan p was there before",
    "p.g: is taken in, its plan was there before",
)
def a_task_smuggled_in(s: Spoiled) -> str:
    fresh = {"attempt": 0, "attempts": [], "reason": None}
    record = s.task("e", id="p.g", **fresh)
    return s.commit("take-in", {path_of("p.g"): record, PLAN: s.plan(title="P2")})


@plant(
    E,
    "submitted -> absent is no edge of reconcile",
    "p.e: submitted -> absent is no edge",
)
def a_removed_task(s: Spoiled) -> str:
    return s.commit("reconcile", {E: None})


@plant("percy.json", "is removed by say", "percy.json: is removed")
def a_removed_marker(s: Spoiled) -> str:
    return s.commit("say", {"percy.json": None})


@plant(
    "archive/p.jsonl",
    "does not hold the plan and its tasks",
    "archive of p: differs from the records",
)
def a_forgetful_archive(s: Spoiled) -> str:
    gone: Changes = {path: None for path in s.records if path.startswith("plans/p/")}
    line = json.dumps(s.plan()) + "\n"
    return s.commit("archive", gone | {"archive/p.jsonl": line.encode()})


@plant(A, "does not preserve the keys later", "p.a: changes later")
def a_lost_key_of_a_later_version(s: Spoiled) -> str:
    s.commit("repair", {A: s.task("a", later=1)}, "p.a")
    record = s.task("a")
    del record["later"]
    return s.commit("say", {A: record}, "p.a")


@plant("refs/heads/agent/box-000000/p.a", "is at", "the result says otherwise")
def a_moved_result(s: Spoiled) -> str:
    s.git.run("update-ref", "refs/heads/agent/box-000000/p.a", s.tip)
    return completion(s)


@plant(A, "is not on percy/plan/p", "is not on the integration branch")
def a_result_that_was_taken_back(s: Spoiled) -> str:
    base = s.plan()["base_commit"]
    s.git.run("update-ref", "refs/heads/percy/plan/p", base)
    return completion(s)


@plant(
    "refs/heads/percy/plan/q", "is not on the remote", "q: has no integration branch"
)
def an_integration_branch_that_is_gone(s: Spoiled) -> str:
    s.git.run("update-ref", "-d", "refs/heads/percy/plan/q")
    return s.tip


@plant(
    "refs/heads/percy/plan/p",
    "does not start at base_commit",
    "does not start at base_commit",
)
def another_history_of_the_plan(s: Spoiled) -> str:
    s.git.run("update-ref", "refs/heads/percy/plan/p", s.tip)
    return s.tip


@plant(
    "refs/heads/percy/plan/p",
    "which is no completed task's merge",
    "is no completed task's merge",
)
def a_commit_by_hand_on_the_integration_branch(s: Spoiled) -> str:
    by_hand(s, "refs/heads/percy/plan/p")
    return s.tip


@plant(A, "its merge", "is no completed task's merge")
def a_result_that_was_replaced_by_hand(s: Spoiled) -> str:
    ref = "refs/heads/percy/plan/p"
    s.git.run("update-ref", ref, s.plan()["base_commit"])
    by_hand(s, ref)
    return completion(s)


@plant(A, "and only that", "its merge does not merge the result")
def a_merge_that_brings_more_than_the_result(s: Spoiled) -> str:
    result = s.task("a")["result"]
    base = s.plan()["base_commit"]
    ref = "refs/heads/percy/plan/p"
    s.git.run("update-ref", ref, base)
    merge = by_hand(s, ref, result["commit"], s.first, who=WHO, message=MERGED)
    s.git.run("update-ref", ref, merge)
    changed = s.task("a", result={**result, "integration_commit": merge})
    s.commit("repair", {A: changed}, "p.a")
    return completion(s)


@plant(A, "is by Eve", "its merge is by")
def a_merge_by_somebody(s: Spoiled) -> str:
    return merged_otherwise(s, "Eve <eve@example.org> 1767225600 +0000", MERGED)


@plant(A, "names no task", "its merge names []")
def a_merge_that_names_no_task(s: Spoiled) -> str:
    return merged_otherwise(s, WHO, "Merge it\n")


@plant(A, "of its verdict", "is not the tree of the verdict")
def a_merge_of_something_else(s: Spoiled) -> str:
    tree = git(s.repo, "rev-parse", f"{s.plan()['base_commit']}^{{tree}}")
    return merged_otherwise(s, WHO, MERGED, tree)


@plant("refs/percy/rescue/p.c/1", "is not on the remote", "p.c/1: is at None")
def rescued_work_that_is_gone(s: Spoiled) -> str:
    return rescued(s, s.plan()["base_commit"])


@plant("refs/percy/rescue/p.c/1", "is at", "refs/percy/rescue/p.c/1: is at")
def rescued_work_that_was_replaced(s: Spoiled) -> str:
    s.git.run("update-ref", "refs/percy/rescue/p.c/1", s.tip)
    return rescued(s, s.plan()["base_commit"])


@plant(B, "does not have the work of p.c", "does not contain the work of p.c")
def work_without_what_it_depends_on(s: Spoiled) -> str:
    complete(s, "c")
    s.change("resolve", "b", status="submitted")
    s.claim("b")
    base = s.plan()["base_commit"]
    begun = s.change("work", "b", status="working", base=base)
    complete(s, "b")
    return begun


@plant(B, "is not on percy/plan/p", "is not on the integration branch")
def work_from_somewhere_else(s: Spoiled) -> str:
    complete(s, "c")
    s.change("resolve", "b", status="submitted")
    s.claim("b")
    begun = s.change("work", "b", status="working", base=s.first)
    complete(s, "b")
    return begun


@plant("refs/heads/percy/plan/p", "has p.f before p.e", "landed in the order")
def results_that_landed_in_another_order(s: Spoiled) -> str:
    for short in "ef":
        s.claim(short)
        tip = git(s.repo, "rev-parse", "refs/heads/percy/plan/p")
        s.change("work", short, status="working", base=tip)
    commits = [landed(s, short) for short in "fe"]
    changes = [completed(s, short, *commits["fe".index(short)]) for short in "ef"]
    for short, record in zip("ef", changes, strict=True):
        last = s.commit("complete", {path_of(f"p.{short}"): record}, f"p.{short}")
    return last


@plant("refs/heads/percy/plan/q", "does not end with", "q: result.commit is")
def a_plan_that_ends_elsewhere(s: Spoiled) -> str:
    started = {**s.records["plans/q/plan.json"], "status": "ready"}
    s.commit("start", {"plans/q/plan.json": started})
    gone = {
        **s.records[path_of("q.a")],
        "status": "cancelled",
        "reason": why("removed"),
    }
    edited = s.edited("1", "q")
    s.commit("reconcile", edited | {path_of("q.a"): gone})
    started = s.records["plans/q/plan.json"]
    result = {"commit": s.first, "landed_commit": None, "landed_into": None}
    closed = {**started, "status": "done", "result": result}
    return s.commit("close", {"plans/q/plan.json": closed})


@plant("refs/heads/percy/plan/none", "belongs to no plan", "belongs to no plan")
def an_integration_branch_of_nothing(s: Spoiled) -> str:
    s.git.run("update-ref", "refs/heads/percy/plan/none", s.plan()["base_commit"])
    return s.tip


@plant(f"refs/heads/agent/{AGENT}/p.e", "is no result of p.e", "says otherwise")
def a_result_that_nobody_recorded(s: Spoiled) -> str:
    base = s.plan()["base_commit"]
    s.git.run("update-ref", f"refs/heads/agent/{AGENT}/p.e", base)
    return s.tip


#: What else is rightly found where one thing is wrong.
CONSEQUENCES = {
    "a_result_that_was_taken_back": ("its base",),
    "a_result_that_was_replaced_by_hand": ("its base", "no completed task's merge"),
    "a_merge_that_brings_more_than_the_result": ("its base",),
    "a_merge_by_somebody": ("its base",),
    "a_merge_that_names_no_task": ("its base",),
    "a_merge_of_something_else": ("its base",),
}
MERGED = "Merge p.a: A\n\nPercy-Task: p.a\nPercy-Attempt: 1\n"


def by_hand(
    s: Spoiled,
    ref: str,
    *more: str,
    who: str = "Eve <eve@example.org> 1767225600 +0000",
    message: str = "by hand\n",
    tree: str | None = None,
) -> str:
    """One more commit on a branch."""
    tip = git(s.repo, "rev-parse", ref)
    tree = tree or git(s.repo, "rev-parse", f"{tip}^{{tree}}")
    lines = [f"tree {tree}", *(f"parent {parent}" for parent in (tip, *more))]
    text = "\n".join([*lines, f"author {who}", f"committer {who}", "", message])
    oid = git(s.repo, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text)
    s.git.run("update-ref", ref, oid)
    return oid


def merged_otherwise(
    s: Spoiled, who: str, message: str, tree: str | None = None
) -> str:
    """The result of p.a merged anew, and the record bent to it."""
    result = s.task("a")["result"]
    tree = tree or git(s.repo, "rev-parse", f"{result['integration_commit']}^{{tree}}")
    ref = "refs/heads/percy/plan/p"
    s.git.run("update-ref", ref, s.plan()["base_commit"])
    merge = by_hand(s, ref, result["commit"], who=who, message=message, tree=tree)
    changed = s.task("a", result={**result, "integration_commit": merge})
    s.commit("repair", {A: changed}, "p.a")
    return completion(s)


def rescued(s: Spoiled, commit: str) -> str:
    """p.c goes back to the queue and names what it left."""
    record = s.ended("c", "released", "released", status="submitted")
    record["attempts"][-1] |= {"rescue": "refs/percy/rescue/p.c/1", "commit": commit}
    return s.commit("release", {C: record}, "p.c")


def landed(s: Spoiled, short: str) -> tuple[str, str]:
    """A result and its merge."""
    ref = "refs/heads/percy/plan/p"
    branch = f"refs/heads/agent/{AGENT}/p.{short}"
    s.git.run("update-ref", branch, git(s.repo, "rev-parse", ref))
    result = by_hand(s, branch, who=WHO, message=f"{short}\n")
    words = f"Merge p.{short}\n\nPercy-Task: p.{short}\nPercy-Attempt: 1\n"
    return result, by_hand(s, ref, result, who=WHO, message=words)


def completed(s: Spoiled, short: str, result: str, merge: str) -> Json:
    """A task's record once it is completed with this result."""
    record = s.ended(short, "completed", None, status="completed")
    branch = f"agent/{AGENT}/p.{short}"
    record["attempts"][-1] |= {"branch": branch, "commit": result}
    verdict = dict.fromkeys(("command", "exit_code", "tree", "duration_s"))
    record["result"] = {
        "branch": branch,
        "commit": result,
        "integration_commit": merge,
        **dict.fromkeys(("summary", "usage", "session")),
        "verdict": {**verdict, "status": "none"},
    }
    return record


def complete(s: Spoiled, short: str) -> str:
    """A task's work lands and is recorded."""
    record = completed(s, short, *landed(s, short))
    return s.commit("complete", {path_of(f"p.{short}"): record}, f"p.{short}")


def completion(s: Spoiled) -> str:
    """The commit that completed p.a."""
    return git(s.repo, "log", "--format=%H", "--grep=^complete: p.a", STATE_REF)


@pytest.mark.spoiled
@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_violation_is_found(spoiled: Spoiled, name: str) -> None:
    path, words, checker, tell = PLANTS[name]
    commit = tell(spoiled)

    found = spoiled.found()

    assert [
        v for v in found if (v.commit, v.path) == (commit, path) and words in v.what
    ], "\n".join(map(str, found))
    follows = CONSEQUENCES.get(name, ())
    others = [
        v
        for v in found
        if v.commit != commit and not any(words in v.what for words in follows)
    ]
    assert not others, "\n".join(map(str, others))
    independent = check(spoiled.repo, settled=False)
    assert any(checker in line for line in independent), independent


# Hostile trees


def hostile(spoiled: Spoiled, *rows: tuple[str, str, str]) -> list[str]:
    """What is found when a tree has these entries; the walk goes on behind it."""
    tree = spoiled.tree(*rows)
    spoiled.plumbed(tree, spoiled.tip, message=spoiled.message("say"))
    after = spoiled.plumbed(
        git(spoiled.repo, "rev-parse", f"{spoiled.first}^{{tree}}"),
        spoiled.tip,
        message=spoiled.message("repair"),
    )
    found = spoiled.found()
    for violation in found:
        assert len(str(violation)) < 1000
        assert str(violation).isprintable()
        json.dumps(violation.as_json()).encode()
    return [f"{v.path}: {v.what}" for v in found if v.commit != after]


@pytest.mark.spoiled
def test_a_symbolic_link_is_reported(spoiled: Spoiled) -> None:
    link = ("120000", "z.json", spoiled.blob(b"/etc/passwd"))
    assert any("no file" in line for line in hostile(spoiled, link))


@pytest.mark.spoiled
def test_a_record_that_is_a_link_is_reported(spoiled: Spoiled) -> None:
    changed = spoiled.git.run("ls-tree", spoiled.tip, "agents").text.split()[2]
    old = spoiled.git.run("cat-file", "tree", changed).stdout
    made = spoiled.git.run(
        *("hash-object", "-t", "tree", "-w", "--stdin", "--literally"),
        stdin=old.replace(b"100644", b"120000"),
    ).text
    rows = spoiled.git.run("ls-tree", spoiled.tip).stdout.decode()
    tree = spoiled.git.run("mktree", stdin=rows.replace(changed, made).encode()).text
    commit = spoiled.plumbed(tree, spoiled.tip, message=spoiled.message("say"))

    assert Violation(commit, CARD, "has mode 120000, not 100644") in spoiled.found()


@pytest.mark.spoiled
def test_a_submodule_is_reported(spoiled: Spoiled) -> None:
    link = ("160000", "zsub", "1" * 40)
    assert any("zsub: is no file" in line for line in hostile(spoiled, link))


@pytest.mark.spoiled
@pytest.mark.parametrize(
    "name", [".git", ".GIT", "..", "zz\x1b[2J", "zz\n\u202e", "zz\udce9"]
)
def test_an_evil_name_is_reported(spoiled: Spoiled, name: str) -> None:
    oid = spoiled.blob()
    raw = spoiled.git.run("cat-file", "tree", f"{spoiled.tip}^{{tree}}").stdout
    raw += b"100644 " + name.encode("utf-8", "surrogateescape") + b"\0"
    tree = spoiled.git.run(
        *("hash-object", "-t", "tree", "-w", "--stdin", "--literally"),
        stdin=raw + bytes.fromhex(oid),
    ).text
    commit = spoiled.plumbed(tree, spoiled.tip, message=spoiled.message("say"))
    found = spoiled.found()
    assert [v for v in found if v.commit == commit and "no file" in v.what]
    assert all(str(v).isascii() and str(v).isprintable() for v in found)


@pytest.mark.spoiled
def test_deep_folders_are_reported(spoiled: Spoiled) -> None:
    deep = spoiled.git.run(
        "mktree", stdin=f"100644 blob {spoiled.blob()}\tx\n".encode()
    ).text
    for _ in range(60):
        deep = spoiled.git.run("mktree", stdin=f"040000 tree {deep}\td\n".encode()).text
    assert any("no file" in line for line in hostile(spoiled, ("40000", "z", deep)))


@pytest.mark.spoiled
def test_an_id_of_a_megabyte_is_reported(spoiled: Spoiled) -> None:
    record = card(spoiled, id="a" * 1_000_000)
    commit = spoiled.commit("join", {OTHER: record}, agent="laptop-3fa9c1")
    (name,) = {v.path for v in spoiled.found() if v.commit == commit and v.path}
    assert name == OTHER


@pytest.mark.spoiled
def test_json_as_deep_as_it_gets_is_reported(spoiled: Spoiled) -> None:
    text = b'{"deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    commit = spoiled.commit("join", {OTHER: text}, agent="laptop-3fa9c1")
    assert [v for v in spoiled.found() if (v.commit, v.path) == (commit, OTHER)]


@pytest.mark.spoiled
def test_a_tree_that_cannot_be_read_is_reported_and_the_walk_goes_on(
    spoiled: Spoiled,
) -> None:
    good = git(spoiled.repo, "rev-parse", f"{STATE_REF}^{{tree}}")
    broken = [
        spoiled.plumbed(tree, spoiled.tip, message=spoiled.message("say"))
        for tree in ("1" * 40, spoiled.tree(("40000", "zz", "2" * 40)))
    ]
    mended = spoiled.plumbed(good, spoiled.tip, message=spoiled.message("repair"))
    wrong = spoiled.claim("d")

    found = spoiled.found()

    unreadable = [v.commit for v in found if v.what == "its tree cannot be read"]
    assert unreadable == broken
    assert mended not in {v.commit for v in found}
    assert any("overlap" in v.what for v in found if v.commit == wrong)


@pytest.mark.spoiled
def test_a_file_that_is_missing_is_reported(spoiled: Spoiled) -> None:
    text = text_of(card(spoiled))
    commit = spoiled.commit("join", {OTHER: text}, agent="laptop-3fa9c1")
    oid = git(spoiled.repo, "rev-parse", f"{commit}:{OTHER}")
    loose(spoiled.repo)
    (spoiled.repo / "objects" / oid[:2] / oid[2:]).unlink()
    assert Violation(commit, OTHER, "cannot be read") in spoiled.found()


@pytest.mark.spoiled
def test_a_history_that_breaks_off_is_judged_from_there(spoiled: Spoiled) -> None:
    lost = git(spoiled.repo, "rev-parse", f"{STATE_REF}~3")
    wrong = spoiled.claim("d")
    loose(spoiled.repo)
    (spoiled.repo / "objects" / lost[:2] / lost[2:]).unlink()
    found = spoiled.found()
    assert found[0].commit == lost
    assert "cannot be read" in found[0].what
    assert {v.commit for v in found[1:]} == {wrong}


def loose(repo: Path) -> None:
    """Unpack every object, so that one of them can be lost."""
    for pack in list((repo / "objects/pack").glob("*.pack")):
        content = pack.read_bytes()
        for path in pack.parent.glob(f"{pack.stem}.*"):
            path.unlink()
        Git(repo).run("unpack-objects", "-q", stdin=content)


_PIECES = (
    " ",
    "\n",
    ",",
    '\n "',
    "{}",
    "[\n  1\n ]",
    "[1]",
    "null",
    '"x": 1,',
    "\\u00e9",
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(_PIECES)), max_size=2),
    st.sampled_from(["box", 'b"x', "", "{}"]),
)
def test_bytes_are_judged_alike_with_and_without_an_earlier_version(
    edits: list[tuple[int, str]], name: str
) -> None:
    path = codec.path_of(agent())
    first = codec.encode(agent())
    text = codec.encode(agent(host=name)).decode()
    for at, piece in edits:
        text = text[:at] + piece + text[at:]
    primed, fresh = Files(), Files()
    assert primed.decode(path, first)[1] == []

    assert primed.decode(path, text.encode()) == fresh.decode(path, text.encode())
    if not edits:
        assert fresh.decode(path, text.encode())[1] == []


# Repairs, and parts of a history


def test_what_lands_while_the_refs_are_looked_at_is_no_violation(
    spoiled: Spoiled,
) -> None:
    repo = Git(spoiled.repo)
    with ObjectReader(repo) as reader:
        older = git(spoiled.repo, "rev-parse", f"{completion(spoiled)}^")
        report = verify(repo, reader, older, refs=OwnRefs(repo))
    assert report.violations == ()


def test_work_that_lands_and_rescued_work_are_clean(spoiled: Spoiled) -> None:
    base = spoiled.plan()["base_commit"]
    spoiled.git.run("update-ref", "refs/percy/rescue/p.c/1", base)
    rescued(spoiled, base)
    spoiled.claim("e")
    tip = git(spoiled.repo, "rev-parse", "refs/heads/percy/plan/p")
    spoiled.change("work", "e", status="working", base=tip)
    complete(spoiled, "e")
    honest(spoiled)


@pytest.mark.spoiled
def test_a_repair_is_judged_by_its_format_alone(spoiled: Spoiled) -> None:
    good = spoiled.task("a")
    wrong = spoiled.change("retry", "a", status="submitted", result=None)
    mended = spoiled.commit("repair", {A: good}, "p.a")
    assert {v.commit for v in spoiled.found()} == {wrong}
    bad = spoiled.commit("repair", {A: b"{}"}, "p.a")
    assert {v.commit for v in spoiled.found()} == {wrong, bad}
    assert mended not in {v.commit for v in spoiled.found()}


@pytest.mark.spoiled
def test_a_plan_that_was_lost_and_mended_has_its_tasks_again(spoiled: Spoiled) -> None:
    record = spoiled.plan()
    wrong = spoiled.commit("say", {PLAN: None})
    spoiled.commit("repair", {PLAN: record})
    spoiled.claim("e")
    assert {v.commit for v in spoiled.found()} == {wrong}


@pytest.mark.spoiled
def test_only_what_came_after_a_commit_is_judged(spoiled: Spoiled) -> None:
    early = spoiled.claim("d")
    middle = spoiled.tip
    late = spoiled.claim("e", claim=spoiled.task("a")["attempts"][0]["claim"])
    repo = Git(spoiled.repo)
    with ObjectReader(repo) as reader:
        part = verify(repo, reader, late, after=middle)
        before = verify(repo, reader, middle)
        with pytest.raises(UnknownIdError):
            verify(repo, reader, middle, after=late)
    assert part.commits == 1
    assert {v.commit for v in part.violations} == {late}
    assert any("claim token" in v.what for v in part.violations)
    assert {v.commit for v in before.violations} == {early}


@pytest.mark.spoiled
def test_an_op_id_from_before_the_range_is_known(spoiled: Spoiled) -> None:
    used = spoiled.used_op_id()
    words = spoiled.message("join", "Percy-Agent: laptop-3fa9c1", op_id=used)
    commit = spoiled.commit("join", {OTHER: card(spoiled)}, message=words)
    repo = Git(spoiled.repo)
    with ObjectReader(repo) as reader:
        part = verify(repo, reader, commit, after=spoiled.first)
    assert [v.what for v in part.violations] == [
        f"has the op id of {spoiled.first[:12]}"
    ]
