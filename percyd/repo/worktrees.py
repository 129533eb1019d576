"""One slot's own repository, and the worktrees in which its tasks run.

It borrows the hub's objects, and has its own refs, configuration, stash and new objects.
A task can write to all of it: to its worktree, and to the repository's configuration,
refs, index and administrative files. So everything that git would believe is written
anew before git runs here, what a task could replace by a link is looked at before it is
followed, and committed work leaves by being fetched into the hub.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import filelock, folders, slotfiles
from percyd.repo.hub import Hub
from percyd.repo.runner import Git
from percyd.repo.slotfiles import CLONE

_INTERNAL = ".percyd"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}\Z")
_CHECKOUT_S = 1800


class SlotClone:
    """The private clone of one slot; one task at a time works in it."""

    def __init__(self, root: Path, hub: Hub) -> None:
        self.root = root.absolute()
        self.hub = hub
        self.git_dir = self.root / CLONE
        self._git = Git(self.git_dir, environ=hub.environ)
        self._config = slotfiles.config_text(hub.git)
        self._lock = threading.Lock()
        #: What percyd put each worktree on: a branch or None, and a commit.
        self._given: dict[str, tuple[str | None, Oid]] = {}

    @classmethod
    def open(cls, root: Path, hub: Hub) -> Self:
        """The slot at ``root``; its clone is made if there is none that can be used."""
        slot = cls(root, hub)
        slot.root.mkdir(parents=True, exist_ok=True)
        with slot._held():
            if not slotfiles.is_sound(slot.git_dir):
                slot._make()
        return slot

    def pristine(self) -> None:
        """Undo what a task did to the clone: settings, hooks, refs, stash, grafts.

        Refs that a worktree stands on are kept: its work may not be rescued yet.
        """
        with self._held():
            self._pristine()

    def checkout(self, name: str, branch: str, commit: Oid) -> Path:
        """A new worktree at ``commit``, on the new branch ``branch`` (a full ref).

        Raises:
            GitError: it could not be made, or is not what it should be.
        """
        path = self.path(name)
        with self._held():
            if folders.is_real_folder(path) or path.is_symlink():
                raise GitError(f"the worktree {name} is there already")
            self._discard(path)
            self._pristine({branch: commit})
            self._add(path, branch, commit)
            self._verify(path, branch, commit)
        return path

    def checkout_commit(self, path: Path, commit: Oid) -> None:
        """Put an existing worktree on another commit, detached, and clean it."""
        with self._held():
            self._pristine()
            try:
                self._force(path, None, commit)
            except (GitError, OSError):
                self._discard(path)
                self._pristine()
                self._add(path, None, commit)
            self._verify(path, None, commit)

    def switch_branch(self, path: Path, branch: str, commit: Oid) -> None:
        """Put an existing worktree back on its branch, at ``commit``, and clean it."""
        with self._held():
            self._pristine({branch: commit})
            try:
                self._force(path, branch, commit)
            except (GitError, OSError):
                self._discard(path)
                self._pristine({branch: commit})
                self._add(path, branch, commit)
            self._verify(path, branch, commit)

    def head(self, path: Path) -> tuple[str | None, Oid | None]:
        """The branch (full ref) and the commit that a worktree's HEAD names.

        Read from the administrative file itself: nothing in the worktree is asked.
        """
        text = folders.read_small(self._admin(path) / "HEAD") or ""
        if slotfiles.is_oid(text):
            return None, self._commit(text)
        branch = text.removeprefix("ref: ")
        if branch == text or not slotfiles.is_ref(branch):
            return None, None
        given = self._given.get(path.name)
        if given == (branch, slotfiles.ref(self.git_dir, branch)):
            return given  # the task has committed nothing
        return branch, self._commit(branch)

    def index_of(self, path: Path, commit: Oid) -> Path | None:
        """Percyd's own index of a worktree, where it was read from ``commit``.

        It knows when each file was written, so that only what has changed is read.
        """
        given = self._given.get(path.name)
        return self._index(path) if given and given[1] == commit else None

    def side_tips(self, path: Path) -> list[Oid]:
        """Commits that a task has put elsewhere: on its own branch, others, the stash.

        Branches that other worktrees stand on are theirs.
        """
        others = {self.head(p)[0] for p in self.worktrees() if p.name != path.name}
        listing = self._git.run(
            *("for-each-ref", "--format=%(refname) %(objectname)"),
            *("refs/heads", "refs/stash", "refs/tags"),
            check=False,
        )
        rows = [line.split(" ") for line in listing.text.splitlines()]
        tips = [oid for ref, oid in rows if ref not in others]
        stashed = self._git.run(
            "rev-list", "--walk-reflogs", "refs/stash", "--", check=False
        )
        return list(dict.fromkeys([*tips, *stashed.text.split()]))

    def worktrees(self) -> list[Path]:
        """Every worktree that there is, also what a dead process left half-made."""
        admins = self.git_dir / "worktrees"
        names = {p.name for p in self.root.iterdir()} - {CLONE, _INTERNAL}
        if folders.is_real_folder(admins):
            names |= {p.name for p in admins.iterdir()}
        return [self.root / name for name in sorted(names)]

    def remove(self, path: Path) -> None:
        """Remove a worktree, its branch, and what git knows of it."""
        with self._held():
            self._discard(path)
            self._pristine()

    def sweep(self, keep: set[str]) -> None:
        """Remove every worktree whose name is not in ``keep``."""
        with self._held():
            for path in self.worktrees():
                if path.name not in keep:
                    self._discard(path)
            self._pristine()

    def path(self, name: str) -> Path:
        """Where the worktree ``name`` is."""
        if not _NAME.match(name) or name == CLONE or name.endswith((".git", ".lock")):
            raise GitError(f"{name!r} cannot be the name of a worktree")
        return self.root / name

    # The clone

    def _make(self) -> None:
        folders.remove(self.git_dir)
        made = self.root / _INTERNAL / CLONE
        folders.remove(made)
        (made / "objects").mkdir(parents=True)
        made.rename(self.git_dir)
        self._pristine()

    def _pristine(self, refs: Mapping[str, Oid] | None = None) -> None:
        """Leave only what other worktrees stand on, and these ``refs``.

        Objects too: a task could put a file of its own under the name of an object that
        the next one would read.
        """
        if not slotfiles.is_sound(self.git_dir):
            self._make()
        worktrees = self.worktrees()
        if not worktrees:
            slotfiles.empty_objects(self.git_dir)
        slotfiles.restore_settings(self.git_dir, self._config, self.hub.path)
        kept = {}
        for path in worktrees:
            branch, commit = self.head(path)
            if branch and commit:
                kept[branch] = commit
        slotfiles.rewrite(self.git_dir, {**kept, **(refs or {})})

    def _commit(self, name: str) -> Oid | None:
        found = self._git.ref(f"{name}^{{commit}}")
        if found is None and slotfiles.is_sound(self.git_dir):
            # A task can make its clone unreadable by settings; its work is still there.
            slotfiles.restore_settings(self.git_dir, self._config, self.hub.path)
            found = self._git.ref(f"{name}^{{commit}}")
        return found

    # One worktree

    def _admin(self, path: Path) -> Path:
        return self.git_dir / "worktrees" / path.name

    def _index(self, path: Path) -> Path:
        """Percyd's own index: git must not believe the one that a task could edit."""
        return self.root / _INTERNAL / f"{path.name}.index"

    def _add(self, path: Path, branch: str | None, commit: Oid) -> None:
        """Make a worktree, as `git worktree add` would, in one process of four."""
        path.mkdir()
        self._admin(path).mkdir(parents=True)
        try:
            self._read_tree(path, branch, commit)
        except GitError:
            self._discard(path)
            self._pristine()
            raise

    def _force(self, path: Path, branch: str | None, commit: Oid) -> None:
        """Make an existing worktree equal to ``commit``, whatever was done to it."""
        admin = self._admin(path)
        if not (folders.is_real_folder(path) and folders.is_real_folder(admin)):
            raise GitError(f"the worktree {path.name} is damaged")
        git = self._read_tree(path, branch, commit)
        git.run(
            *("clean", "-ffdxq"),
            index=self._index(path),
            work_tree=path,
            deadline_s=_CHECKOUT_S,
        )

    def _read_tree(self, path: Path, branch: str | None, commit: Oid) -> Git:
        """Bring the files of ``commit`` into a worktree, and its HEAD to a branch."""
        admin, index = self._admin(path), self._index(path)
        self._given.pop(path.name, None)
        head = f"ref: {branch}" if branch else commit
        slotfiles.restore_admin(admin, path, head)
        git = Git(admin, environ=self.hub.environ)
        folders.remove(index.with_name(index.name + ".lock"))
        git.run(
            *("read-tree", "--reset", "-u", commit),
            index=index,
            work_tree=path,
            deadline_s=_CHECKOUT_S,
        )
        slotfiles.copy(index, admin / "index")
        self._given[path.name] = (branch, commit)
        return git

    def _verify(self, path: Path, branch: str | None, commit: Oid) -> None:
        """Check that the worktree is where it should be, and what it should be."""
        admin = self._admin(path)
        link = folders.read_small(path / ".git")
        if link != f"gitdir: {admin}":
            raise GitError(f"the worktree {path.name} belongs to another clone: {link}")
        said = Git(admin, environ=self.hub.environ).run(
            *("status", "--porcelain=v2", "--branch", "-z"),
            "--untracked-files=normal",
            index=self._index(path),
            work_tree=path,
            deadline_s=_CHECKOUT_S,
        )
        rows = said.stdout.decode("utf-8", "replace").split("\0")[:-1]
        short = branch.removeprefix("refs/heads/") if branch else "(detached)"
        if rows[:2] != [f"# branch.oid {commit}", f"# branch.head {short}"]:
            raise GitError(f"the worktree {path.name} is not at {branch or commit}")
        if rows[2:]:
            raise GitError(
                f"the worktree {path.name} is not clean after its checkout: {rows[2]}",
                hint="line endings may differ: git add --renormalize, and commit",
            )

    def _discard(self, path: Path) -> None:
        """Remove a worktree's folder and what git knows of it."""
        folders.remove(path)
        if slotfiles.is_sound(self.git_dir):
            folders.remove(self._admin(path))
        folders.remove(self._index(path))
        self._given.pop(path.name, None)

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """One at a time: threads of this process, and other processes."""
        folder = self.root / _INTERNAL
        with self._lock:
            folder.mkdir(exist_ok=True)
            with filelock.held(folder / "lock"):
                yield
