from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from percyd.repo import folders


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "link").symlink_to(precious)
    (tmp_path / "top").symlink_to(precious)

    folders.remove(victim)
    folders.remove(tmp_path / "top")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["precious"]
    assert (precious / "file").exists()


def test_removing_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    folders.remove(tmp_path / "nothing")


def test_a_tree_that_is_too_deep_for_python_is_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    dig = "i=0; while [ $i -lt 3000 ]; do mkdir d; cd d; i=$((i+1)); done; touch f"
    subprocess.run(["sh", "-c", dig], cwd=victim, check=True)

    folders.remove(victim)

    assert not victim.exists()


def test_folders_that_may_not_be_written_are_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "a" / "b").mkdir(parents=True)
    (victim / "a" / "b" / "file").touch()
    (victim / "a" / "b").chmod(0)
    (victim / "a").chmod(0o500)

    folders.remove(victim)

    assert not victim.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_removes_what_may_not_be_written() -> None:
    # pytest's own folders are closed to other users.
    base = Path(tempfile.mkdtemp(prefix="percyd-test-"))
    base.chmod(0o755)
    victim = base / "victim"
    (victim / "a" / "b").mkdir(parents=True)
    (victim / "a" / "b" / "file").touch()
    for path in (base, victim, victim / "a", victim / "a/b", victim / "a/b/file"):
        os.chown(path, 4242, 4242)
    (victim / "a" / "b").chmod(0)
    (victim / "a").chmod(0o500)

    child = os.fork()
    if child == 0:
        try:
            os.setuid(4242)
            folders.remove(victim)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    left = list(base.iterdir())
    shutil.rmtree(base)

    assert left == []


def test_a_file_is_replaced_and_never_written_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for make in (
        lambda path: path.symlink_to(precious),
        lambda path: path.write_text("old"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: os.link(precious, path),
    ):
        target = tmp_path / "target"
        make(target)

        folders.write(target, b"new")

        assert target.read_bytes() == b"new"
        assert folders.is_real_file(target)
        target.unlink()
    assert precious.read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_file_that_is_right_already_stays_unless_it_has_a_second_name(
    tmp_path: Path,
) -> None:
    target = tmp_path / "f"
    folders.write(target, b"same")
    before = target.stat().st_ino
    folders.write(target, b"same")
    assert target.stat().st_ino == before
    # Whoever knows the other name could change it later.
    (tmp_path / "second").hardlink_to(target)
    folders.write(target, b"same")
    assert target.stat().st_nlink == 1
    (tmp_path / "second").write_bytes(b"other")
    assert target.read_bytes() == b"same"
    for content in (b"sam", b"same!", b"Same", b""):
        folders.write(target, content)
        assert target.read_bytes() == content
    link = tmp_path / "link"
    link.symlink_to(target)
    folders.write(link, target.read_bytes())
    assert not link.is_symlink()


def test_only_a_small_real_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text\n")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "large").write_text("x" * 10_000)
    os.mkfifo(tmp_path / "pipe")

    assert folders.read_small(tmp_path / "file") == "text"
    assert folders.read_small(tmp_path / "link") is None
    assert folders.read_small(tmp_path / "pipe") is None
    assert folders.read_small(tmp_path) is None
    assert folders.read_small(tmp_path / "none") is None
    assert len(folders.read_small(tmp_path / "large") or "") == 4096
