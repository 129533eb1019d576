"""What in a commit's tree percyd has to know: submodules, attributes, filters."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Lock

from percyd.core.refs import Oid
from percyd.repo import lineage, objects
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
        return lineage.tree_of(self._reader, commit)

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
        """From the last tree by what has changed; the first one as a whole."""
        with self._lock:
            last = next(reversed(self._known), None)
            before = self._known[last] if last else TreeFacts((), (), {})
        if last is None:
            found = objects.tree_entries(self._git, tree, recursive=True)
            entries = [(e.path, e.mode, e.oid) for e in found]
            gone: set[str] = set()
        else:
            changes = list(lineage.changed_files(self._reader, last, tree))
            entries = [(c.path, c.mode, c.new) for c in changes if c.new]
            gone = {change.path for change in changes}
        submodules = {path for path in before.submodules if path not in gone}
        submodules |= {path for path, mode, _ in entries if mode == objects.GITLINK}
        attributes = {p: oid for p, oid in before.attributes.items() if p not in gone}
        fresh = {
            path: oid
            for path, mode, oid in entries
            if mode in _REGULAR and is_attributes(path)
        }
        contents = self._reader.read_many(list(fresh.values()))
        filters = {path for path in before.filters if path not in gone}
        filters |= {
            path
            for path, content in zip(fresh, contents, strict=True)
            if content and _SETS_FILTER.search(content)
        }
        return TreeFacts(
            tuple(sorted(submodules)), tuple(sorted(filters)), {**attributes, **fresh}
        )


def is_attributes(path: str) -> bool:
    """Whether ``path`` is a ``.gitattributes`` file that may be written to a folder."""
    parts = PurePosixPath(path).parts
    return parts[-1:] == (ATTRIBUTES,) and not _UNSAFE_PARTS & set(path.split("/"))
