from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.errors import GitError
from percyd.repo import objects, reader
from percyd.repo.objects import ObjectReader, TreeEntry, write_commits
from percyd.repo.runner import Git
from percyd.repo.values import PERCYD, Identity, NewCommit
from tests.support.gitrepo import NOWHERE, WHEN, commit, git, make_bare, make_repo, tip


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "bare.git")


@pytest.fixture
def runner(bare: Path) -> Git:
    return Git(bare)


@pytest.fixture
def batch(runner: Git) -> Iterator[ObjectReader]:
    with ObjectReader(runner) as opened:
        yield opened


def new(message: str, **changes: bytes | None) -> NewCommit:
    return NewCommit(message, WHEN, changes)


def test_a_chain_of_commits_is_built_in_order(bare: Path, runner: Git) -> None:
    first, second = write_commits(
        runner, None, [new("one", a=b"1"), new("two", b=b"2")]
    )

    assert git(bare, "log", "--format=%H %s", second) == f"{second} two\n{first} one"
    assert git(bare, "ls-tree", "--name-only", second) == "a\nb"
    assert git(bare, "rev-parse", objects.PENDING_REF) == second


def test_commits_are_percyds_with_the_given_time_and_message(
    bare: Path, runner: Git
) -> None:
    message = "subject: ä\n\nbody\n\nPercy-Op: 1\n"
    (oid,) = write_commits(runner, None, [NewCommit(message, WHEN, {"f": b""})])

    shown = git(bare, "show", "-s", "--format=%an|%ae|%cn|%ce|%aI|%cI", oid)
    who = f"{PERCYD.name}|{PERCYD.email}"
    assert shown == f"{who}|{who}|2026-03-01T12:00:00+00:00|2026-03-01T12:00:00+00:00"
    assert git(bare, "cat-file", "commit", oid).endswith(message.strip())


def test_files_are_added_changed_and_removed_on_a_parent(
    bare: Path, runner: Git
) -> None:
    (first,) = write_commits(
        runner, None, [new("1", keep=b"k", change=b"1", gone=b"g")]
    )
    (second,) = write_commits(runner, first, [new("2", change=b"2", gone=None)])

    assert git(bare, "rev-parse", f"{second}^") == first
    assert git(bare, "ls-tree", "--name-only", second) == "change\nkeep"
    assert git(bare, "cat-file", "blob", f"{second}:change") == "2"


@pytest.mark.parametrize(
    "path", ['q"uote', "back\\slash", "sp ace", "ä", "new\nline", "d/f"]
)
def test_any_path_survives(runner: Git, path: str) -> None:
    (oid,) = write_commits(runner, None, [NewCommit("m", WHEN, {path: b"\x00\xff\n"})])

    (entry,) = objects.tree_entries(runner, oid, recursive=True)

    assert entry.path == path
    assert entry.mode == "100644"


def test_the_same_commits_have_the_same_ids(runner: Git) -> None:
    chain = [new("one", a=b"1"), new("two", b=b"2")]

    assert write_commits(runner, None, chain) == write_commits(runner, None, chain)


def test_no_commits_are_no_work(runner: Git) -> None:
    assert write_commits(runner, None, []) == []


def test_packs_are_quick_to_read_for_whoever_gets_them(bare: Path) -> None:
    git(bare, "config", "fastimport.unpackLimit", "1")
    many = {f"folder/{n:03}.json": b"0" for n in range(200)}
    chain = [NewCommit("all", WHEN, {**many, "long.txt": b"long " * 2000})]
    chain += [NewCommit("one", WHEN, {f"folder/{n:03}.json": b"1"}) for n in range(40)]
    write_commits(Git(bare), None, chain)

    (pack,) = (bare / "objects/pack").glob("*.pack")
    listed = git(bare, "verify-pack", "--verbose", str(pack.with_suffix(".idx")))
    objects_of = [row.split() for row in listed.splitlines() if row[:40].isalnum()]
    assert max(int(row[5]) for row in objects_of if len(row) > 5) in range(2, 11)
    (long,) = (row for row in objects_of if row[1:3] == ["blob", "10000"])
    assert int(long[3]) > 10_000


def test_a_parent_that_is_not_there_is_an_error(runner: Git) -> None:
    with pytest.raises(GitError):
        write_commits(runner, NOWHERE, [new("m", a=b"")])


def test_writers_at_the_same_time_all_succeed(bare: Path) -> None:
    made: list[str] = []

    def write(number: int) -> None:
        for count in range(5):
            text = f"{number}.{count}"
            made.extend(write_commits(Git(bare), None, [new(text, a=text.encode())]))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 20


def test_a_name_is_read_resolved_or_missing(runner: Git, batch: ObjectReader) -> None:
    (oid,) = write_commits(runner, None, [new("m", f=b"content")])

    blob = batch.read(f"{oid}:f")

    assert blob is not None
    assert blob[1:] == ("blob", b"content")
    assert batch.read_blob(blob[0]) == b"content"
    assert batch.resolve(objects.PENDING_REF) == oid
    assert batch.resolve("refs/heads/none") is None
    assert batch.read("name with spaces missing") is None
    assert batch.read(NOWHERE) is None


def test_a_blob_that_is_none_is_an_error(runner: Git, batch: ObjectReader) -> None:
    (oid,) = write_commits(runner, None, [new("m", f=b"content")])

    with pytest.raises(GitError, match="not a blob"):
        batch.read_blob(oid)
    with pytest.raises(GitError, match="missing"):
        batch.read_blob(NOWHERE)


@pytest.mark.parametrize("name", ["", "a\nb"])
def test_a_name_that_would_break_the_protocol_is_refused(
    batch: ObjectReader, name: str
) -> None:
    with pytest.raises(GitError):
        batch.read(name)


def test_objects_that_are_made_later_are_found(
    runner: Git, batch: ObjectReader
) -> None:
    (first,) = write_commits(runner, None, [new("1", f=b"1")])
    assert batch.resolve(objects.PENDING_REF) == first
    (second,) = write_commits(runner, first, [new("2", f=b"2")])

    assert batch.resolve(objects.PENDING_REF) == second

    runner.run("repack", "-a", "-d", "-q")
    assert batch.resolve(f"{second}^{{tree}}") is not None


def test_a_reader_whose_process_was_killed_goes_on(
    runner: Git, batch: ObjectReader
) -> None:
    (oid,) = write_commits(runner, None, [new("m", f=b"content")])
    assert batch.resolve(oid) == oid
    process = batch._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)

    assert batch.resolve(oid) == oid


def test_a_closed_reader_starts_again(runner: Git, batch: ObjectReader) -> None:
    (oid,) = write_commits(runner, None, [new("m", f=b"content")])
    batch.close()
    batch.close()

    assert batch.resolve(oid) == oid


def test_an_object_that_is_too_large_is_refused_and_the_next_is_read(
    runner: Git, batch: ObjectReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (oid,) = write_commits(runner, None, [new("m", big=b"x" * 100_000, small=b"s")])
    monkeypatch.setattr(reader, "SIZE_LIMIT", 1000)

    with pytest.raises(GitError, match="100000 bytes"):
        batch.read(f"{oid}:big")

    found = batch.read(f"{oid}:small")
    assert found is not None
    assert found[2] == b"s"


def test_many_objects_are_read_in_order_and_gaps_are_none(
    runner: Git, batch: ObjectReader
) -> None:
    contents = {f"f{n}": b"%d" % n * 100 for n in range(1000)}
    (oid,) = write_commits(runner, None, [NewCommit("m", WHEN, contents)])
    entries = objects.tree_entries(runner, oid)
    oids = [entry.oid for entry in entries] + [NOWHERE]

    found = list(batch.read_many(oids))

    assert found == [*(contents[entry.path] for entry in entries), None]


def test_large_contents_do_not_block_the_pipe(runner: Git, batch: ObjectReader) -> None:
    contents = {f"f{n}": bytes([n]) * 500_000 for n in range(80)}
    (oid,) = write_commits(runner, None, [NewCommit("m", WHEN, contents)])
    oids = [entry.oid for entry in objects.tree_entries(runner, oid)]

    assert sum(len(content or b"") for content in batch.read_many(oids)) == 40_000_000


def test_threads_share_a_reader(runner: Git, batch: ObjectReader) -> None:
    contents = {f"f{n}": b"%d" % n for n in range(50)}
    (oid,) = write_commits(runner, None, [NewCommit("m", WHEN, contents)])
    wrong: list[object] = []

    def ask(number: int) -> None:
        for n in range(number, 50):
            found = batch.read(f"{oid}:f{n}")
            if found is None or found[2] != b"%d" % n:
                wrong.append(found)

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_a_folder_or_the_whole_tree_is_listed(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo", {"a": "1", "d/b": "2", "d/e/c": "3"})
    run = Git(repo / ".git")

    assert [e.path for e in objects.tree_entries(run, "HEAD")] == ["a", "d"]
    everything = objects.tree_entries(run, "HEAD", recursive=True)
    assert [e.path for e in everything] == ["a", "d/b", "d/e/c"]
    assert objects.tree_entries(run, "HEAD", "a") == [
        TreeEntry("100644", "blob", git(repo, "rev-parse", "HEAD:a"), "a")
    ]
    assert objects.tree_entries(run, "HEAD", "*") == []


def test_history_is_oldest_first_and_shows_merges(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    root = tip(repo)
    git(repo, "checkout", "-q", "-b", "side")
    side = commit(repo, {"side": "s"})
    git(repo, "checkout", "-q", "main")
    main = commit(repo, {"main": "m"})
    git(repo, "merge", "-q", "--no-edit", "side")
    merged = tip(repo)
    run = Git(repo / ".git")

    links = objects.history(run, root, merged)

    assert links[-1] == (merged, (main, side))
    assert set(links) == {(side, (root,)), (main, (root,)), (merged, (main, side))}
    assert objects.history(run, None, root) == [(root, ())]
    assert objects.history(run, merged, merged) == []


def test_ancestry_is_answered_or_is_an_error(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "repo")
    first, second = tip(repo), commit(repo, {"b": "b"})
    run = Git(repo / ".git")

    assert objects.is_ancestor(run, first, second)
    assert objects.is_ancestor(run, first, first)
    assert not objects.is_ancestor(run, second, first)
    with pytest.raises(GitError):
        objects.is_ancestor(run, NOWHERE, first)


def test_a_commit_of_a_tree_has_its_author_and_percyd_as_committer(
    tmp_path: Path,
) -> None:
    repo = make_repo(tmp_path / "repo")
    tree = git(repo, "rev-parse", "HEAD^{tree}")
    author = Identity("Ann", "ann@example.org")

    oid = objects.commit_tree(
        Git(repo / ".git"), tree, [tip(repo)], "subject", WHEN, author
    )

    shown = git(repo, "show", "-s", "--format=%an|%ae|%cn|%cI|%P|%s", oid)
    when = "2026-03-01T12:00:00+00:00"
    assert shown == f"Ann|ann@example.org|percyd|{when}|{tip(repo)}|subject"
