"""What a repair has put right, and what no repair can."""

from __future__ import annotations

from percyd.state.verify.commits import FileChange, Link, StateCommit
from percyd.state.verify.mending import Mending
from percyd.state.verify.report import Verified, Violation


def commit(
    oid: str, *paths: str, parents: int = 1, readable: bool = True
) -> StateCommit:
    files = tuple(FileChange(path, "100644", "f" * 40) for path in paths)
    link = Link(oid, tuple(f"parent-{number}" for number in range(parents)))
    return StateCommit(link, "x", "x", "m", files if readable else None)


def mended(spoiled: StateCommit, repair: StateCommit, *paths: str) -> list[bool]:
    """For violations of a commit at these paths, whether a repair has mended them."""
    mending = Mending()
    mending.note(spoiled)
    found = [Violation(spoiled.link.oid, path, "is wrong") for path in paths]
    after = mending.after(repair, found)
    assert {v.mended_by for v in after} <= {None, repair.link.oid}
    return [violation.mended_by is not None for violation in after]


def test_what_a_repair_changes_is_mended_and_nothing_else() -> None:
    spoiled = commit("bad", "a", "b")
    assert mended(spoiled, commit("r", "a"), "a", "b", "") == [True, False, True]
    assert mended(spoiled, commit("r", "z"), "a", "b", "") == [False, False, False]


def test_a_tree_that_cannot_be_read_is_mended_by_one_that_can() -> None:
    assert mended(commit("bad", readable=False), commit("r"), "") == [True]


def test_a_merge_and_what_is_wrong_with_refs_stay_wrong() -> None:
    assert mended(commit("bad", "a", parents=2), commit("r", "a"), "a", "") == [
        False,
        False,
    ]
    (ref,) = Mending().after(commit("r", "a"), [Violation("tip", "refs/heads/x", "?")])
    assert ref.mended_by is None


def test_a_history_is_good_if_all_is_mended() -> None:
    one = Violation("bad", "a", "is wrong", mended_by="r" * 40)
    two = Violation("bad", "b", "is wrong")
    assert Verified(2, (one,)).is_mended
    assert not Verified(2, (one, two)).is_mended
    assert str(one) == f"bad a: is wrong (mended by {'r' * 12})"
    assert one.as_json()["mended_by"] == "r" * 40
