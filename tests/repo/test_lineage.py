"""Lines of commits and changed files, held against git's own answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from percyd.errors import GitError
from percyd.repo import lineage, objects
from percyd.repo.birth import init_bare
from percyd.repo.objects import Change, commit_tree, write_commits
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import NewCommit
from tests.support.gitrepo import WHEN, commit, make_repo, tip

NAMES = ("a", "b", "d", "d/x", "d/y", "d/e/f", "d.x", "d0", "über", "z z")


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    path = tmp_path_factory.mktemp("repo") / "r.git"
    init_bare(path, "sha1", None)
    return Git(path)


@pytest.fixture(scope="module")
def reader(git: Git) -> Iterator[ObjectReader]:
    with ObjectReader(git) as reader:
        yield reader


def chain(git: Git, count: int) -> list[str]:
    commits = [NewCommit(str(n), WHEN, {"n": b"%d" % n}) for n in range(count)]
    return write_commits(git, None, commits)


def test_a_line_is_what_git_calls_the_history_between(
    git: Git, reader: ObjectReader
) -> None:
    made = chain(git, 6)

    assert lineage.line_between(reader, made[1], made[5]) == made[2:]
    assert lineage.line_between(reader, made[3], made[3]) == []
    assert [oid for oid, _ in objects.history(git, made[1], made[5])] == made[2:]


def test_what_is_no_line_proves_nothing(git: Git, reader: ObjectReader) -> None:
    made = chain(git, 3)
    aside = write_commits(git, made[0], [NewCommit("aside", WHEN, {"s": b""})])[0]
    tree = git.run("rev-parse", f"{made[2]}^{{tree}}").text
    merge = commit_tree(git, tree, [made[2], aside], "merge", WHEN)

    assert lineage.line_between(reader, made[0], merge) is None
    assert lineage.line_between(reader, made[2], made[0]) is None
    assert lineage.line_between(reader, aside, made[2]) is None


def test_a_long_line_is_left_to_git(git: Git, reader: ObjectReader) -> None:
    made = chain(git, lineage.LONGEST + 2)

    assert lineage.line_between(reader, made[0], made[-1]) is None
    assert lineage.line_between(reader, made[1], made[-1]) == made[2:]


def test_a_missing_commit_is_named(reader: ObjectReader, git: Git) -> None:
    with pytest.raises(GitError, match="d" * 40):
        lineage.line_between(reader, "a" * 40, "d" * 40)


files = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=2), max_size=8)


def possible(wanted: dict[str, bytes]) -> dict[str, bytes]:
    """Without files that stand where others need a folder."""
    return {
        path: content
        for path, content in wanted.items()
        if not any(other.startswith(f"{path}/") for other in wanted)
    }


@settings(max_examples=40, deadline=None, derandomize=True)
@given(files, files)
def test_changed_files_are_those_that_git_names(
    git: Git, reader: ObjectReader, before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    old, new = (
        write_commits(git, None, [NewCommit("x", WHEN, {"k": b"", **possible(side)})])
        for side in (before, after)
    )

    found = sorted(
        lineage.changed_files(reader, old[0], new[0]), key=lambda c: (c.path, c.mode)
    )

    assert found == sorted(named(git, old[0], new[0]), key=lambda c: (c.path, c.mode))


def named(git: Git, old: str, new: str) -> Iterator[Change]:
    """The changes as git has them: modes, ids and status, then the path."""
    raw = git.run("diff-tree", "-r", "-z", "--no-abbrev", "--no-renames", old, new)
    rows = raw.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
    for head, path in zip(rows[::2], rows[1::2], strict=True):
        _, mode, before, after, _ = head.split(" ")
        ids = [oid if oid.strip("0") else None for oid in (before, after)]
        yield Change(path, ids[0], ids[1], mode)


def test_changes_between_two_commits_are_told_by_path(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"same": "s", "changed": "1", "gone": "g"})
    old = tip(repo)
    files = {"changed": "2", "gone": None, "d/new": "n", "ä": "u"}
    fresh = commit(repo, files)

    with ObjectReader(Git(repo / ".git")) as reader:
        changes = {c.path: c for c in lineage.changed_files(reader, old, fresh)}
        gone = reader.resolve(f"{old}:gone")
        changed = reader.resolve(f"{fresh}:changed")

    assert set(changes) == {"changed", "gone", "d/new", "ä"}
    assert changes["gone"] == Change("gone", gone, None, objects.ABSENT_MODE)
    assert changes["d/new"].old is None
    assert changes["changed"].new == changed


def test_a_renamed_file_is_one_gone_and_one_new(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"a": "content\n" * 50})
    old = tip(repo)
    fresh = commit(repo, {"a": None, "b": "content\n" * 50})

    with ObjectReader(Git(repo / ".git")) as reader:
        changes = lineage.changed_files(reader, old, fresh)
        found = sorted((c.path, c.new is None) for c in changes)

    assert found == [("a", True), ("b", False)]


def test_two_object_formats(tmp_path: Path) -> None:
    init_bare(tmp_path / "r.git", "sha256", None)
    git = Git(tmp_path / "r.git")
    made = chain(git, 3)

    with ObjectReader(git) as reader:
        assert lineage.line_between(reader, made[0], made[2]) == made[1:]
        (change,) = lineage.changed_files(reader, made[0], made[2])
    assert change.path == "n"
    assert len(change.new or "") == 64
