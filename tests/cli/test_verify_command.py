"""``percyd verify`` from outside: a real run, ranges, exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from percyd.repo.runner import Git
from tests.support.gitrepo import git, tip
from tests.support.newuser import NewUser, new_user, percyd
from tests.support.verified import assert_verified, verified

STATE = "refs/heads/percy/state"
PLAN = {
    "title": "Three",
    "tasks": [
        {"id": "a", "title": "A", "run": "echo a > a.txt", "paths": ["a.txt"]},
        {
            "id": "b",
            "title": "B",
            "run": "cat a.txt > b.txt",
            "depends_on": ["a"],
            "verify": "test -s b.txt",
        },
        {"id": "c", "title": "C", "run": "false", "max_attempts": 2},
        {"id": "d", "title": "D", "run": "true", "depends_on": ["c"]},
    ],
}


def by_hand(user: NewUser, name: str = "notes.txt") -> str:
    """Push a commit to the state branch as somebody who does not know better."""
    folder = user.clone.parent / f"by-hand-{name}"
    git(user.clone.parent, "clone", "-q", str(user.remote), str(folder))
    git(folder, "checkout", "-q", "-B", "hand", f"origin/{STATE.split('/', 2)[2]}")
    (folder / name).write_text("hello\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "oops")
    git(folder, "push", "-q", "origin", f"HEAD:{STATE}")
    return tip(folder)


def test_a_real_run_has_no_violation(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    user.commit_plan("three.yaml", PLAN)
    user.percyd("serve", "--until-idle", code=1)
    count = git(user.remote, "rev-list", "--count", STATE)

    done = user.percyd("verify")

    assert done.out == f"{count} commits, no violation\n"
    assert user.percyd("verify", "--json").document == {
        "commits": int(count),
        "violations": [],
    }
    assert_verified(user.remote)
    user.percyd("task", "retry", "three.c")
    user.percyd("serve", "--until-idle", code=1)
    assert_verified(user.remote)


def test_a_repository_that_is_its_own_remote_is_verified(tmp_path: Path) -> None:
    user = new_user(tmp_path, with_remote=False)
    user.commit_plan("three.yaml", PLAN)
    user.percyd("serve", "--until-idle", code=1)

    assert "no violation" in user.percyd("verify").out
    assert_verified(user.remote)


@pytest.mark.spoiled
def test_a_commit_by_hand_is_reported_with_commit_and_file(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    good = tip(user.remote, STATE)
    bad = by_hand(user)

    done = user.percyd("verify", code=1)

    assert f"{bad[:12]} notes.txt: is no file of the format" in done.out.splitlines()
    assert done.said[0].endswith("percyd verify COMMIT.. looks at what follows")
    document = user.percyd("verify", "--json", code=1).document
    assert document["commits"] == 2
    assert {v["commit"] for v in document["violations"]} == {bad}
    assert {
        "commit": bad,
        "path": "notes.txt",
        "what": "is no file of the format",
        "mended_by": None,
    } in document["violations"]
    assert user.percyd("verify", good).out == "1 commit, no violation\n"
    assert user.percyd("verify", f"..{good[:10]}").out == "1 commit, no violation\n"
    assert user.percyd("verify", f"{bad}..").out == "0 commits, no violation\n"
    assert (
        user.percyd("verify", f"{good[:10]}..", "--json", code=1).document["violations"]
        == (document["violations"])
    )
    user.percyd("verify", f"{good}..{bad}", code=1)
    report = verified(user.remote)
    assert report is not None
    with pytest.raises(AssertionError, match=r"notes\.txt"):
        assert_verified(user.remote)


@pytest.mark.spoiled
def test_what_the_printed_command_has_mended_is_told(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    bad = by_hand(user, "percy.json")
    refused = user.percyd("status", code=4).err
    assert user.percyd("verify", code=1).said[0].startswith("percyd: ")
    way = refused[refused.index("git --git-dir=") :]
    subprocess.run(["/bin/sh", "-c", way], check=True, capture_output=True)
    repair = tip(user.remote, STATE)

    done = user.percyd("verify", code=1)

    assert "mended since: nothing is left to do" in done.said[0]
    assert f"percyd verify {repair}.. " in done.said[0]
    user.percyd("verify", f"{repair}..")
    lines = done.out.splitlines()
    assert lines
    for line in lines:
        assert line.startswith(bad[:12])
        assert line.endswith(f"(mended by {repair[:12]})")


@pytest.mark.spoiled
def test_a_merge_that_no_other_command_reads_is_reported(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    tree = git(user.remote, "rev-parse", f"{STATE}^{{tree}}")
    parents = ("-p", tip(user.remote, STATE), "-p", tip(user.remote, "main"))
    env = ("-c", "user.name=x", "-c", "user.email=x@y")
    merge = git(user.remote, *env, "commit-tree", tree, *parents, "-m", "merge")
    git(user.remote, "update-ref", STATE, merge)

    user.percyd("status", code=4)
    assert "has 2 parents" in user.percyd("verify", code=1).out


@pytest.mark.spoiled
def test_what_git_does_not_fetch_is_refused_in_one_line(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    blob = git(user.remote, "hash-object", "-w", "--stdin", stdin="x\n")
    remote = Git(user.remote)
    tree = remote.run("cat-file", "tree", f"{STATE}^{{tree}}").stdout
    evil = b"100644 .git\0" + bytes.fromhex(blob) + tree
    literally = ("hash-object", "-t", "tree", "-w", "--stdin", "--literally")
    made = remote.run(*literally, stdin=evil).text
    env = ("-c", "user.name=x", "-c", "user.email=x@y")
    parent = ("-p", tip(user.remote, STATE))
    commit = git(user.remote, *env, "commit-tree", made, *parent, "-m", "evil")
    git(user.remote, "update-ref", STATE, commit)

    assert len(user.percyd("verify", code=4).said) == 1
    report = verified(user.remote)
    assert report is not None
    assert ".git" in {violation.path for violation in report.violations}


def test_a_range_of_something_else_is_bad_input(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    wrong = {
        "main": "'main' is no commit id",
        "--upload-pack=x": "No such option",
        "a" * 40: "aaaaaaaaaaaa is no commit of percy/state",
        "abcd...abcd": "is no commit",
        tip(user.clone): "is no commit of percy/state",
    }
    for text, words in wrong.items():
        done = user.percyd("verify", text, code=2)
        assert len(done.said) == 1
        assert words in done.said[0]


def test_a_branch_that_is_gone_was_never_there_or_cannot_be_asked_for(
    tmp_path: Path,
) -> None:
    user = new_user(tmp_path)
    user.percyd("verify")
    git(user.remote, "update-ref", "-d", STATE)
    assert "was deleted" in user.percyd("verify", code=4).said[0]
    away = user.remote.rename(tmp_path / "away.git")
    done = user.percyd("verify", code=3)
    assert done.out == "1 commit, no violation\n"
    assert "last known state" in done.said[0]
    away.rename(user.remote)
    bare = tmp_path / "other"
    git(tmp_path, "clone", "-q", str(user.remote), str(bare))
    assert "percyd init" in percyd(bare, "verify", code=2).said[0]
