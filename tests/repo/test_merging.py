from __future__ import annotations

from pathlib import Path

import pytest

from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.errors import GitError
from percyd.repo.hub import Hub
from tests.support.gitrepo import (
    NOWHERE,
    WHEN,
    commit,
    git,
    make_bare,
    make_repo,
    open_hub,
    tip,
)


class Sides:
    """A repository with two sides to merge, and a hub that has both."""

    def __init__(self, tmp_path: Path, base: dict[str, str]) -> None:
        self.repo = make_repo(tmp_path / "repo", base)
        self.hub: Hub = open_hub(tmp_path / "hub.git", make_bare(tmp_path / "r.git"))
        self.base = tip(self.repo)

    def side(self, name: str, files: dict[str, str | None]) -> Oid:
        git(self.repo, "checkout", "-q", "-b", name, self.base)
        commit(self.repo, files, name)
        return self.hub.ingest(self.repo, f"refs/heads/{name}")

    def merge(self, ours: Oid, theirs: Oid) -> Merged | MergeConflict:
        return self.hub.merge(ours, theirs, "Merge p.t\n\nPercy-Task: p.t\n", WHEN)


def merged(result: Merged | MergeConflict) -> Merged:
    assert isinstance(result, Merged)
    return result


def conflict(result: Merged | MergeConflict) -> MergeConflict:
    assert isinstance(result, MergeConflict)
    return result


def test_two_sides_become_one_commit_of_percyd(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours, theirs = sides.side("ours", {"b": "b\n"}), sides.side("theirs", {"c": "c\n"})

    made = merged(sides.merge(ours, theirs))

    hub = sides.hub
    shown = git(hub.path, "show", "-s", "--format=%P|%T|%an|%cn|%s|%cI", made.commit)
    when = "2026-03-01T12:00:00+00:00"
    assert shown == f"{ours} {theirs}|{made.tree}|percyd|percyd|Merge p.t|{when}"
    assert git(hub.path, "ls-tree", "--name-only", made.tree) == "a\nb\nc"


def test_the_same_merge_has_the_same_id(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours, theirs = sides.side("ours", {"b": "b\n"}), sides.side("theirs", {"c": "c\n"})

    assert sides.merge(ours, theirs) == sides.merge(ours, theirs)


def test_what_is_merged_already_makes_a_commit_all_the_same(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours = sides.side("ours", {"b": "b\n"})

    made = merged(sides.merge(ours, sides.base))

    assert made.tree == sides.hub.tree_of(ours)
    parents = git(sides.hub.path, "show", "-s", "--format=%P", made.commit)
    assert parents == f"{ours} {sides.base}"


def test_a_fast_forward_is_a_merge_commit_too(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    theirs = sides.side("theirs", {"b": "b\n"})

    made = merged(sides.merge(sides.base, theirs))

    assert made.tree == sides.hub.tree_of(theirs)
    assert made.commit != theirs


def test_merging_a_commit_into_itself_leaves_one_parent(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours = sides.side("ours", {"b": "b\n"})

    made = merged(sides.merge(ours, ours))

    assert git(sides.hub.path, "show", "-s", "--format=%P", made.commit) == ours
    assert made.tree == sides.hub.tree_of(ours)


def test_a_conflict_names_its_paths(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n", "ä b": "1\n", "same": "s\n"})
    ours = sides.side("ours", {"a": "ours\n", "ä b": "ours\n", "same": "x\n"})
    theirs = sides.side("theirs", {"a": "theirs\n", "ä b": None, "same": "x\n"})

    found = conflict(sides.merge(ours, theirs))

    assert found.paths == ("a", "ä b")
    assert "Merge conflict in a" in found.messages
    assert "deleted in" in found.messages


@pytest.mark.parametrize("place", [".gitattributes", "docs/.gitattributes"])
def test_the_attributes_of_our_side_hold(tmp_path: Path, place: str) -> None:
    folder = place.removesuffix(".gitattributes")
    log = f"{folder}log"
    sides = Sides(tmp_path, {place: "log merge=union\n", log: "start\n"})
    ours = sides.side("ours", {log: "start\nours\n"})
    theirs = sides.side("theirs", {log: "start\ntheirs\n"})

    made = merged(sides.merge(ours, theirs))

    assert git(sides.hub.path, "cat-file", "blob", f"{made.tree}:{log}") == (
        "start\nours\ntheirs"
    )


def test_without_attributes_the_same_merge_is_a_conflict(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"log": "start\n"})
    ours = sides.side("ours", {"log": "start\nours\n"})
    theirs = sides.side("theirs", {"log": "start\ntheirs\n"})

    assert conflict(sides.merge(ours, theirs)).paths == ("log",)


def test_attributes_that_are_a_link_or_lead_outside_are_not_written(
    tmp_path: Path,
) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    (sides.repo / ".gitattributes").symlink_to("/etc/hostname")
    ours = sides.side("ours", {"b": "b\n"})
    theirs = sides.side("theirs", {"c": "c\n"})

    merged(sides.merge(ours, theirs))

    assert sides.hub.facts(ours).attributes == {}


def test_a_driver_that_a_user_has_configured_does_not_run(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {".gitattributes": "log merge=evil\n", "log": "start\n"})
    git(
        *(sides.repo, "config", "--global"),
        *("merge.evil.driver", f"touch {tmp_path}/fired; true"),
    )
    ours = sides.side("ours", {"log": "start\nours\n"})
    theirs = sides.side("theirs", {"log": "start\ntheirs\n"})

    conflict(sides.merge(ours, theirs))

    assert not (tmp_path / "fired").exists()


def test_a_commit_that_is_not_there_is_an_error_not_a_conflict(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours = sides.side("ours", {"b": "b\n"})

    with pytest.raises(GitError):
        sides.merge(ours, NOWHERE)


def test_histories_without_a_common_commit_are_an_error(tmp_path: Path) -> None:
    sides = Sides(tmp_path, {"a": "a\n"})
    ours = sides.side("ours", {"b": "b\n"})
    stranger = make_repo(tmp_path / "stranger", {"x": "x\n"})
    theirs = sides.hub.ingest(stranger, "refs/heads/main")

    with pytest.raises(GitError, match="unrelated histories"):
        sides.merge(ours, theirs)
