"""Walks the first-parent history of ``percy/state`` and judges every commit."""

from __future__ import annotations

from collections.abc import Sequence

from percyd.core.edges import Op
from percyd.core.records import Task
from percyd.core.refs import Oid
from percyd.core.snapshot import Snapshot
from percyd.errors import UnknownIdError
from percyd.repo.reader import ObjectReader
from percyd.repo.runner import Git
from percyd.state import codec
from percyd.state.verify import commits, decoding, files
from percyd.state.verify.claims import judge_claims
from percyd.state.verify.commits import Link, StateCommit
from percyd.state.verify.decoding import Contents, Decoder
from percyd.state.verify.form import judge_form, judge_trailers
from percyd.state.verify.landings import Landed, judge_landed, judge_landings
from percyd.state.verify.mending import Mending
from percyd.state.verify.others import judge_agents, judge_files
from percyd.state.verify.plans import judge_plans
from percyd.state.verify.report import RemoteRefs, Verified, Violation
from percyd.state.verify.results import NewestState, judge_results
from percyd.state.verify.step import Step
from percyd.state.verify.tasks import judge_tasks

_RULES = (
    judge_trailers,
    judge_tasks,
    judge_claims,
    judge_plans,
    judge_landings,
    judge_agents,
    judge_files,
)


def verify(
    git: Git,
    reader: ObjectReader,
    tip: Oid,
    *,
    after: Oid | None = None,
    refs: RemoteRefs | None = None,
) -> Verified:
    """Judge the history up to ``tip``.

    Args:
        git: The repository that has the history.
        reader: Reads that repository's objects.
        tip: A commit of the state branch.
        after: Judge only what came after this commit.
        refs: Where the refs are that the state speaks of, for a ``tip`` that is the
            newest; they are not looked at without.

    Raises:
        UnknownIdError: ``after`` is not in the history of ``tip``.
    """
    links, lost = commits.chain(git, reader, tip)
    earlier = _position(links, after) + 1 if after else 0
    walk = _Walk(git, reader)
    if lost is not None:
        walk.say(lost, "", "cannot be read: what lies before it is not judged")
    if earlier:
        walk.start_after(links[:earlier])
    walk.run(links[earlier:], from_root=lost is None and not earlier)
    if refs is not None:
        newest = NewestState(
            tip, walk.snapshot, walk.begins, walk.ends, after is None, walk.records_at
        )
        walk.found += judge_results(reader, refs, newest)
        landed = Landed(tip, walk.snapshot, walk.landed, after is None)
        walk.found += judge_landed(git, refs, landed)
    return Verified(len(links) - earlier, tuple(walk.found))


def _position(links: Sequence[Link], oid: Oid) -> int:
    for position, link in enumerate(links):
        if link.oid == oid:
            return position
    raise UnknownIdError(f"{oid[:12]} is not in the history that is to be verified")


class _Walk:
    """The records, and what must be unique in the whole history, at one commit."""

    def __init__(self, git: Git, reader: ObjectReader) -> None:
        self._git = git
        self._reader = reader
        self._decoder = Decoder()
        self._op_ids: dict[str, Oid] = {}
        self._tokens: dict[str, str] = {}
        self._base: Oid | None = None
        self._gap = False
        self._mending = Mending()
        self.found: list[Violation] = []
        self.begins: dict[tuple[str, int], Oid] = {}
        self.ends: dict[tuple[str, int], Oid] = {}
        self.landed: dict[str, Oid] = {}

    @property
    def snapshot(self) -> Snapshot:
        """The newest records."""
        return self._decoder.records.snapshot

    def say(self, oid: Oid, path: str, what: str) -> None:
        """Report a violation."""
        self.found.append(Violation(oid, path, what))

    def start_after(self, links: Sequence[Link]) -> None:
        """Take over what was there before, without judging it."""
        for oid, message in commits.messages(self._git, links):
            for op_id in codec.parse_trailers(message).get("Percy-Op-Id", ()):
                self._op_ids.setdefault(op_id, oid)
        tree = commits.tree(self._git, links[-1].oid)
        if tree is None:
            self._gap = True
            return
        self._base = links[-1].oid
        contents = files.contents(self._reader, decoding.oids(tree))
        for task in self._decoder.load(tree, contents):
            self._note_tokens(task)

    def run(self, links: Sequence[Link], *, from_root: bool) -> None:
        """Judge a chain; ``from_root`` says that the history begins with it."""
        first = from_root
        for window in commits.windows(self._git, links, self._base):
            changes = (file for commit in window for file in commit.files or ())
            contents = files.contents(self._reader, decoding.oids(changes))
            for commit in window:
                self._judge(commit, contents, first)
                first = False

    def _judge(self, commit: StateCommit, contents: Contents, first: bool) -> None:
        before = len(self.found)
        op = self._judge_commit(commit, contents, first)
        if len(self.found) > before:
            self._mending.note(commit)
        elif op == Op.REPAIR:
            self.found = self._mending.after(commit, self.found)

    def _judge_commit(
        self, commit: StateCommit, contents: Contents, first: bool
    ) -> str | None:
        """Answers what the commit says it does, if it can be read."""
        oid = commit.link.oid
        trailers = codec.parse_trailers(commit.message)
        for what in judge_form(commit, trailers, first):
            self.say(oid, "", what)
        for op_id in trailers.get("Percy-Op-Id", ()):
            earlier = self._op_ids.setdefault(op_id, oid)
            if earlier != oid:
                self.say(oid, "", f"has the op id of {earlier[:12]}")
        if commit.files is None:
            self.say(oid, "", "its tree cannot be read")
            self._gap = True
            return None
        step = self._decoder.step(
            commit, trailers, contents, lambda path, what: self.say(oid, path, what)
        )
        # Over a gap, the changes of several commits lie in one.
        if step.op != Op.REPAIR and not self._gap and not commit.whole:
            self._judge_step(step, changes_nothing=not commit.files)
        for diff in step.tasks:
            if diff.new is not None and diff.new.claim is not None:
                self._tokens.setdefault(diff.new.claim, diff.new.id)
        self._gap = False
        return step.op

    def _judge_step(self, step: Step, *, changes_nothing: bool) -> None:
        if changes_nothing:
            self.say(step.oid, "", "changes nothing")
        for rule in _RULES:
            for path, what in rule(step):
                self.say(step.oid, path, what)
        if step.op == Op.LAND:
            self.landed |= {diff.new.id: step.oid for diff in step.plans if diff.new}
        for diff in step.tasks:
            new = diff.new
            if new is None:
                continue
            if step.op == Op.CLAIM and new.claim in self._tokens:
                other = self._tokens[new.claim]
                self.say(step.oid, diff.path, f"has a claim token of {other}")
            elif step.op == Op.CLAIM and new.claim is not None:
                self._tokens[new.claim] = new.id
            if step.op == Op.WORK:
                self.begins.setdefault((new.id, new.attempt), step.oid)
            for entry in new.attempts[len(diff.old.attempts) if diff.old else 0 :]:
                self.ends.setdefault((new.id, entry.number), step.oid)

    def records_at(self, oid: Oid) -> Snapshot | None:
        """The records at any commit, unjudged; None if its tree cannot be read."""
        tree = commits.tree(self._git, oid)
        if tree is None:
            return None
        decoder = Decoder()
        decoder.load(tree, files.contents(self._reader, decoding.oids(tree)))
        return decoder.records.snapshot

    def _note_tokens(self, task: Task) -> None:
        claims = [entry.claim for entry in task.attempts]
        for claim in (*claims, *([task.claim] if task.claim else [])):
            self._tokens.setdefault(claim, task.id)
