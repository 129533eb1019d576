"""Finds the user's clone, and reads what is committed in it.

GitPython finds the repository. It can read neither the objects of a SHA-256 repository
nor the refs of a reftable one (measured with 3.2.1), so those are read by plumbing.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from git import Repo
from git.exc import InvalidGitRepositoryError, NoSuchPathError

from percyd.core.refs import Oid
from percyd.errors import GitError, NotARepository
from percyd.repo import objects
from percyd.repo.reader import ObjectReader
from percyd.repo.remotes import resolve_remote as resolve_remote
from percyd.repo.runner import Git
from percyd.repo.settings import get as get_setting
from percyd.repo.settings import values as setting_values
from percyd.repo.values import Clone as Clone
from percyd.repo.values import Identity, Remote

#: So much of a file is read, and one byte more, by which a larger one is known.
FILE_LIMIT = 4 * 1024 * 1024
_REGULAR = ("100644", "100755")
#: Variables that a git hook hands down and that GitPython would follow.
_REPOSITORY_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"),
    *("GIT_INDEX_FILE", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH"),
    *(
        "GIT_PREFIX",
        "GIT_NAMESPACE",
        "GIT_CONFIG_PARAMETERS",
        "GIT_CEILING_DIRECTORIES",
    ),
)
_environment = threading.Lock()


class CommittedFile(NamedTuple):
    """A regular file in a commit's tree; at most `FILE_LIMIT` + 1 bytes of it."""

    name: str
    mode: str
    oid: Oid
    content: bytes


def discover(start: Path) -> Clone:
    """The clone that ``start`` lies in; the main one, from a linked worktree.

    Raises:
        NotARepository: there is none, or it belongs to somebody else.
    """
    with _without_repository_variables():
        try:
            with Repo(start, search_parent_directories=True, expand_vars=False) as repo:
                git_dir = Path(repo.git_dir).resolve()
                common_dir = Path(repo.common_dir).resolve()
                top = repo.working_tree_dir
        except (InvalidGitRepositoryError, NoSuchPathError, OSError) as error:
            raise NotARepository(
                f"{start} is not in a Git repository",
                hint="git init makes it one; -C DIR names another folder",
            ) from error
    _refuse_foreign(common_dir)
    bare = get_setting(Git(common_dir), "core.bare") == "true"
    work_tree = None
    if not bare:
        own = git_dir == common_dir and top is not None
        work_tree = Path(top).resolve() if own and top else _main_work_tree(common_dir)
    named = work_tree or common_dir
    name = named.name.removesuffix(".git") or named.parent.name
    return Clone(common_dir, work_tree, bare, name)


def user_identity(clone: Clone) -> Identity | None:
    """The user's name and address, as their own git has them, if it has both."""
    git = Git(clone.common_dir)
    name, email = get_setting(git, "user.name"), get_setting(git, "user.email")
    return Identity(name, email) if name and email else None


def local_branches(clone: Clone) -> dict[str, Oid]:
    """The local branches by their short names."""
    listing = Git(clone.common_dir).run(
        "for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads/"
    )
    rows = (line.partition(" ") for line in listing.text.splitlines())
    return {name: oid for oid, _, name in rows}


def current_branch(clone: Clone) -> str | None:
    """The short name of the branch that HEAD names; None if it is detached."""
    head = Git(clone.common_dir).run("symbolic-ref", "--quiet", "HEAD", check=False)
    return head.text.removeprefix("refs/heads/") if head.ok else None


def is_unborn(clone: Clone) -> bool:
    """Whether HEAD names a branch without any commit."""
    return Git(clone.common_dir).ref("HEAD") is None


def checked_out_branches(git_dir: Path) -> set[str]:
    """The short names of the branches that some work tree of a repository is on."""
    listing = Git(git_dir).run("worktree", "list", "--porcelain", "-z")
    found = set()
    for block in listing.text.split("\0\0"):
        lines = block.split("\0")
        if "bare" not in lines:
            found |= {
                line.removeprefix("branch refs/heads/")
                for line in lines
                if line.startswith("branch refs/heads/")
            }
    return found


def may_move(clone: Clone, remote: Remote, branch: str) -> bool:
    """Whether percyd may move a branch (its short name) of the remote.

    Where the clone is its own remote, nobody's checkout is moved (DESIGN 2).
    """
    return not remote.is_local or branch not in checked_out_branches(clone.common_dir)


def follows(git_dir: Path, commit: Oid, other: Oid) -> bool:
    """Whether ``commit`` is ``other`` or comes after it, as far as this place knows."""
    git = Git(git_dir)
    if any(git.ref(f"{oid}^{{commit}}") is None for oid in (commit, other)):
        return False
    return objects.is_ancestor(git, other, commit)


def count_between(clone: Clone, old: Oid, new: Oid) -> int:
    """How many commits ``new`` has that ``old`` has not; zero if ``old`` is not here."""
    git = Git(clone.common_dir)
    if git.ref(f"{old}^{{commit}}") is None:
        return 0
    return int(git.run("rev-list", "--count", f"{old}..{new}", "--").text)


def read_files(git_dir: Path, commit: Oid, folder: str) -> list[CommittedFile]:
    """The regular files that lie directly in ``folder`` of a commit's tree."""
    git = Git(git_dir)
    prefix = folder.rstrip("/") + "/"
    entries = [
        entry
        for entry in objects.tree_entries(git, commit, prefix)
        if entry.mode in _REGULAR
    ]
    contents = _contents(git, [entry.oid for entry in entries])
    return [
        CommittedFile(e.path.removeprefix(prefix), e.mode, e.oid, content)
        for e, content in zip(entries, contents, strict=True)
    ]


def read_file(git_dir: Path, commit: Oid, path: str) -> bytes | None:
    """A regular file of a commit's tree; None if there is no such file."""
    git = Git(git_dir)
    entries = objects.tree_entries(git, commit, path)
    if len(entries) != 1 or entries[0].mode not in _REGULAR or entries[0].path != path:
        return None
    return _contents(git, [entries[0].oid])[0]


def _contents(git: Git, oids: list[Oid]) -> list[bytes]:
    """The contents of blobs, each one cut off behind the limit."""
    contents = []
    with ObjectReader(git) as reader:
        for oid in oids:
            content = reader.read_start(oid, FILE_LIMIT + 1)
            if content is None:
                raise GitError(f"object {oid} is missing")
            contents.append(content)
    return contents


def _main_work_tree(common_dir: Path) -> Path | None:
    configured = get_setting(Git(common_dir), "core.worktree")
    if configured:
        return (common_dir / configured).resolve()
    return common_dir.parent if common_dir.name == ".git" else None


def _refuse_foreign(common_dir: Path) -> None:
    """Like git itself: another user's configuration could run their programs as us."""
    owner = common_dir.stat().st_uid
    mine = {os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        mine.add(int(os.environ["SUDO_UID"]))
    if owner in mine:
        return
    trusted = setting_values(Git(Path(os.devnull)), "safe.directory")
    places = {str(common_dir), str(common_dir.parent), "*"}
    if not places & set(trusted):
        raise NotARepository(
            f"the repository {common_dir} belongs to somebody else",
            hint=f"if you trust it: git config --global --add safe.directory {common_dir}",
        )


@contextlib.contextmanager
def _without_repository_variables() -> Iterator[None]:
    """Hide what a hook was told about its repository: ``start`` alone decides."""
    with _environment:
        hidden = {
            name: os.environ.pop(name)
            for name in _REPOSITORY_VARIABLES
            if name in os.environ
        }
        try:
            yield
        finally:
            os.environ.update(hidden)
