"""What a task's programs see, and what is kept from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from percyd.core.edges import PlanStatus, TaskStatus
from percyd.core.records import Plan, Source, Task
from percyd.work.environment import task_environment

PLAN = Plan(
    id="shop",
    title="The shop",
    status=PlanStatus.EXECUTING,
    base_branch="main",
    base_commit="0" * 40,
    source=Source(kind="cli"),
)
TASK = Task(
    id="shop.api",
    plan="shop",
    title="Add the API; $(rm -rf /)",
    status=TaskStatus.WORKING,
    attempt=3,
)


def environment(
    base: Mapping[str, str], allow: Sequence[str] = (), deny: Sequence[str] = ()
) -> dict[str, str]:
    return task_environment(
        base,
        TASK,
        PLAN,
        branch="refs/heads/agent/box-123456/shop.api",
        base_commit="a" * 40,
        prompt_file=Path("/state/runs/prompt"),
        question_file=Path("/state/runs/question"),
        depth=1,
        allow=allow,
        deny=deny,
    )


def kept(
    name: str, allow: Sequence[str] = (), deny: Sequence[str] = (), value: str = "v"
) -> bool:
    return environment({name: value}, allow, deny).get(name) == value


def test_a_program_is_told_its_task() -> None:
    assert environment({}) == {
        "PERCY_TASK_ID": "shop.api",
        "PERCY_PLAN_ID": "shop",
        "PERCY_PLAN_TITLE": "The shop",
        "PERCY_TITLE": "Add the API; $(rm -rf /)",
        "PERCY_ATTEMPT": "3",
        "PERCY_BRANCH": "agent/box-123456/shop.api",
        "PERCY_BASE": "a" * 40,
        "PERCY_PROMPT_FILE": "/state/runs/prompt",
        "PERCY_QUESTION_FILE": "/state/runs/question",
        "PERCY_DEPTH": "1",
    }


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "LANG",
        "LC_ALL",
        "TZ",
        "HTTPS_PROXY",
        "VIRTUAL_ENV",
        "EDITOR",
        "XDG_CONFIG_HOME",
        "CI",
        "GITHUB_ACTIONS",
        "TOKENIZERS_PARALLELISM",
        "KEYBOARD",
    ],
)
def test_the_workers_environment_is_passed_on(name: str) -> None:
    assert kept(name)


@pytest.mark.parametrize(
    "name",
    [
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_ASKPASS",
        "GIT_AUTHOR_NAME",
        "PERCYD_STATE_DIR",
        "PERCYD_WORKER__SLOTS",
        "PERCY_TOKEN",
    ],
)
def test_what_would_lead_to_percyds_own_repository_never_is(name: str) -> None:
    assert not kept(name)
    assert not kept(name, allow=[name, "*"])


@pytest.mark.parametrize(
    "name",
    [
        "SSH_AUTH_SOCK",
        "SSH_ASKPASS",
        "SUDO_ASKPASS",
        "NPM_TOKEN",
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "CI_JOB_TOKEN",
        "AWS_PROFILE",
        "PGPASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "CLIENT_SECRET",
        "CLIENT_SECRET_ID",
        "DB_PASSWORD",
        "ANTHROPIC_API_KEY",
        "OPENAI_API_KEY",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AZURE_DEVOPS_EXT_PAT",
        "TWINE_PASSWORD",
        "SENTRY_DSN",
        "TOKEN",
        "npm_token",
    ],
)
def test_credentials_pass_only_if_they_are_allowed(name: str) -> None:
    assert not kept(name)
    assert kept(name, allow=[name])
    assert not kept(name, allow=[name], deny=[name])


def test_patterns_allow_and_deny() -> None:
    assert kept("ANTHROPIC_API_KEY", allow=["ANTHROPIC_*"])
    assert not kept("ANTHROPIC_API_KEY", allow=["anthropic_*"])
    assert not kept("EDITOR", deny=["ED*"])


def test_the_given_environment_is_not_changed() -> None:
    base = {"PATH": "/bin", "GIT_DIR": "x"}
    environment(base)
    assert base == {"PATH": "/bin", "GIT_DIR": "x"}
