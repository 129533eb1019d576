"""What may become of the state branch on a remote, and of its objects (S12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.gitrepo import git, refs, tip

STATE = "refs/heads/percy/state"
_WHO = ("-c", "user.name=Mallory", "-c", "user.email=mallory@example.org")


@dataclass(frozen=True)
class Branch:
    """The state branch in a bare repository whose objects and refs are loose files."""

    repo: Path
    good: str

    @classmethod
    def of(cls, repo: Path) -> Branch:
        return cls(repo, refs(repo)[STATE])

    @property
    def file(self) -> Path:
        return self.repo / STATE

    def back(self, count: int) -> str:
        return tip(self.repo, f"{self.good}~{count}")

    def move(self, oid: str) -> None:
        git(self.repo, "update-ref", STATE, oid)

    def commit(self, tree: str, *parents: str) -> str:
        links = [word for parent in parents for word in ("-p", parent)]
        return git(self.repo, *_WHO, "commit-tree", *links, "-m", "by hand", tree)

    def tree(self, oid: str = "") -> str:
        return git(self.repo, "rev-parse", f"{oid or self.good}^{{tree}}")

    def blob(self, text: str) -> str:
        file = self.repo / "scratch-file"
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
        return git(self.repo, "hash-object", "-w", file.name)

    def text(self, path: str) -> str:
        return git(self.repo, "show", f"{self.good}:{path}") + "\n"

    def path(self, ending: str) -> str:
        listing = git(self.repo, "ls-tree", "-r", "--name-only", self.good)
        return next(name for name in listing.splitlines() if name.endswith(ending))

    def edited(self, path: str, entry: str | None) -> str:
        """The good tree with another entry ("mode oid") at ``path``, or none."""
        rows = git(self.repo, "ls-tree", "-r", self.good).splitlines()
        kept = [row for row in rows if row.partition("\t")[2] != path]
        lines = [
            " ".join(row.split()[:3:2]) + "\t" + row.split("\t")[1] for row in kept
        ]
        lines += [f"{entry}\t{path}"] if entry else []
        index = f"GIT_INDEX_FILE={self.repo / 'scratch-index'}"
        made = git(
            self.repo,
            "-c",
            f"alias.make=!{index} git read-tree --empty && "
            f"{index} git update-index --index-info && {index} git write-tree",
            "make",
            stdin="".join(f"{line}\n" for line in lines),
        )
        (self.repo / "scratch-index").unlink()
        return made

    def edit(self, path: str, text: str | None, mode: str = "100644") -> None:
        """Commit another content of one file on top of the good tip."""
        entry = None if text is None else f"{mode} {self.blob(text)}"
        self.move(self.commit(self.edited(path, entry), self.good))

    def object(self, oid: str) -> Path:
        return self.repo / "objects" / oid[:2] / oid[2:]


def lose(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.chmod(0o644)
    path.write_bytes(content)


Shape = Callable[[Branch], None]


def _unrelated(it: Branch) -> None:
    it.move(it.commit(it.tree()))


def _side_history(it: Branch) -> None:
    forged = it.back(5)
    for count in (4, 3, 2, 1, 0, 0):
        forged = it.commit(it.tree(it.back(count)), forged)
    it.move(forged)


def _merge(it: Branch) -> None:
    it.move(it.commit(it.tree(), it.good, it.back(3)))


def _merge_from_the_side(it: Branch) -> None:
    it.move(it.commit(it.tree(), it.back(3), it.good))


def _merge_later(it: Branch) -> None:
    """Others have gone on, then somebody merged, then it went on."""
    legal = it.commit(it.tree(), it.good)
    merge = it.commit(it.tree(), legal, it.back(3))
    it.move(it.commit(it.tree(), merge))


def _second_root(it: Branch) -> None:
    root = it.commit(it.tree())
    merge = it.commit(it.tree(), it.good, root)
    it.move(it.commit(it.tree(), merge))


def _bad_then_more(it: Branch) -> None:
    """Two good commits of others, a bad one, and one on top of it."""
    legal = it.commit(it.tree(), it.commit(it.tree(), it.good))
    bad = it.edited("percy.json", f"100644 {it.blob('{')}")
    it.move(it.commit(bad, it.commit(bad, legal)))


def _replaced(old: str, new: str, ending: str) -> Shape:
    def act(it: Branch) -> None:
        path = it.path(ending)
        text = it.text(path)
        assert old in text
        it.edit(path, text.replace(old, new))

    return act


def _branch_became_a_folder(it: Branch) -> None:
    git(it.repo, "update-ref", "-d", STATE)
    git(it.repo, "update-ref", f"{STATE}/x", it.good)


def _dot_git(it: Branch) -> None:
    rows = git(it.repo, "ls-tree", it.good) + f"\n040000 tree {it.tree()}\t.git\n"
    it.move(it.commit(git(it.repo, "mktree", stdin=rows), it.good))


def _other_object(kind: str) -> Shape:
    def act(it: Branch) -> None:
        oid = it.tree() if kind == "tree" else it.blob("no commit")
        it.file.write_text(f"{oid}\n")

    return act


def _ref_file(content: bytes) -> Shape:
    def act(it: Branch) -> None:
        it.file.write_bytes(content)

    return act


def damaged(what: str, how: Callable[[Path], None]) -> Shape:
    """A new commit on the remote, one of whose objects is lost or spoilt there."""

    def act(it: Branch) -> None:
        blob = it.blob(it.text("percy.json").replace("shop", "shop2"))
        new = it.commit(it.edited("percy.json", f"100644 {blob}"), it.good)
        # Damaged before the branch names it: whoever is quick would have all of it. Git
        # itself refuses to move a branch to such a commit.
        how(it.object({"blob": blob, "tree": it.tree(new), "commit": new}[what]))
        it.file.parent.mkdir(parents=True, exist_ok=True)
        scratch = it.repo / "percy-state.new"
        scratch.write_text(f"{new}\n")
        scratch.replace(it.file)

    return act


def _delete(it: Branch) -> None:
    git(it.repo, "update-ref", "-d", STATE)


#: The tip does not go on from ours, or not in one line.
HISTORIES: dict[str, Shape] = {
    "rewound": lambda it: it.move(it.back(5)),
    "unrelated root": _unrelated,
    "side history": _side_history,
    "deleted": _delete,
    "became a folder": _branch_became_a_folder,
    "merged": _merge,
    "merged from the side": _merge_from_the_side,
    "merged later": _merge_later,
    "second root": _second_root,
}
#: The tip goes on from ours, but is no state.
CONTENTS: dict[str, Shape] = {
    "bad json": lambda it: it.edit("percy.json", "{ no json"),
    "bad json in a task": lambda it: it.edit(it.path("/a.json"), "[]"),
    "not utf-8": lambda it: it.edit(it.path("/plan.json"), '"\udcff"'),
    "empty file": lambda it: it.edit(it.path("/plan.json"), ""),
    "unknown status": _replaced('"status": "failed"', '"status": "flying"', "/a.json"),
    "wrong type": _replaced('"attempt": 1', '"attempt": "1"', "/a.json"),
    "other id": _replaced('"id": "two.a"', '"id": "two.z"', "/a.json"),
    "executable": lambda it: it.edit("percy.json", it.text("percy.json"), "100755"),
    "symlink": lambda it: it.edit("percy.json", "plans", "120000"),
    "submodule": lambda it: it.move(
        it.commit(it.edited("plans/sub", f"160000 {it.good}"), it.good)
    ),
    "unknown path": lambda it: it.edit("notes.txt", "hello\n"),
    "unknown path with control characters": lambda it: it.edit("n\x1b[31m", "x"),
    "no percy.json": lambda it: it.edit("percy.json", None),
    "no plan.json": lambda it: it.edit(it.path("/plan.json"), None),
    "empty tree": lambda it: it.move(
        it.commit(git(it.repo, "hash-object", "-w", "-t", "tree", "/dev/null"), it.good)
    ),
    "bad and more": _bad_then_more,
}
#: Written by a newer percyd.
NEWER: dict[str, Shape] = {
    "format 2": _replaced('"format": 1', '"format": 2', "percy.json"),
}
#: The remote cannot give what its branch names.
UNREADABLE: dict[str, Shape] = {
    "lost blob": damaged("blob", lose),
    "lost tree": damaged("tree", lose),
    "lost commit": damaged("commit", lose),
    "spoilt blob": damaged("blob", flip),
    "spoilt tree": damaged("tree", flip),
    "no fetchable tree": _dot_git,
    "names a blob": _other_object("blob"),
    "names a tree": _other_object("tree"),
}
#: The same, and git takes no push at all until the remote's own files are mended.
DISK: dict[str, Shape] = {
    "spoilt commit": damaged("commit", flip),
}
#: The file of the branch is what a crash may leave.
REF_FILES: dict[str, Shape] = {
    "no bytes": _ref_file(b""),
    "zero bytes": _ref_file(bytes(41)),
    "garbage": _ref_file(b"hello there\n"),
}
SHAPES = HISTORIES | CONTENTS | NEWER | UNREADABLE | DISK | REF_FILES
#: Nothing that is typed in a clone can mend it.
NO_WAY = {*NEWER, *DISK, "became a folder"}
