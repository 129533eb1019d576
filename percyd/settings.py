"""The settings that there are: names, types, defaults, what each is for (CLI 4).

Only what this version obeys is here: a key that does nothing would be a silent
fallback. `percyd.config` reads them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from percyd.core import records
from percyd.core.ids import AGENT_BRANCHES, short_ref

#: Known keys of later versions: refused by that name, not as a mistake in writing.
LATER: Final = frozenset(
    (
        *("workspace", "sandbox", "logs", "web", "notify"),
        "limits.max_depth",
    )
)
#: Coding agents that percyd knows by name: a table of that name needs no ``type``.
AGENTS: Final = ("claude", "codex", "gemini", "opencode", "aider")
COMMAND: Final = "command"
#: Top-level keys and sections that are read from a plan's commit and nowhere else.
SHAPING: Final = frozenset({"base", "verify", "land", "runner", "limits", "budget"})

_LIMITS = records.Limits()


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be printable text on one line")
    return text


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _no_option(text: str) -> str:
    if text.startswith("-"):
        raise ValueError("must not start with '-'")
    return text


def _branch(text: str) -> str:
    short = short_ref(text)
    if short != text:
        raise ValueError(f"must be a short branch name: {short!r}")
    if short.startswith(("percy/", short_ref(AGENT_BRANCHES))):
        raise ValueError("must not be a branch of percyd's own")
    return text


def _runner_env(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if not name or "=" in name or name.startswith(("PERCY_", "PERCYD_")):
            raise ValueError(f"{name!r} must not be set; PERCY_* is percyd's to set")
    return env


Plain = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_one_line)]
Name = Annotated[Plain, AfterValidator(_no_option)]
Shell = Annotated[str, Field(strict=True, min_length=1), AfterValidator(_no_nul)]
Word = Annotated[str, Field(strict=True), AfterValidator(_no_nul)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Seconds = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Pause = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the configuration that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class WorkerConfig(Section):
    """``[worker]``."""

    name: Name | None = Field(
        None, description="default: the name of the host", examples=["laptop"]
    )
    slots: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        2, description="tasks at the same time"
    )
    capabilities: tuple[Name, ...] = Field(
        (), description="what `specialization` of a task may ask for"
    )
    grace_s: Pause = Field(
        30.0,
        description="how long running tasks may go on once percyd is told to stop; then "
        "they are ended, and tried again",
    )


class LeaseConfig(Section):
    """``[lease]``."""

    beat_s: Seconds = Field(
        20.0, description="how often a worker that holds a task says that it lives"
    )
    lease_s: Seconds = Field(
        90.0, description="silence after which its tasks go to others; 4 beats at least"
    )
    idle_beat_s: Seconds = Field(
        300.0, description="how often an idle worker says that it lives"
    )


class WatchConfig(Section):
    """``[watch]``."""

    poll_s: Seconds = Field(
        15.0,
        description="longest pause between two looks at the remote; events, where there "
        "are any, bring the next one at once",
    )


class LimitsConfig(Section):
    """``[limits]``: kept with each plan at intake."""

    timeout_s: Seconds = Field(
        _LIMITS.timeout_s,
        description="longest run of a program, or of a gate; then it is ended",
    )
    idle_s: Seconds = Field(
        _LIMITS.idle_s, description="longest time without output; then it is ended"
    )
    log_bytes: Positive = Field(
        _LIMITS.log_bytes, description="what is kept of an attempt's output"
    )
    max_attempts: Positive = Field(
        _LIMITS.max_attempts, description="failed or lost attempts before a task fails"
    )
    backoff_s: Pause = Field(
        _LIMITS.backoff_s, description="pause before the next attempt; it doubles"
    )
    fix_rounds: Whole = Field(
        _LIMITS.fix_rounds,
        description="how often work that the gate refuses, or that conflicts, goes back "
        "to its program within one attempt",
    )

    def record(self) -> records.Limits:
        """The same limits as a plan keeps them."""
        return records.Limits(**self.model_dump())


class BudgetConfig(Section):
    """``[budget]``: of each day, in UTC, for all plans together."""

    cost_usd: Seconds | None = Field(
        None,
        description="dollars, as the runners tell them; nothing more is begun then",
        examples=[50],
    )
    tokens: Positive | None = Field(
        None, description="tokens, in and out", examples=[20_000_000]
    )
    wall_s: Seconds | None = Field(
        None, description="seconds that programs have run", examples=[86_400]
    )

    def record(self) -> records.Budget | None:
        """The budget; None if there is none."""
        values = self.model_dump(exclude_none=True)
        return records.Budget(**values) if values else None


class RunnerConfig(Section):
    """``[runners.<name>]``: a program that does tasks."""

    type: Name | None = Field(
        None,
        description="how it is spoken to: claude, codex, gemini, opencode, aider, or "
        "command; default: the table's name where it is one of these, else command",
    )
    command: tuple[Shell, ...] = Field(
        (),
        description="the program and its first arguments; for type command it must be "
        "given",
    )
    args: tuple[Word, ...] = Field(
        (), description="arguments behind those of `command`"
    )
    model: Name | None = Field(
        None, description="the model to use, in the program's own words"
    )
    permission_mode: Name | None = Field(
        None,
        description="what it may do unasked, in the program's own words; default: edit "
        "its worktree and run commands",
    )
    cost_usd: Seconds | None = Field(
        None, description="what one run may cost, for programs that can be told so"
    )
    project_settings: bool = Field(
        False,
        description="whether settings and servers that the repository brings for the "
        "program are obeyed, like .claude/settings.json and .mcp.json",
    )
    env: Annotated[
        dict[Annotated[str, Field(strict=True)], Word], AfterValidator(_runner_env)
    ] = Field(default_factory=dict, description="variables to set for it")
    env_allow: tuple[Plain, ...] = Field(
        (), description="credentials to let through, by name or pattern"
    )
    env_deny: tuple[Plain, ...] = Field(
        (), description="variables to take away as well, by name or pattern"
    )


def runner_type(name: str, runner: RunnerConfig) -> str:
    """How a runner is spoken to."""
    return runner.type or (name if name in AGENTS else COMMAND)


class Config(Section):
    """Every setting."""

    project: Plain | None = Field(
        None, description="default: the remote's base name", examples=["shop"]
    )
    remote: Name | None = Field(
        None,
        description="default: origin if there is one, else this repository",
        examples=["origin"],
    )
    base: Annotated[Name, AfterValidator(_branch)] | None = Field(
        None, description="the branch that plans start from and land on"
    )
    trigger: Literal["commit", "push"] = Field(
        "commit",
        description='a local commit starts a plan; "push": once it is on the remote',
    )
    runner: Name | None = Field(
        None,
        description="the runner of a task that names none",
        examples=["mytool"],
    )
    verify: Shell | Literal[False] = Field(
        False,
        description='the gate: a command that a merged tree must pass, like "make test"',
    )
    land: records.Land = Field(
        "manual",
        description='a finished plan waits for percyd plan land; "auto": it lands',
    )
    worker: WorkerConfig = Field(default_factory=WorkerConfig)
    lease: LeaseConfig = Field(default_factory=LeaseConfig)
    watch: WatchConfig = Field(default_factory=WatchConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    budget: BudgetConfig = Field(default_factory=BudgetConfig)
    runners: dict[str, RunnerConfig] = Field(default_factory=dict)

    @property
    def gate(self) -> str | None:
        """The default gate, or None for none."""
        return self.verify or None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = conflicts(self)
        if found:
            text = "; ".join(f"{key}: {problem}" for key, problem in found)
            raise PydanticCustomError("conflict", "{text}", {"text": text})
        return self


def conflicts(config: Config) -> list[tuple[str, str]]:
    """What is wrong between keys that are each fine: (dotted key, problem)."""
    found = []
    lease = config.lease
    beat = f"{lease.beat_s:g}"
    if lease.lease_s < 4 * lease.beat_s:
        problem = f"is {lease.lease_s:g}; must be at least 4 x lease.beat_s ({beat})"
        found.append(("lease.lease_s", problem))
    if lease.idle_beat_s < lease.beat_s:
        problem = f"is {lease.idle_beat_s:g}; must be at least lease.beat_s ({beat})"
        found.append(("lease.idle_beat_s", problem))
    found += [
        (f"runners.{name}.command", 'is missing; give a list like ["mytool"]')
        for name, runner in config.runners.items()
        if not runner.command and runner_type(name, runner) == COMMAND
    ]
    return found
