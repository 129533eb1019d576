"""A branch is made beside what there is, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from percyd.errors import PercydError, RefusedError, UsageError
from percyd.repo.discover import discover
from percyd.repo.newbranch import make_branch
from tests.support.gitrepo import commit, git, make_repo, refs, tip
from tests.support.newuser import checkout

_RESERVED = ("refs/heads/percy", "refs/heads/agent")


def test_the_branch_is_new_and_everything_else_stays(tmp_path: Path) -> None:
    mine, other = make_repo(tmp_path / "mine"), make_repo(tmp_path / "other")
    work = commit(other, {"b.txt": "b\n"})
    (mine / "untracked").write_text("mine")
    (mine / "README.md").write_text("changed")
    before, branches = checkout(mine), refs(mine)

    make_branch(discover(mine), other, work, "rescue/p.b/2", _RESERVED)

    assert refs(mine) == {**branches, "refs/heads/rescue/p.b/2": work}
    assert git(mine, "show", "rescue/p.b/2:b.txt") == "b"
    git(mine, "branch", "-q", "-D", "rescue/p.b/2")
    assert checkout(mine) == before


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("main", RefusedError, "there is a branch main already"),
        ("main/more", RefusedError, "cannot be made"),
        ("percy/state", UsageError, "percyd's own"),
        ("agent", UsageError, "percyd's own"),
        ("a..b", UsageError, "no name for a branch"),
        ("-b", UsageError, "no name for a branch"),
        ("", UsageError, "no name for a branch"),
    ],
)
def test_no_other_branch_is_moved_and_none_of_percyds_own_is_made(
    tmp_path: Path, name: str, error: type[PercydError], words: str
) -> None:
    repo = make_repo(tmp_path / "mine")
    before = refs(repo)
    with pytest.raises(error, match=words):
        make_branch(discover(repo), repo, tip(repo), name, _RESERVED)
    assert refs(repo) == before
