"""Ids, hostile ones included, and the refs that are made from them."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from percyd.core import ids

ABUSE = [
    # A01: would be read as an option
    "--upload-pack=touch x",
    "-x",
    "--help",
    # A02: would leave the folder
    "../../etc/x",
    "/abs",
    "a/b",
    ".git",
    "..",
    ".",
    # A03: would not be seen, or would move the cursor
    "a\nb",
    "ab\n",
    "\nab",
    "a\0b",
    "a\tb",
    "a\rb",
    "ab\r",
    "a\x1b[31mb",
    "a\u202eb",
    "a\u2066b",
    "a\u200bb",
    "\ufeffa",
    # A04: means something to git, or is no legal ref
    "x.lock",
    "a..b",
    "@{",
    "@",
    "HEAD",
    "a~1",
    "a^",
    "a:b",
    "*",
    "a?",
    "a[b",
    "a\\b",
    "a b",
    "a.b",
    # means something to a shell
    "$(id)",
    ";id",
    "`id`",
    # letters and digits of other scripts
    "é",
    "а",  # Cyrillic
    "１",  # full width
    "²",
    # starts with what is legal later only
    "_a",
    "",
    "A",
]
LONG = ["a" * 49, "a" * 300, "a" * (1 << 20), "-" * (1 << 20)]
# A07
RESERVED = [
    "state",
    "plan",
    "percy",
    "agent",
    "head",
    "index",
    "lock",
    "con",
    "nul",
    "aux",
]

LEGAL = ["a", "0", "a-b_c", "a--b", "9" * 48, "planner", "con1", "land", "land-x"]
PLAN_ID = TypeAdapter[str](ids.PlanId)
TASK_ID = TypeAdapter[str](ids.TaskId)
AGENT_ID = TypeAdapter[str](ids.AgentId)

short_ids = st.from_regex(r"\A[a-z0-9][a-z0-9_-]{0,47}\Z").filter(
    lambda text: ids.id_problem(text) is None
)
tails = st.from_regex(r"\A[0-9a-f]{6}\Z")


def accepted(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


def git_accepts(ref: str) -> bool:
    argv = ["git", "check-ref-format", ref]
    return subprocess.run(argv, check=False, timeout=20).returncode == 0


@pytest.mark.parametrize("text", ABUSE + LONG + RESERVED, ids=lambda t: ascii(t[:20]))
def test_an_abusive_id_is_refused_everywhere(text: str) -> None:
    assert ids.id_problem(text)
    assert ids.document_id_problem(text)
    assert not accepted(PLAN_ID, text)
    assert not accepted(TASK_ID, f"plan-1.{text}")
    assert not accepted(TASK_ID, f"{text}.task")
    assert not accepted(AGENT_ID, text)


@pytest.mark.parametrize("text", ABUSE + LONG, ids=lambda t: ascii(t[:20]))
def test_what_is_wrong_is_said_briefly_and_without_the_id(text: str) -> None:
    problem = ids.id_problem(text)

    assert problem
    assert len(problem) < 80
    assert problem.isprintable()


@pytest.mark.parametrize("text", RESERVED)
def test_a_reserved_word_is_called_so(text: str) -> None:
    assert "reserved" in (ids.id_problem(text) or "")


@pytest.mark.parametrize("text", LEGAL)
def test_a_legal_id_is_accepted(text: str) -> None:
    assert ids.id_problem(text) is None
    assert ids.document_id_problem(text) is None
    assert accepted(PLAN_ID, text)
    assert accepted(TASK_ID, f"{text}.{text}")


@pytest.mark.parametrize("text", ["land-1", "land-007", "land-99999"])
def test_landing_tasks_are_legal_but_not_in_a_document(text: str) -> None:
    assert ids.id_problem(text) is None
    assert "landing" in (ids.document_id_problem(text) or "")
    assert accepted(TASK_ID, f"auth.{text}")


@pytest.mark.parametrize("text", ["auth", "auth.", ".api", "a.b.c", "auth/api", "."])
def test_a_full_id_has_exactly_two_parts(text: str) -> None:
    assert not accepted(TASK_ID, text)


@given(short_ids, short_ids)
@settings(derandomize=True)
def test_a_full_id_comes_apart_as_it_was_put_together(plan: str, short: str) -> None:
    full = ids.full_id(plan, short)

    assert accepted(TASK_ID, full)
    assert (ids.plan_of(full), ids.short_of(full)) == (plan, short)


@given(st.text(max_size=200))
@settings(derandomize=True, max_examples=500)
def test_a_slug_is_always_a_legal_id_of_a_document(text: str) -> None:
    assert ids.document_id_problem(ids.slug(text)) is None


@pytest.mark.parametrize("text", ABUSE + LONG + RESERVED + LEGAL + ["land-1"])
def test_a_slug_of_anything_is_legal_and_its_own_slug(text: str) -> None:
    slug = ids.slug(text)

    assert ids.document_id_problem(slug) is None
    assert ids.slug(slug) == slug


@given(short_ids.filter(lambda text: ids.document_id_problem(text) is None))
@settings(derandomize=True)
def test_a_slug_leaves_a_legal_id_alone_but_for_its_end(text: str) -> None:
    assert ids.slug(text) == text.rstrip("-_")


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Log in with Google", "log-in-with-google"),
        ("  Räume & Zeiten!  ", "r-ume-zeiten"),
        ("STATE", "state-1"),
        ("land-3", "land-3-1"),
        ("日本", "plan-1"),
        ("a" * 47 + " b", "a" * 47),
    ],
)
def test_a_slug_reads_like_its_text(text: str, slug: str) -> None:
    assert ids.slug(text) == slug


@given(st.text(max_size=100), tails)
@settings(derandomize=True, max_examples=500)
def test_an_agent_id_is_always_legal(name: str, tail: str) -> None:
    made = ids.agent_id(name, tail)

    assert accepted(AGENT_ID, made)
    assert made.endswith(f"-{tail}")
    assert len(made) <= 48


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("Laptop", "laptop-3fa9c1"),
        ("build.example.com", "build-example-com-3fa9c1"),
        ("--help", "help-3fa9c1"),
        ("", "agent-3fa9c1"),
        ("...", "agent-3fa9c1"),
        ("x" * 60, "x" * 41 + "-3fa9c1"),
    ],
)
def test_an_agent_id_reads_like_its_name(name: str, made: str) -> None:
    assert ids.agent_id(name, "3fa9c1") == made


@pytest.mark.parametrize(
    "text", ["laptop", "laptop-3FA9C1", "laptop-3fa9c", "-3fa9c1", "a-3fa9c1\n", "A-b"]
)
def test_what_is_no_agent_id_is_refused(text: str) -> None:
    assert not accepted(AGENT_ID, text)


@given(short_ids, short_ids, st.text(max_size=60), tails, st.integers(1, 10**6))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_every_ref_that_is_made_is_legal_to_git(
    plan: str, short: str, name: str, tail: str, attempt: int
) -> None:
    task = ids.full_id(plan, short)

    assert git_accepts(ids.plan_branch(plan))
    assert git_accepts(ids.agent_branch(ids.agent_id(name, tail), task))
    assert git_accepts(ids.rescue_ref(task, attempt))


def test_the_state_ref_is_legal_to_git_and_a_lock_file_is_not() -> None:
    assert git_accepts(ids.STATE_REF)
    # Why `lock` is reserved.
    assert not git_accepts(ids.agent_branch("a-123456", "auth.lock"))


def test_refs_have_the_published_names() -> None:
    assert ids.STATE_REF == "refs/heads/percy/state"
    assert ids.plan_branch("auth") == "refs/heads/percy/plan/auth"
    assert (
        ids.agent_branch("laptop-3fa9c1", "auth.api")
        == "refs/heads/agent/laptop-3fa9c1/auth.api"
    )
    assert ids.rescue_ref("auth.api", 2) == "refs/percy/rescue/auth.api/2"
    assert ids.short_ref("refs/heads/agent/a/b") == "agent/a/b"
    assert ids.short_ref("refs/percy/rescue/x/1") == "refs/percy/rescue/x/1"


@given(short_ids)
@settings(derandomize=True)
def test_a_task_lies_in_the_folder_of_its_hash(short: str) -> None:
    digest = hashlib.sha256(short.encode("ascii")).hexdigest()

    assert ids.task_folder(short) == digest[0]
