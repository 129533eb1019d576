"""The records of the state branch as frozen models (FORMAT 2).

Readers take a missing key as null or ``[]`` and keep keys that they do not know, so
that a newer writer of the same format loses nothing to an older one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from percyd.core.edges import AgentStatus, PlanStatus, TaskStatus
from percyd.core.ids import AgentId, PlanId, TaskId
from percyd.core.reasons import Reason

FORMAT = 1

TaskType = Literal[
    "implement", "test", "review", "refactor", "fix", "docs", "chore", "plan", "land"
]
VerdictStatus = Literal["passed", "failed", "could_not_run", "timed_out", "none"]
Outcome = Literal[
    "completed", "failed", "lost", "released", "parked", "cancelled", "asked"
]
Land = Literal["manual", "auto"]

PRIORITY_LIMIT = 1000


class Record(BaseModel):
    """A frozen value that keeps the keys it does not know.

    What checks it is built at its first use, see `complete`: a command that only shows
    what was checked before does without, which is a tenth of its time.
    """

    model_config = ConfigDict(frozen=True, extra="allow", defer_build=True)


class Why(Record):
    """A reason code, and a message for people."""

    code: Reason
    message: str = ""


class FormatMarker(Record):
    """``percy.json``: read and checked before anything else is decoded."""

    format: int
    project: str
    created_at: str | None = None


class Landing(Record):
    """Whose turn it is to land in a plan with a slow gate."""

    task: TaskId
    attempt: int
    claim: str


class Source(Record):
    """Where a plan document came from."""

    kind: Literal["file", "cli", "api", "mcp"]
    path: str | None = None
    commit: str | None = None
    blob: str | None = None
    submitted_by: str | None = None


class Planning(Record):
    """The planner task that breaks a prose plan into tasks, and who is at it."""

    task: TaskId
    agent: AgentId | None = None
    since: str | None = None


class Defaults(Record):
    """What a task of the plan has where it says nothing itself."""

    runner: str | None = None
    specialization: tuple[str, ...] = ()
    timeout_s: float | None = None
    max_attempts: int | None = None
    review: bool | None = None
    verify: str | None = None


class Budget(Record):
    """What a plan may use before no more of its tasks are claimed."""

    cost_usd: float | None = None
    tokens: int | None = None
    wall_s: float | None = None


class Limits(Record):
    """Bounds on attempts, filled in at intake. Times in seconds."""

    timeout_s: float = 3600
    idle_s: float = 900
    log_bytes: int = 67108864
    max_attempts: int = 3
    backoff_s: float = 5
    fix_rounds: int = 2
    max_depth: int = 1


class PlanResult(Record):
    """What a finished plan left."""

    commit: str | None = None
    landed_commit: str | None = None
    landed_into: str | None = None


class Plan(Record):
    """``plans/<plan>/plan.json``."""

    id: PlanId
    title: str
    description: str | None = None
    status: PlanStatus
    paused: Why | None = None
    landing: Landing | None = None
    base_branch: str
    base_commit: str
    source: Source
    planning: Planning | None = None
    verify: str | None = None
    land: Land = "manual"
    defaults: Defaults | None = None
    budget: Budget | None = None
    limits: Limits = Field(default_factory=Limits)
    review_plan: bool | None = None
    reason: Why | None = None
    result: PlanResult | None = None
    created_by: str | None = None
    created_at: str | None = None
    updated_at: str | None = None


class Verdict(Record):
    """What the gate said of one tree. ``none``: no gate is set."""

    status: VerdictStatus
    command: str | None = None
    exit_code: int | None = None
    tree: str | None = None
    duration_s: float | None = None


class Usage(Record):
    """What an attempt used, summed over its rounds; null where unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    duration_s: float | None = None
    turns: int | None = None


class TaskResult(Record):
    """What a completed task left."""

    branch: str | None = None
    commit: str | None = None
    integration_commit: str | None = None
    summary: str | None = None
    verdict: Verdict | None = None
    usage: Usage | None = None
    session: str | None = None


class Message(Record):
    """A word between a person and a task."""

    kind: Literal["question", "answer", "say", "reject"]
    text: str
    by: str | None = None
    attempt: int | None = None


class Attempt(Record):
    """One ended attempt."""

    number: int
    agent: AgentId
    claim: str
    outcome: Outcome
    reason: Why | None = None
    branch: str | None = None
    commit: str | None = None
    rescue: str | None = None
    verdict: Verdict | None = None
    session: str | None = None
    summary: str | None = None
    usage: Usage | None = None


class Task(Record):
    """``plans/<plan>/tasks/<h>/<task>.json``."""

    id: TaskId
    plan: PlanId
    title: str
    description: str | None = None
    type: TaskType = "implement"
    runner: str | None = None
    run: str | None = None
    specialization: tuple[str, ...] = ()
    depends_on: tuple[TaskId, ...] = ()
    paths: tuple[str, ...] = ()
    priority: int = Field(default=0, ge=-PRIORITY_LIMIT, le=PRIORITY_LIMIT)
    verify: str | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    review: bool | None = None
    allow_empty: bool | None = None
    status: TaskStatus
    attempt: int = 0
    retries: int = 0
    assigned_to: AgentId | None = None
    claim: str | None = None
    base: str | None = None
    reason: Why | None = None
    approved: str | None = None
    result: TaskResult | None = None
    messages: tuple[Message, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    created_by: str | None = None
    created_at: str | None = None
    updated_at: str | None = None

    @property
    def is_removed(self) -> bool:
        """Whether an edit took it out of the document: it is not there to be done."""
        code = self.reason.code if self.reason else None
        return self.status is TaskStatus.CANCELLED and code is Reason.REMOVED


class Agent(Record):
    """``agents/<agent>.json``. Heartbeats carry no data; they are refs."""

    id: AgentId
    name: str
    host: str
    pid: int
    version: str
    capabilities: tuple[str, ...] = ()
    slots: int = 1
    runners: tuple[str, ...] = ()
    beat_s: float = 20
    lease_s: float = 90
    idle_beat_s: float = 300
    started_at: str | None = None
    status: AgentStatus = AgentStatus.JOINED


def complete() -> None:
    """Build what checks all records, before more than one thread needs it.

    Two threads at once spoil it with pydantic before 2.14 (its issue 13419).
    """
    for model in Record.__subclasses__():
        model.model_rebuild()
