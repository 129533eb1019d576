"""Commits what lies in a work tree, without its own repository having a say."""

from __future__ import annotations

import os
import shutil
import tempfile
from datetime import datetime
from pathlib import Path

from percyd.core.refs import Oid
from percyd.errors import GitError, UnsupportedRepository
from percyd.repo import folders, lineage, objects
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.repo.values import Identity

_DEADLINE_S = 600


def snapshot(
    git: Git,
    reader: ObjectReader,
    work_tree: Path,
    parent: Oid,
    message: str,
    author: Identity,
    when: datetime,
    known: Path | None = None,
) -> Oid | None:
    """Commit everything in a folder on top of ``parent``, as ``.gitignore`` allows.

    Runs with the hub's configuration and a scratch index: whatever a task did to its
    own repository's configuration, hooks, filters or index has no effect here.

    Args:
        git: The hub.
        reader: Reads objects of the hub.
        work_tree: The folder.
        parent: The commit to build on.
        message: The commit message.
        author: Who made what is there.
        when: The commit's time.
        known: An index of ``parent`` from the time when its files were written here.

    Returns:
        The commit, or None if the folder is what ``parent`` has.

    Raises:
        UnsupportedRepository: there is another repository in the folder.
    """
    if not folders.is_real_folder(work_tree):
        # A link in its place would have somebody else's files committed.
        raise GitError(f"the work tree {work_tree} is gone")
    tree = _tree_of(git, work_tree, parent, known)
    changes = list(lineage.changed_files(reader, parent, tree))
    links = [c.path for c in changes if c.mode == objects.GITLINK]
    _refuse_nested(links[0] if links else None)
    if not changes:
        return None
    return objects.commit_tree(git, tree, [parent], message, when, author)


def _tree_of(git: Git, work_tree: Path, parent: Oid, known: Path | None) -> Oid:
    with tempfile.TemporaryDirectory(prefix="percyd-index-") as name:
        index = Path(name) / "index"
        if known is None or not folders.is_real_file(known):
            git.run("read-tree", parent, index=index, work_tree=work_tree)
        else:
            # With its time: what was written in the same moment is read all the same.
            shutil.copy2(known, index)
        added = git.run(
            *("add", "--all", "--", "."),
            index=index,
            work_tree=work_tree,
            deadline_s=_DEADLINE_S,
            check=False,
        )
        if not added.ok:
            _refuse_nested(_nested_repository(work_tree))
            raise GitError(f"git add: {added.problem}")
        return git.run("write-tree", index=index, work_tree=work_tree).text


def _refuse_nested(path: str | None) -> None:
    if path is not None:
        raise UnsupportedRepository(
            f"{path} is a Git repository of its own inside the work tree",
            hint="add it to .gitignore, or remove its .git",
        )


def _nested_repository(work_tree: Path) -> str | None:
    """The first folder below ``work_tree`` that has a ``.git``."""
    for folder, names, files in os.walk(work_tree):
        if Path(folder) != work_tree and ".git" in (*names, *files):
            return str(Path(folder).relative_to(work_tree))
    return None
