"""Which branch plans are read from."""

from __future__ import annotations

from pathlib import Path

import pytest

from percyd.errors import UsageError
from percyd.intake.base import base_branch
from percyd.repo import discover
from tests.support.gitrepo import git, make_bare, make_repo, open_hub


def repositories(folder: Path, *branches: str) -> tuple[Path, Path]:
    clone = make_repo(folder / "shop")
    bare = make_bare(folder / "shop.git")
    for branch in branches:
        git(clone, "push", "-q", str(bare), f"main:refs/heads/{branch}")
    return clone, bare


def chosen(folder: Path, clone: Path, bare: Path, configured: str | None = None) -> str:
    hub = open_hub(folder / "hub.git", bare)
    return base_branch(hub.heads(), discover.discover(clone), configured)


def test_the_configured_branch_goes_first(tmp_path: Path) -> None:
    clone, bare = repositories(tmp_path, "main", "next")
    assert chosen(tmp_path, clone, bare, "next") == "next"


def test_the_remotes_head_goes_before_the_current_branch(tmp_path: Path) -> None:
    clone, bare = repositories(tmp_path, "main", "trunk")
    git(bare, "symbolic-ref", "HEAD", "refs/heads/trunk")
    assert chosen(tmp_path, clone, bare) == "trunk"


def test_a_head_without_a_branch_leaves_it_to_the_current_one(tmp_path: Path) -> None:
    clone, bare = repositories(tmp_path, "dev", "next")
    git(clone, "branch", "-qm", "main", "dev")
    assert chosen(tmp_path, clone, bare) == "dev"


def test_the_only_branch_is_the_last_resort(tmp_path: Path) -> None:
    clone, bare = repositories(tmp_path, "only", "percy/plan/x", "agent/a/b")
    assert chosen(tmp_path, clone, bare) == "only"


@pytest.mark.spoiled
def test_branches_of_percyds_own_are_never_candidates(tmp_path: Path) -> None:
    clone, bare = repositories(tmp_path, "percy/state", "agent/a/b")
    git(bare, "symbolic-ref", "HEAD", "refs/heads/percy/state")
    with pytest.raises(UsageError, match="not clear"):
        chosen(tmp_path, clone, bare)
