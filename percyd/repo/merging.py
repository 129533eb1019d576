"""Merges in the hub, without an index or a checkout."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.errors import GitError
from percyd.repo import lineage
from percyd.repo.objects import commit_tree
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git, GitResult

_OID = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_MESSAGES_LIMIT = 10_000


def merge(
    git: Git,
    reader: ObjectReader,
    attributes: Mapping[str, Oid],
    ours: Oid,
    theirs: Oid,
    message: str,
    when: datetime,
) -> Merged | MergeConflict:
    """Merge ``theirs`` into ``ours`` and commit the result.

    Args:
        git: The hub.
        reader: Reads objects of the hub.
        attributes: The ``.gitattributes`` files of ``ours``, path -> blob.
        ours: The first parent.
        theirs: The second parent; left out if it is ``ours``.
        message: The commit message.
        when: The commit's time.
    """
    parents = [ours] if theirs == ours else [ours, theirs]
    if lineage.line_between(reader, ours, theirs) is not None:
        # Nobody else has changed anything: there is nothing to merge.
        tree = lineage.tree_of(reader, theirs)
        return Merged(commit_tree(git, tree, parents, message, when), tree)
    result = _merge_tree(git, reader, attributes, ours, theirs)
    fields = result.stdout.decode("utf-8", "surrogateescape").split("\0")
    # Exit code 1 also means "cannot merge": only a tree on the first line is an answer.
    if result.code not in (0, 1) or not _OID.match(fields[0]):
        raise GitError(f"git merge-tree: {result.problem}")
    tree = fields[0]
    if result.code == 1:
        end = fields.index("", 1) if "" in fields[1:] else len(fields)
        paths = tuple(dict.fromkeys(fields[1:end]))
        return MergeConflict(paths, _messages(fields[end + 1 :]), tree)
    return Merged(commit_tree(git, tree, parents, message, when), tree)


def _merge_tree(
    git: Git,
    reader: ObjectReader,
    attributes: Mapping[str, Oid],
    ours: Oid,
    theirs: Oid,
) -> GitResult:
    """Run merge-tree in a scratch folder with nothing but the attributes.

    In a bare repository it ignores them, and 2.39 has no --attr-source.
    """
    args = ("merge-tree", "--write-tree", "-z", "--name-only", "--messages")
    with tempfile.TemporaryDirectory(prefix="percyd-merge-") as name:
        folder = Path(name)
        contents = reader.read_many(list(attributes.values()))
        for path, content in zip(attributes, contents, strict=True):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content or b"")
        return git.run(
            *args, ours, theirs, check=False, work_tree=folder, deadline_s=300
        )


def _messages(fields: list[str]) -> str:
    """The messages for people: groups of a count, that many paths, a kind, a text."""
    texts = []
    position = 0
    while position < len(fields) and fields[position].isdecimal():
        position += 1 + int(fields[position])
        texts.append("".join(fields[position + 1 : position + 2]).strip())
        position += 2
    joined = "\n".join(text for text in texts if text)
    return joined.encode("utf-8", "replace").decode()[:_MESSAGES_LIMIT]
