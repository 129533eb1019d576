"""Reads the user's git configuration, the way their own git would."""

from __future__ import annotations

from dataclasses import dataclass

from percyd.errors import GitError
from percyd.repo.runner import Git


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the configuration, and the file that it comes from."""

    origin: str
    key: str
    value: str


def read_all(git: Git) -> list[Setting]:
    """Every setting that holds in a repository, from the weakest to the strongest."""
    listing = git.run(
        "config",
        "--list",
        "-z",
        "--show-origin",
        "--includes",
        check=False,
        network=True,
    )
    fields = listing.stdout.decode("utf-8", "surrogateescape").split("\0")
    found = []
    for origin, line in zip(fields[::2], fields[1::2], strict=False):
        if origin == "command line:":
            continue
        key, has_value, value = line.partition("\n")
        found.append(Setting(origin, key, value if has_value else "true"))
    return found


def values(git: Git, key: str) -> list[str]:
    """All values of a key, the strongest last."""
    result = git.run("config", "-z", "--get-all", key, check=False, network=True)
    if result.code not in (0, 1):
        raise GitError(f"git config: {result.problem}")
    return result.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]


def get(git: Git, key: str) -> str | None:
    """The value of a key, or None."""
    found = values(git, key)
    return found[-1] if found else None
