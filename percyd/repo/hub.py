"""percyd's own private bare repository, and its only way to the remote.

The hub has no remote section: the URL comes from the caller, who has checked it, on each
call. Everything that percyd commits is committed here and pushed from here.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from percyd.core.refs import MergeConflict, Merged, Oid
from percyd.errors import GitError
from percyd.repo import birth, lineage, merging, objects, snapshots
from percyd.repo.adopted import ADOPTED_REF
from percyd.repo.facts import TreeFacts, TreeScanner
from percyd.repo.values import Identity, Remote
from percyd.repo.wire import FETCH, SEEN_STATE, Wire
from percyd.repo.wire import seen_ref as seen_ref

PINS = "refs/percyd/pin/"
#: Among the pins those of collected work: slot, then worktree.
WORK_PINS = "work/"
INGESTED = "refs/percyd/ingest/"

#: How many ingested tips one process keeps; older ones are published or pinned by then.
_INGEST_RING = 256
#: So many objects are read at a time when the hub is searched for damage.
_CHUNK = 500
#: Objects from a workspace are checked, for names such as ``.GIT`` in a tree; harmless
#: flaws that old histories are full of are let through.
_SANE_OBJECTS = (
    *("-c", "fetch.fsckObjects=true"),
    *("-c", "fetch.fsck.missingSpaceBeforeDate=ignore"),
    *("-c", "fetch.fsck.missingSpaceBeforeEmail=ignore"),
    *("-c", "fetch.fsck.zeroPaddedDate=ignore"),
    *("-c", "fetch.fsck.zeroPaddedFilemode=ignore"),
    *("-c", "fetch.fsck.badTimezone=ignore"),
    *("-c", "fetch.fsck.badDateOverflow=ignore"),
    *("-c", "fetch.fsck.missingEmail=ignore"),
    *("-c", "fetch.fsck.missingNameBeforeEmail=ignore"),
)


class Hub(Wire):
    """percyd's own private bare repository and the remote behind it."""

    def __init__(
        self, path: Path, remote: Remote, environ: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(path, remote, environ)
        self._scanner = TreeScanner(self.git, self.reader)
        self._ingests = itertools.count()

    @classmethod
    def open(
        cls, path: Path, remote: Remote, environ: Mapping[str, str] | None = None
    ) -> Self:
        """The hub at ``path``, made if it is not there yet."""
        birth.ensure(path, remote, environ)
        return cls(path, remote, environ)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def adopted(self) -> Oid | None:
        """The last good tip of the state that was built on, over restarts."""
        try:
            return self.reader.resolve(ADOPTED_REF)
        except GitError:  # what it names cannot be read; the name can
            return self.git.ref(ADOPTED_REF)

    def adopt(self, tip: Oid, before: Oid | None) -> None:
        """Remember a good tip of the state where ``before`` is remembered still."""
        self.refs.update(ADOPTED_REF, tip, before or "0" * len(tip))

    def damage(self) -> str | None:
        """What git cannot read of the state's newest tips here; None if all is well.

        It reads every byte of them: for a fault that has shown itself already.
        """
        for tip in filter(None, (self.adopted(), self.git.ref(SEEN_STATE))):
            kind = self.git.run("cat-file", "-t", tip, check=False)
            if kind.ok and kind.text != "commit":
                continue  # it is the remote's branch that names something else
            listing = self.git.run("ls-tree", "-r", "-t", "-z", tip, check=False)
            history = self.git.run("rev-list", "--quiet", tip, "--", check=False)
            for result in (listing, history):
                if not result.ok:
                    return result.problem
            rows = listing.text.split("\0")
            oids = [row.split()[2] for row in rows if row.split()[1:2] == ["blob"]]
            problem = self._unreadable(oids)
            if problem is not None:
                return problem
        return None

    def _unreadable(self, oids: Sequence[Oid]) -> str | None:
        for start in range(0, len(oids), _CHUNK):
            names = "".join(f"{oid}\n" for oid in oids[start : start + _CHUNK])
            read = self.git.run(
                "cat-file", "--batch", stdin=names.encode(), check=False
            )
            if not read.ok:
                return read.problem
            missing = re.search(rb"^([0-9a-f]{40,64}) missing$", read.stdout, re.M)
            if missing:
                return f"object {missing[1].decode()} is missing"
        return None

    def pin(self, name: str, oid: Oid) -> str:
        """Keep ``oid`` reachable under ``name``; returns the ref that does it."""
        self.refs.update(PINS + name, oid)
        return PINS + name

    def unpin(self, name: str) -> None:
        """Let go of what `pin` kept; nothing happens if there is none."""
        self.refs.delete(PINS + name)

    def ingest(self, path: Path, ref_or_oid: str) -> Oid:
        """Fetch committed work from a workspace clone; returns its commit.

        upload-pack is built to serve repositories that nobody trusts: nothing that a
        task has put into its clone's configuration runs.
        """
        number = next(self._ingests) % _INGEST_RING
        ref = f"{INGESTED}{os.getpid()}-{number}"
        self.git.run(
            *(*_SANE_OBJECTS, "-c", "protocol.version=2", *FETCH, "--"),
            *(str(path.absolute()), f"+{ref_or_oid}:{ref}"),
            deadline_s=300,
        )
        commit = self.git.ref(f"{ref}^{{commit}}")
        if commit is None:
            raise GitError(f"git fetch: {ref_or_oid} is not a commit")
        return commit

    def forget_the_dead(self) -> None:
        """Let go of what processes that are gone had taken in.

        What of it counts was published, or is in its worktree still.
        """
        import psutil  # 7 ms, that a command which only reads need not spend

        listing = self.git.run("for-each-ref", "--format=%(refname)", INGESTED)
        for ref in listing.text.splitlines():
            pid = ref.removeprefix(INGESTED).partition("-")[0]
            if not pid.isdecimal() or not psutil.pid_exists(int(pid)):
                self.refs.delete(ref)

    def new_bytes(self, commit: Oid, base: Oid | None, enough: int) -> int:
        """About how many bytes a push of ``commit`` sends that ``base`` has not.

        Exact, as they are on disk, only above ``enough``: less is asked of the process
        that is up, and counted uncompressed.
        """
        line = lineage.line_between(self.reader, base, commit) if base else None
        if base and line is not None:
            size = 0
            for before, after in itertools.pairwise([base, *line]):
                changes = lineage.changed_files(self.reader, before, after)
                size += sum(self.reader.sizes([c.new for c in changes if c.new]))
            if size <= enough:
                return size
        return objects.new_bytes(self.git, commit, base)

    def merge(
        self, ours: Oid, theirs: Oid, message: str, when: datetime
    ) -> Merged | MergeConflict:
        """Merge ``theirs`` into ``ours``; always makes a commit of its own."""
        attributes = self.facts(ours).attributes
        return merging.merge(
            self.git, self.reader, attributes, ours, theirs, message, when
        )

    def tree_of(self, commit: Oid) -> Oid:
        """The tree of a commit."""
        return self._scanner.tree_of(commit)

    def blob_id(self, content: bytes) -> Oid:
        """The id that git gives to a file of this content; nothing is stored."""
        return self.git.run("hash-object", "--stdin", stdin=content).text

    def is_ancestor(self, old: Oid, new: Oid) -> bool:
        """Whether ``old`` is ``new`` or an ancestor of it."""
        if lineage.line_between(self.reader, old, new) is not None:
            return True
        return objects.is_ancestor(self.git, old, new)

    def facts(self, commit: Oid) -> TreeFacts:
        """What in a commit's tree percyd has to know before it works with it."""
        return self._scanner.facts(commit)

    def snapshot_work_tree(
        self,
        work_tree: Path,
        parent: Oid,
        message: str,
        author: Identity,
        when: datetime,
        known: Path | None = None,
    ) -> Oid | None:
        """Commit everything in a folder on top of ``parent``; None if nothing differs."""
        return snapshots.snapshot(
            self.git, self.reader, work_tree, parent, message, author, when, known
        )
