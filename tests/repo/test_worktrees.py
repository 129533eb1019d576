from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest
from git import GitDB, Repo

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo.hub import Hub
from percyd.repo.values import PERCYD
from percyd.repo.worktrees import SlotClone
from tests.support.gitrepo import (
    NOWHERE,
    WHEN,
    commit,
    git,
    make_remote,
    open_hub,
    refs,
    tip,
)

MAIN = "refs/heads/main"
BRANCH = "refs/heads/agent/a-000001/p.t"
FILES = {"a.txt": "a\n", "src/b.txt": "b\n", ".gitignore": "build/\n"}


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return make_remote(tmp_path / "remote.git", FILES)


@pytest.fixture
def hub(tmp_path: Path, remote: Path) -> Hub:
    return open_hub(tmp_path / "hub.git", remote)


@pytest.fixture
def base(hub: Hub) -> Oid:
    found = hub.fetch_refs([MAIN])[MAIN]
    assert found is not None
    return found


@pytest.fixture
def slot(tmp_path: Path, hub: Hub, base: Oid) -> SlotClone:
    return SlotClone.open(tmp_path / "slots" / "0", hub)


def work(path: Path, text: str = "work\n") -> Oid:
    """What a task does: it commits."""
    return commit(path, {"work.txt": text}, "work")


def second(hub: Hub, base: Oid) -> Oid:
    """Another commit of the hub, with ``a.txt`` changed and ``src`` gone."""
    seed = hub.path.parent / "remote.git-seed"
    git(seed, "rm", "-q", "-r", "src")
    commit(seed, {"a.txt": "second\n"})
    git(seed, "push", "-q", hub.remote.url, "main")
    found = hub.fetch_refs([MAIN])[MAIN]
    assert found is not None
    return found


def is_clean_at(path: Path, oid: Oid) -> bool:
    return tip(path) == oid and git(path, "status", "--porcelain", "--ignored") == ""


def test_a_worktree_is_on_its_own_branch_at_the_commit(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)

    assert path == slot.root / "p.t.1"
    assert git(path, "symbolic-ref", "HEAD") == BRANCH
    assert is_clean_at(path, base)
    assert slot.head(path) == (BRANCH, base)
    assert slot.worktrees() == [path]


def test_the_clone_borrows_the_objects_of_the_hub_and_keeps_none_of_a_task(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    git(slot.git_dir, "cat-file", "-e", base)
    done = work(path)
    poisoned = slot.git_dir / "objects" / base[:2] / base[2:]
    poisoned.parent.mkdir(exist_ok=True)
    poisoned.write_bytes(b"of another commit")

    slot.remove(path)

    assert git(slot.git_dir, "cat-file", "-t", done, check=False) == ""
    assert git(slot.git_dir, "cat-file", "-t", base) == "commit"
    assert not poisoned.exists()
    assert git(slot.git_dir, "config", "--get", "remote.origin.url", check=False) == ""


def test_readers_that_are_not_git_find_branch_and_objects(
    slot: SlotClone, base: Oid
) -> None:
    # Aider reads repositories so; gitdb knows less of both files than git does.
    path = slot.checkout("p.t.1", BRANCH, base)
    with pytest.warns(DeprecationWarning, match="GitDB"):
        found = Repo(path, odbt=GitDB)
    with found:
        assert found.head.reference.path == BRANCH
        assert found.head.commit.hexsha == base
        assert [item.path for item in found.tree().blobs] == [".gitignore", "a.txt"]


@pytest.mark.parametrize(
    "folder", ['with "quotes"', "with a \n new line", "b\\ck", "\xfc"]
)
def test_the_objects_of_a_hub_are_found_whatever_its_folder_is_called(
    tmp_path: Path, hub: Hub, base: Oid, folder: str
) -> None:
    there = tmp_path / folder
    shutil.copytree(hub.path, there / "hub.git")
    with Hub.open(there / "hub.git", hub.remote) as other:
        slot = SlotClone.open(tmp_path / "slots" / "other", other)

        assert is_clean_at(slot.checkout("p.t.1", BRANCH, base), base)


def test_the_head_follows_what_the_task_commits(slot: SlotClone, base: Oid) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    done = work(path)

    assert slot.head(path) == (BRANCH, done)


def test_a_change_that_looks_like_none_is_seen(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    index = slot.index_of(path, base)
    assert index is not None
    before = (path / "a.txt").stat()
    (path / "a.txt").write_text("A\n")
    os.utime(path / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))

    made = hub.snapshot_work_tree(path, base, "made", PERCYD, WHEN, index)

    assert made is not None
    assert git(hub.path, "diff", "--stat", base, made).startswith("a.txt |")
    assert slot.index_of(path, work(path)) is None


def test_a_task_on_another_branch_or_on_none_is_seen(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    git(path, "checkout", "-q", "-b", "elsewhere")
    assert slot.head(path) == ("refs/heads/elsewhere", base)

    git(path, "checkout", "-q", "--detach")
    assert slot.head(path) == (None, base)


@pytest.mark.parametrize(
    "text",
    ["", "garbage", "ref: refs/heads/../../x", "ref: HEAD", "ref: refs/heads/gone"],
)
def test_a_head_that_makes_no_sense_names_no_commit(
    slot: SlotClone, base: Oid, text: str
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    (slot.git_dir / "worktrees/p.t.1/HEAD").write_text(text)

    assert slot.head(path)[1] is None


def test_a_head_that_is_a_pipe_or_a_link_is_not_read(
    slot: SlotClone, base: Oid, tmp_path: Path
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    head = slot.git_dir / "worktrees/p.t.1/HEAD"
    head.unlink()
    os.mkfifo(head)
    assert slot.head(path) == (None, None)

    head.unlink()
    (tmp_path / "other").write_text(base)
    head.symlink_to(tmp_path / "other")
    assert slot.head(path) == (None, None)


def test_committed_work_reaches_the_hub_also_if_the_settings_are_spoilt(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    done = work(path)
    (slot.git_dir / "config").write_text("[core]\n\trepositoryformatversion = 99\n")

    branch, head = slot.head(path)

    assert (branch, head) == (BRANCH, done)
    assert hub.ingest(slot.git_dir, done) == done


def test_removing_leaves_nothing_and_may_be_repeated(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    work(path)

    slot.remove(path)
    slot.remove(path)

    assert not path.exists()
    assert slot.worktrees() == []
    assert refs(slot.git_dir, "refs/heads") == {}
    assert git(slot.git_dir, "worktree", "list").count("\n") == 0
    slot.checkout("p.t.1", BRANCH, base)


def test_a_name_that_is_taken_is_refused_and_left_alone(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    work(path)

    with pytest.raises(GitError, match="there already"):
        slot.checkout("p.t.1", BRANCH + "x", base)

    assert (path / "work.txt").exists()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "repo.git", ".x", "x.lock"]
)
def test_a_name_that_leads_elsewhere_is_refused(
    slot: SlotClone, base: Oid, name: str
) -> None:
    with pytest.raises(GitError):
        slot.checkout(name, BRANCH, base)


def test_a_commit_that_the_hub_does_not_have_is_refused(slot: SlotClone) -> None:
    with pytest.raises(GitError):
        slot.checkout("p.t.1", BRANCH, NOWHERE)

    assert slot.worktrees() == []


def test_another_commit_is_checked_out_detached_and_clean(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    done = work(path)
    (path / "a.txt").write_text("dirty\n")
    (path / "untracked").write_text("x")
    (path / "build").mkdir()
    (path / "build" / "output").write_text("ignored")
    other = second(hub, base)

    slot.checkout_commit(path, other)

    assert slot.head(path) == (None, other)
    assert is_clean_at(path, other)
    assert (path / "a.txt").read_text() == "second\n"
    assert not (path / "src").exists()

    hub.ingest(slot.git_dir, done)
    slot.switch_branch(path, BRANCH, done)

    assert slot.head(path) == (BRANCH, done)
    assert is_clean_at(path, done)
    assert (path / "src/b.txt").read_text() == "b\n"


def test_a_change_that_the_index_hides_is_undone(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    git(path, "update-index", "--assume-unchanged", "a.txt")
    git(path, "update-index", "--skip-worktree", "src/b.txt")
    (path / "a.txt").write_text("hidden\n")
    (path / "src/b.txt").write_text("hidden\n")

    slot.checkout_commit(path, base)

    assert (path / "a.txt").read_text() == "a\n"
    assert (path / "src/b.txt").read_text() == "b\n"


def test_a_change_with_the_old_times_and_size_is_undone(
    slot: SlotClone, base: Oid
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    before = (path / "a.txt").stat()
    (path / "a.txt").write_text("X\n")
    os.utime(path / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))

    slot.checkout_commit(path, base)

    assert (path / "a.txt").read_text() == "a\n"


def spoil_git_file_deleted(slot: SlotClone, path: Path) -> None:
    (path / ".git").unlink()


def spoil_git_file_is_a_repository(slot: SlotClone, path: Path) -> None:
    (path / ".git").unlink()
    git(path, "init", "-q")
    git(path, "config", "core.fsmonitor", f"touch {slot.root}/../fired")


def spoil_folder_deleted(slot: SlotClone, path: Path) -> None:
    git(slot.root, "-C", "/", "--version")
    for child in sorted(path.rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    path.rmdir()


def spoil_admin_deleted(slot: SlotClone, path: Path) -> None:
    admin = slot.git_dir / "worktrees" / path.name
    for child in sorted(admin.rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    admin.rmdir()


def spoil_locks_left(slot: SlotClone, path: Path) -> None:
    admin = slot.git_dir / "worktrees" / path.name
    for lock in ("index.lock", "HEAD.lock"):
        (admin / lock).touch()
    for lock in ("config.lock", "packed-refs.lock", "HEAD.lock"):
        (slot.git_dir / lock).touch()


def spoil_index_broken(slot: SlotClone, path: Path) -> None:
    (slot.git_dir / "worktrees" / path.name / "index").write_bytes(b"broken")


def spoil_merge_in_progress(slot: SlotClone, path: Path) -> None:
    admin = slot.git_dir / "worktrees" / path.name
    (admin / "MERGE_HEAD").write_text(tip(path) + "\n")


def spoil_commondir(slot: SlotClone, path: Path) -> None:
    admin = slot.git_dir / "worktrees" / path.name
    (admin / "commondir").write_text("/tmp\n")


def spoil_settings(slot: SlotClone, path: Path) -> None:
    fire = f"touch {slot.root}/../fired"
    config = slot.git_dir / "config"
    git(path, "config", "core.fsmonitor", fire)
    git(path, "config", "core.hooksPath", str(slot.git_dir / "hooks"))
    git(path, "config", "filter.evil.smudge", f"{fire}; cat")
    git(path, "config", "filter.evil.clean", f"{fire}; cat")
    git(path, "config", "extensions.worktreeConfig", "true")
    git(path, "config", "uploadpack.packObjectsHook", f"{fire}; exit 1; :")
    (slot.git_dir / "info").mkdir(exist_ok=True)
    (slot.git_dir / "info/attributes").write_text("* filter=evil\n")
    (slot.git_dir / "info/exclude").write_text("*\n")
    (slot.git_dir / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        (slot.git_dir / "hooks" / name).write_text(f"#!/bin/sh\n{fire}\n")
        (slot.git_dir / "hooks" / name).chmod(0o755)
    assert "fsmonitor" in config.read_text()
    fired(slot).unlink(missing_ok=True)  # the task's own git calls fire: that is theirs


def spoil_config_is_a_link(slot: SlotClone, path: Path) -> None:
    target = slot.root.parent / "precious"
    target.write_text("precious")
    (slot.git_dir / "config").unlink()
    (slot.git_dir / "config").symlink_to(target)


def spoil_refs_is_a_link(slot: SlotClone, path: Path) -> None:
    target = slot.root.parent / "other-refs"
    (target / "heads").mkdir(parents=True)
    (target / "heads" / "precious").write_text(tip(path) + "\n")
    for child in sorted((slot.git_dir / "refs").rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    (slot.git_dir / "refs").rmdir()
    (slot.git_dir / "refs").symlink_to(target)


def spoil_refs_deleted(slot: SlotClone, path: Path) -> None:
    git(path, "pack-refs", "--all")
    (slot.git_dir / "packed-refs").unlink()


def spoil_folders_read_only(slot: SlotClone, path: Path) -> None:
    (path / "locked" / "deep").mkdir(parents=True)
    (path / "locked" / "deep" / "file").touch()
    (path / "locked" / "deep").chmod(0)
    (path / "locked").chmod(0o500)


def spoil_folder_is_a_link(slot: SlotClone, path: Path) -> None:
    target = slot.root.parent / "outside"
    target.mkdir()
    (target / "precious").write_text("precious")
    path.rename(slot.root.parent / "moved")
    path.symlink_to(target)


def spoil_folder_in_it_is_a_link(slot: SlotClone, path: Path) -> None:
    target = slot.root.parent / "outside"
    target.mkdir()
    (target / "precious").write_text("precious")
    (target / "b.txt").write_text("precious")
    (path / "src/b.txt").unlink()
    (path / "src").rmdir()
    (path / "src").symlink_to(target)


def spoil_repositories_in_it(slot: SlotClone, path: Path) -> None:
    (path / "nested").mkdir()
    git(path / "nested", "init", "-q")
    commit(path / "nested", {"x": "x"})


def spoil_alternates(slot: SlotClone, path: Path) -> None:
    info = slot.git_dir / "objects" / "info"
    info.mkdir(exist_ok=True)
    (info / "alternates").write_text("/nonexistent\n")


SPOILS = [
    value for name, value in sorted(globals().items()) if name.startswith("spoil_")
]


def fired(slot: SlotClone) -> Path:
    """What the programs of a hostile task leave behind."""
    return slot.root.parent / "fired"


def assert_nothing_outside_is_touched(slot: SlotClone) -> None:
    outside = slot.root.parent
    assert not fired(slot).exists()
    for name in ("outside/precious", "outside/b.txt", "precious"):
        if (outside / name).exists():
            assert (outside / name).read_text() == "precious"
    if (outside / "outside").exists():
        assert (outside / "outside/precious").exists()
    if (outside / "other-refs").exists():
        assert (outside / "other-refs/heads/precious").exists()


@pytest.mark.parametrize("spoil", SPOILS)
def test_whatever_a_task_did_another_commit_is_checked_out(
    slot: SlotClone, hub: Hub, base: Oid, spoil: object
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    other = second(hub, base)

    spoil(slot, path)  # type: ignore[operator]
    slot.checkout_commit(path, other)

    assert slot.head(path) == (None, other)
    assert is_clean_at(path, other)
    assert (path / "a.txt").read_text() == "second\n"
    assert_nothing_outside_is_touched(slot)


@pytest.mark.parametrize("spoil", SPOILS)
def test_whatever_a_task_did_its_branch_is_checked_out_again(
    slot: SlotClone, hub: Hub, base: Oid, spoil: object
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)

    spoil(slot, path)  # type: ignore[operator]
    slot.switch_branch(path, BRANCH, base)

    assert slot.head(path) == (BRANCH, base)
    assert is_clean_at(path, base)
    assert_nothing_outside_is_touched(slot)


@pytest.mark.parametrize("spoil", SPOILS)
def test_whatever_a_task_did_it_is_removed_and_the_next_one_finds_nothing_of_it(
    slot: SlotClone, base: Oid, spoil: object
) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    git(path, "tag", "left-behind")

    spoil(slot, path)  # type: ignore[operator]
    slot.remove(path)

    assert slot.worktrees() == []
    following = slot.checkout("p.u.1", BRANCH + "2", base)
    assert is_clean_at(following, base)
    assert set(refs(slot.git_dir)) == {BRANCH + "2"}
    assert git(following, "stash", "list") == ""
    assert_nothing_outside_is_touched(slot)


def test_a_filter_of_the_task_before_does_not_run_in_the_next_checkout(
    tmp_path: Path,
) -> None:
    remote = make_remote(tmp_path / "r2.git", {".gitattributes": "* filter=evil\n"})
    hub = open_hub(tmp_path / "hub2.git", remote)
    base = hub.fetch_refs([MAIN])[MAIN]
    assert base is not None
    slot = SlotClone.open(tmp_path / "slots" / "1", hub)
    spoil_settings(slot, slot.checkout("p.t.1", BRANCH, base))

    slot.checkout("p.u.1", BRANCH + "2", base)

    assert not fired(slot).exists()


def test_the_work_of_a_worktree_that_stays_is_not_dropped(
    slot: SlotClone, base: Oid
) -> None:
    kept = slot.checkout("p.t.1", BRANCH, base)
    done = work(kept)
    slot.checkout("p.u.1", BRANCH + "2", base)

    slot.sweep({"p.t.1"})

    assert slot.worktrees() == [kept]
    assert slot.head(kept) == (BRANCH, done)
    assert git(kept, "log", "-1", "--format=%s") == "work"


def test_a_worktree_that_was_being_made_when_its_process_died_is_swept(
    slot: SlotClone, base: Oid
) -> None:
    admin = slot.git_dir / "worktrees" / "p.t.1"
    admin.mkdir(parents=True)
    (admin / "locked").write_text("initializing")
    (slot.root / "p.u.1").mkdir()
    assert [path.name for path in slot.worktrees()] == ["p.t.1", "p.u.1"]

    slot.sweep(set())

    assert slot.worktrees() == []
    slot.checkout("p.t.1", BRANCH, base)


def test_a_clone_that_was_half_made_is_made_again(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    for child in sorted((slot.git_dir / "objects").rglob("*"), reverse=True):
        child.rmdir() if child.is_dir() else child.unlink()
    (slot.git_dir / "objects").rmdir()

    again = SlotClone.open(slot.root, hub)

    assert is_clean_at(again.checkout("p.t.1", BRANCH, base), base)


def test_objects_that_a_task_has_deleted_come_back(
    slot: SlotClone, hub: Hub, base: Oid
) -> None:
    for found in (slot.git_dir / "objects").rglob("*"):
        if found.is_file():
            found.unlink()

    assert is_clean_at(slot.checkout("p.t.1", BRANCH, base), base)


def test_opening_keeps_what_is_there(slot: SlotClone, hub: Hub, base: Oid) -> None:
    path = slot.checkout("p.t.1", BRANCH, base)
    done = work(path)

    again = SlotClone.open(slot.root, hub)

    assert again.head(path) == (BRANCH, done)


def test_two_slots_check_out_at_the_same_time(
    tmp_path: Path, hub: Hub, base: Oid
) -> None:
    slots = [SlotClone.open(tmp_path / "slots" / str(n), hub) for n in range(2)]
    failures: list[BaseException] = []

    def turn(number: int) -> None:
        try:
            for count in range(5):
                branch = f"refs/heads/agent/a/{number}.{count}"
                path = slots[number].checkout(f"t.{count}", branch, base)
                assert hub.snapshot_work_tree(path, base, "m", PERCYD, WHEN) is None
                slots[number].remove(path)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=turn, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


def test_a_sha256_hub_has_sha256_slots(tmp_path: Path) -> None:
    remote = tmp_path / "r256"
    remote.mkdir()
    git(remote, "init", "-q", "--object-format=sha256")
    base = commit(remote, FILES)
    hub = open_hub(tmp_path / "h256.git", remote)
    hub.fetch_refs([MAIN])

    path = SlotClone.open(tmp_path / "slots/0", hub).checkout("p.t.1", BRANCH, base)

    assert is_clean_at(path, base)
