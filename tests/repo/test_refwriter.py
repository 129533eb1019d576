from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from percyd.errors import GitError
from percyd.repo.refwriter import RefWriter
from percyd.repo.runner import Git
from tests.support.gitrepo import commit, make_repo, refs, tip

REF = "refs/percyd/pin/x"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


@pytest.fixture
def writer(repo: Path) -> Iterator[RefWriter]:
    opened = RefWriter(Git(repo / ".git"))
    yield opened
    opened.close()


def children() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [process for process in found if "update-ref" in process.cmdline()]


def test_refs_are_moved_and_removed_by_one_process(
    repo: Path, writer: RefWriter
) -> None:
    first, second = tip(repo), commit(repo, {"b": "b"})

    writer.update(REF, first)
    before = children()
    writer.update(REF, second, before=first)
    assert refs(repo)[REF] == second
    writer.delete(REF)
    writer.delete(REF)

    assert REF not in refs(repo)
    assert children() == before
    assert len(before) == 1
    writer.close()
    assert children() == []


def test_a_ref_that_names_something_else_stays_and_the_next_move_is_made(
    repo: Path, writer: RefWriter
) -> None:
    first, second = tip(repo), commit(repo, {"b": "b"})
    writer.update(REF, first)

    with pytest.raises(GitError, match="is at"):
        writer.update(REF, second, before=second)
    with pytest.raises(GitError, match="already exists"):
        writer.update(REF, second, before="0" * 40)

    assert refs(repo)[REF] == first
    writer.update(REF, second)
    assert refs(repo)[REF] == second


def test_a_process_that_was_killed_costs_nothing(repo: Path, writer: RefWriter) -> None:
    writer.update(REF, tip(repo))
    (process,) = children()
    process.kill()
    process.wait(10)

    writer.delete(REF)

    assert REF not in refs(repo)
