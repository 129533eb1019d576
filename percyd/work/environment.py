"""The environment of a task's programs (CLI 5): what they see, what is kept from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from percyd.core.ids import short_ref
from percyd.core.records import Plan, Task

#: Never inherited: they would point a program at percyd's own repository or state.
#: A runner that needs one of git's sets it in its ``env``.
NEVER: Final = ("GIT_*", "PERCYD_*", "PERCY_*")
#: Kept from programs unless ``env_allow`` names them. A coding agent needs its own key
#: that way: ``env_allow = ["ANTHROPIC_API_KEY"]``.
CREDENTIALS: Final = (
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "*_ASKPASS",
    "*TOKEN",
    "*TOKENS",
    "*TOKEN_FILE",
    "*SECRET*",
    "*PASSWORD*",
    "*PASSWD",
    "*PASSPHRASE*",
    "*CREDENTIAL*",
    "*API_KEY*",
    "*APIKEY*",
    "*ACCESS_KEY*",
    "*PRIVATE_KEY*",
    "*_DSN",
    "*_PAT",
    "PGPASS*",
    "DATABASE_URL",
    "AWS_*",
    "AZURE_*",
    "GH_*",
    "KUBECONFIG",
    "NETRC",
    "DOCKER_AUTH_CONFIG",
    "VAULT_*",
)


def task_environment(
    base: Mapping[str, str],
    task: Task,
    plan: Plan,
    *,
    branch: str,
    base_commit: str,
    prompt_file: Path,
    question_file: Path,
    depth: int,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> dict[str, str]:
    """What the runner, ``run:`` and ``verify:`` of ``task`` get.

    ``base`` is the worker's own environment, ``branch`` a full ref or a short name,
    ``depth`` how far below a plan of a person's making the task is. ``allow`` names
    credentials that are let through, ``deny`` what is taken away as well; both may be
    patterns, and ``deny`` wins.
    """
    environment = {
        name: value for name, value in base.items() if _passes(name, allow, deny)
    }
    environment |= {
        "PERCY_TASK_ID": task.id,
        "PERCY_PLAN_ID": plan.id,
        "PERCY_PLAN_TITLE": plan.title,
        "PERCY_TITLE": task.title,
        "PERCY_ATTEMPT": str(task.attempt),
        "PERCY_BRANCH": short_ref(branch),
        "PERCY_BASE": base_commit,
        "PERCY_PROMPT_FILE": str(prompt_file),
        "PERCY_QUESTION_FILE": str(question_file),
        "PERCY_DEPTH": str(depth),
    }
    return environment


def is_credential(name: str) -> bool:
    """Whether a variable of this name is kept from programs by default."""
    return _matches(name.upper(), CREDENTIALS)


def _passes(name: str, allow: Iterable[str], deny: Iterable[str]) -> bool:
    if _matches(name, NEVER) or _matches(name, deny):
        return False
    return _matches(name, allow) or not is_credential(name)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
