"""Ids, and the names of the refs that are made from them (FORMAT 1, DESIGN 2)."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator

ID_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,47}$"
#: Words that would clash with a ref of percyd's own, with git, or with a file system.
RESERVED = frozenset(
    "state plan percy agent head index lock con nul aux".split()  # noqa: SIM905
)
LAND_PATTERN = r"^land-[0-9]+$"
AGENT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,40}-[0-9a-f]{6}$"

STATE_REF = "refs/heads/percy/state"
PLAN_REFS = "refs/heads/percy/plan/"
AGENT_BRANCHES = "refs/heads/agent/"
RESCUE_REFS = "refs/percy/rescue/"
AGENT_REFS = "refs/percy/agents/"

_ID = re.compile(ID_PATTERN.rstrip("$") + r"\Z")
_LAND = re.compile(LAND_PATTERN.rstrip("$") + r"\Z")
_AGENT = re.compile(AGENT_PATTERN.rstrip("$") + r"\Z")


def id_problem(text: str) -> str | None:
    """Say what is wrong with a plan or short task id, or None."""
    if not text:
        return "is empty"
    if len(text) > 48:
        return f"has {len(text)} characters; 48 are allowed"
    if not _ID.match(text):
        return "must be a-z, 0-9, '-' and '_', and start with a letter or digit"
    if text in RESERVED:
        return "is a reserved word"
    return None


def document_id_problem(text: str) -> str | None:
    """Like `id_problem`, and no ``land-N``, which only percyd itself adds."""
    if _LAND.match(text):
        return "is reserved for percyd's own landing tasks"
    return id_problem(text)


def _check_id(text: str) -> str:
    problem = id_problem(text)
    if problem:
        raise ValueError(problem)
    return text


def _check_full_id(text: str) -> str:
    plan, dot, task = text.partition(".")
    problem = id_problem(plan) or ("has no '.'" if not dot else id_problem(task))
    if problem:
        raise ValueError(problem)
    return text


def _check_agent(text: str) -> str:
    if not _AGENT.match(text):
        raise ValueError("is no agent id: <name>-<6 hex digits>")
    return text


PlanId = Annotated[str, AfterValidator(_check_id)]
TaskId = Annotated[str, AfterValidator(_check_full_id)]
AgentId = Annotated[str, AfterValidator(_check_agent)]


def full_id(plan: str, short: str) -> str:
    """The full id of a task of ``plan``."""
    return f"{plan}.{short}"


def plan_of(task: str) -> str:
    """The plan id in a full task id."""
    return task.partition(".")[0]


def short_of(task: str) -> str:
    """The short id in a full task id."""
    return task.partition(".")[2]


def task_folder(short: str) -> str:
    """The hex digit under which a task's file lies.

    One flat folder of 10,000 tasks doubles the cost of a transition, and so do 256
    folders in each of 50 plans, which the remote walks at every push (measured).
    """
    return hashlib.sha256(short.encode()).hexdigest()[0]


def slug(text: str) -> str:
    """The nearest legal id to ``text``."""
    lowered = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:48].rstrip("-_")
    if not lowered:
        return "plan-1"
    if document_id_problem(lowered):
        return f"{lowered[:46]}-1"
    return lowered


def agent_id(name: str, tail: str) -> str:
    """An agent id: ``name`` made legal, and six random hex digits."""
    legal = re.sub(r"[^a-z0-9_-]", "-", name.lower()).lstrip("-_")[:41]
    return f"{legal or 'agent'}-{tail}"


def plan_branch(plan: str) -> str:
    """The plan's integration branch, as a full ref."""
    return PLAN_REFS + plan


def agent_branch(agent: str, task: str) -> str:
    """The branch that holds the finished work of one task by one agent."""
    return f"{AGENT_BRANCHES}{agent}/{task}"


def rescue_ref(task: str, attempt: int) -> str:
    """The ref that keeps the work of an attempt that did not complete."""
    return f"{RESCUE_REFS}{task}/{attempt}"


def heartbeat_ref(agent: str) -> str:
    """The ref whose changes say that an agent lives."""
    return AGENT_REFS + agent


def short_ref(ref: str) -> str:
    """A branch's short name, for people."""
    return ref.removeprefix("refs/heads/")
