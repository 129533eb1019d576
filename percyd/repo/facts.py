"""What in a commit's tree percyd has to know: submodules, attributes, filters."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Lock

from percyd.core.refs import Oid
from percyd.errors import GitError
from percyd.repo import objects
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git

ATTRIBUTES = ".gitattributes"
_CACHED_TREES = 256
_REGULAR = ("100644", "100755")
_UNSAFE_PARTS = frozenset({"", ".", "..", ".git"})
#: ``filter=name`` among the attributes of a line; ``-filter`` and ``!filter`` set none.
_SETS_FILTER = re.compile(rb"^(?!\s*#).*\sfilter=\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """What a tree holds beyond plain files."""

    #: Paths of submodules.
    submodules: tuple[str, ...]
    #: Paths of the ``.gitattributes`` files that set a filter (Git LFS and the like).
    filters: tuple[str, ...]
    #: Every ``.gitattributes`` file, path -> blob.
    attributes: Mapping[str, Oid]


class TreeScanner:
    """Scans whole trees, each one once."""

    def __init__(self, git: Git, reader: ObjectReader) -> None:
        self._git = git
        self._reader = reader
        self._lock = Lock()
        self._known: OrderedDict[Oid, TreeFacts] = OrderedDict()

    def tree_of(self, commit: Oid) -> Oid:
        """The tree of a commit."""
        tree = self._reader.resolve(f"{commit}^{{tree}}")
        if tree is None:
            raise GitError(f"{commit} is missing or is not a commit")
        return tree

    def facts(self, commit: Oid) -> TreeFacts:
        """The facts of a commit's tree."""
        tree = self.tree_of(commit)
        with self._lock:
            if tree in self._known:
                self._known.move_to_end(tree)
                return self._known[tree]
        facts = self._scan(tree)
        with self._lock:
            self._known[tree] = facts
            while len(self._known) > _CACHED_TREES:
                self._known.popitem(last=False)
        return facts

    def _scan(self, tree: Oid) -> TreeFacts:
        entries = objects.tree_entries(self._git, tree, recursive=True)
        attributes = {
            entry.path: entry.oid
            for entry in entries
            if entry.mode in _REGULAR and is_attributes(entry.path)
        }
        contents = self._reader.read_many(list(attributes.values()))
        return TreeFacts(
            submodules=tuple(e.path for e in entries if e.mode == objects.GITLINK),
            filters=tuple(
                path
                for path, content in zip(attributes, contents, strict=True)
                if content and _SETS_FILTER.search(content)
            ),
            attributes=attributes,
        )


def is_attributes(path: str) -> bool:
    """Whether ``path`` is a ``.gitattributes`` file that may be written to a folder."""
    parts = PurePosixPath(path).parts
    return parts[-1:] == (ATTRIBUTES,) and not _UNSAFE_PARTS & set(path.split("/"))
