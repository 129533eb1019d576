"""The files of a slot's clone, written anew so that git can believe them.

The clone is percyd's own and its layout is fixed (files, no reftable), so its refs are
written as ``packed-refs``: deleting one by one through git would follow whatever link
a task has put in their place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import folders
from percyd.repo.runner import Git

CLONE = "repo.git"
#: The branch that HEAD of a bare clone names; there never is one.
NO_BRANCH = "refs/heads/percyd-none"

_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_REF = re.compile(r"refs/heads/(?!.*(?://|\.\.|@\{|/\.))[^\x00-\x20\x7f~^:?*\[\\]+\Z")
_KEPT = frozenset({"HEAD", "config", "packed-refs", "objects", "worktrees", "refs"})
#: percyd lists one branch for each worktree.
_PACKED_LIMIT = 65_536
#: What makes git look for settings, objects or parents somewhere else.
_MISLEADING = ("commondir", "config.worktree", "shallow", "info", "hooks")
#: Where a repository says which other one it borrows objects from.
_INFO = "info"
_ALTERNATES = "alternates"
#: What ``git init`` found out about the file system, and the kind of the object ids.
_FROM_HUB = frozenset(
    {
        *("core.repositoryformatversion", "core.filemode", "core.symlinks"),
        *("core.ignorecase", "core.precomposeunicode", "extensions.objectformat"),
    }
)


def is_oid(text: str) -> bool:
    """Whether ``text`` is a full object id."""
    return bool(_OID.match(text))


def is_ref(text: str) -> bool:
    """Whether ``text`` is the full name of a branch that git could have made."""
    last = text.rpartition("/")[2]
    return bool(_REF.match(text)) and not last.endswith((".lock", "."))


def ref(git_dir: Path, name: str) -> Oid | None:
    """What a ref's own file says, else the list of packed ones that percyd wrote."""
    text = folders.read_small(git_dir / name)
    if text is None:
        packed = folders.read_small(git_dir / "packed-refs", _PACKED_LIMIT) or ""
        rows = (line.split(" ") for line in packed.splitlines())
        text = next((row[0] for row in rows if row[1:] == [name]), "")
    return text if is_oid(text) else None


def is_sound(git_dir: Path) -> bool:
    """Whether the clone's folders are its own, not links into another repository."""
    objects = git_dir / "objects"
    if not (folders.is_real_folder(git_dir) and folders.is_real_folder(objects)):
        return False
    if any(path.is_symlink() for path in objects.iterdir()):
        return False
    admins = git_dir / "worktrees"
    if folders.is_real_folder(admins):
        return not any(path.is_symlink() for path in admins.iterdir())
    return not (admins.is_symlink() or admins.exists())


def config_text(hub: Git) -> str:
    """The configuration of a clone on the same file system as the hub."""
    listing = hub.run("config", "--local", "--list", "-z").stdout.decode()
    known = dict(line.partition("\n")[::2] for line in listing.split("\0") if line)
    lines = ["[core]", "\tbare = true", "[gc]", "\tauto = 0"]
    lines += ["[maintenance]", "\tauto = false"]
    lines += ["[uploadpack]", "\tallowAnySHA1InWant = true"]
    for key in sorted(_FROM_HUB & known.keys()):
        section, _, name = key.partition(".")
        lines += [f"[{section}]", f"\t{name} = {known[key]}"]
    return "\n".join(lines) + "\n"


def restore_settings(git_dir: Path, config: str, hub: Path) -> None:
    """Write the settings anew; git looks in the hub for objects, and nowhere else."""
    folders.write(git_dir / "HEAD", f"ref: {NO_BRANCH}\n".encode())
    folders.write(git_dir / "config", config.encode())
    for name in _MISLEADING:
        folders.remove(git_dir / name)
    info = git_dir / "objects" / _INFO
    _keep_only(info, _ALTERNATES)
    folders.write(info / _ALTERNATES, _quoted(hub.absolute() / "objects") + b"\n")


def _keep_only(folder: Path, *names: str) -> None:
    """Make a real folder that has nothing but what is called so; it may lack that too.

    Made anew only if it has to be: that costs some file systems as much as a process.
    """
    if folders.is_real_folder(folder) and not (
        {path.name for path in folder.iterdir()} - set(names)
    ):
        return
    folders.remove(folder)
    folder.mkdir()


def _quoted(path: Path) -> bytes:
    """A path as git's list of alternates has it; quoted, it may hold a newline.

    Only then: readers of repositories that are not git do not know of quotes (gitdb).
    """
    raw = os.fsencode(path)
    if b"\n" not in raw:
        return raw
    raw = raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%s"' % raw.replace(b"\n", b"\\n")


def empty_objects(git_dir: Path) -> None:
    """Remove every object of the clone's own."""
    for path in (git_dir / "objects").iterdir():
        if path.name != _INFO:
            folders.remove(path)


def rewrite(git_dir: Path, refs: Mapping[str, Oid]) -> None:
    """Leave nothing in the clone but its settings, objects, worktrees and ``refs``.

    The refs are in place before the old ones go: a crash loses none.
    """
    rows = "".join(f"{refs[ref]} {ref}\n" for ref in sorted(refs))
    # All of it is true of branches, and gitdb reads no other header.
    header = "# pack-refs with: peeled fully-peeled sorted\n"
    folders.write(git_dir / "packed-refs", (header + rows).encode())
    _keep_only(git_dir / "refs", "heads")
    _keep_only(git_dir / "refs" / "heads")
    for path in git_dir.iterdir():
        if path.name not in _KEPT:
            folders.remove(path)


def restore_admin(admin: Path, work_tree: Path, head: str) -> None:
    """Write anew what git keeps about a worktree, without any operation in progress.

    Args:
        admin: Its folder in the clone.
        work_tree: Where it is.
        head: What HEAD shall be: an id, or ``ref: `` and a branch.
    """
    for path in admin.iterdir():
        folders.remove(path)
    folders.write(admin / "HEAD", f"{head}\n".encode())
    folders.write(admin / "commondir", b"../..\n")
    folders.write(admin / "gitdir", f"{work_tree / '.git'}\n".encode())
    folders.write(admin / "locked", f"percy {work_tree.name}\n".encode())
    folders.write(work_tree / ".git", f"gitdir: {admin}\n".encode())


def copy(source: Path, target: Path) -> None:
    """Copy a real file in one step."""
    if not folders.is_real_file(source):
        raise GitError(f"{source.name} is not a file")
    folders.write(target, source.read_bytes())
