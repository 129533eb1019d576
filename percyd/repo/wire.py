"""What passes between a hub and its remote: one URL, exact refs, one atomic push."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from percyd.core.ids import STATE_REF
from percyd.core.refs import Oid, RefMove
from percyd.errors import (
    GitError,
    RemoteUnreachable,
    StateRefused,
    StateUnreadable,
)
from percyd.repo import outcomes
from percyd.repo.reader import ObjectReader
from percyd.repo.refwriter import RefWriter
from percyd.repo.remotes import folder_of, loose_ref
from percyd.repo.runner import Git, GitResult, mask
from percyd.repo.usage import Usage
from percyd.repo.values import Heads, PushReport, Remote

SEEN = "refs/percyd/seen/"

#: The star makes an absent branch a pruned one instead of an error to be understood.
SEEN_STATE = f"{SEEN}state"
_STATE_SPEC = f"+{STATE_REF}*:{SEEN_STATE}*"
#: What a fetch may take: of everything there is, and of what is new.
_WHOLE_S = 600
_NEWS_S = 60
FETCH = (
    *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
    *("--no-auto-maintenance", "--no-recurse-submodules", "--refmap="),
)
#: Where the repository itself is the remote, its hooks and its gc are none of a push's
#: business, and an acknowledged push must survive a power cut (git syncs nothing). A
#: batch stays a pack, as a sync for each of its objects takes ten times as long; one
#: operation, of seven objects, does not leave a pack in somebody's repository.
_LOCAL_RECEIVE = (
    "git -c core.hooksPath=/dev/null -c receive.autogc=false"
    " -c core.fsync=committed -c receive.unpackLimit=10 receive-pack"
)
_TRIES = 3
_RACES = 20
_OWN_REFS = ("refs/heads/percy", "refs/heads/agent/", "refs/percy/")


class Wire:
    """A bare repository, the remote behind it, and the calls between the two."""

    def __init__(
        self, path: Path, remote: Remote, environ: Mapping[str, str] | None = None
    ) -> None:
        self.path = path
        self.remote = remote
        self.environ = environ
        self.git = Git(path, config=remote.config, environ=environ)
        self.reader = ObjectReader(self.git)
        self.refs = RefWriter(self.git)
        self._fetching = threading.Lock()
        self._usage = Usage(path)

    def close(self) -> None:
        """End the processes that stay up, and let others clear up here."""
        self.reader.close()
        self.refs.close()
        self._usage.end()

    def fetch_state(self, deadline_s: float | None = None) -> Oid | None:
        """The remote's tip of the state branch, its objects here; None if absent.

        Args:
            deadline_s: What each call may take, and a fetch of another thread before.

        Raises:
            RemoteUnreachable: nobody answered.
            StateUnreadable: the remote answered, but the branch cannot be read.
        """
        with self._alone(deadline_s):
            first = self.reader.resolve(SEEN_STATE) is None
            tries = races = 0
            while tries < _TRIES:
                before = self.reader.resolve(SEEN_STATE)
                result = self._network(
                    *("-c", "fetch.fsckObjects=true", *FETCH, "--prune"),
                    spec=[_STATE_SPEC],
                    deadline_s=deadline_s or (_WHOLE_S if first else _NEWS_S),
                )
                if result.ok:
                    return self._seen_state()
                if races < _RACES and self.reader.resolve(SEEN_STATE) != before:
                    # Another process of this clone was faster: no fault of anybody's.
                    races += 1
                    continue
                tries += 1
                self._require_own_disk()
                # Who does not answer now either cannot be reached. Who does may have
                # been interrupted.
                listed = self._list(STATE_REF, failed=result, deadline_s=deadline_s)
                tip = listed.get(STATE_REF, "")
                if tip and not tip.strip("0"):
                    raise StateUnreadable(
                        "percy/state on the remote cannot be read: its file is damaged "
                        "and names no commit",
                        tip="",
                    )
            self._require_own_refs()
            raise StateUnreadable(
                f"percy/state on the remote is at {tip or 'no commit'}, which cannot "
                f"be read: {result.problem}",
                tip,
            )

    def _seen_state(self) -> Oid | None:
        found = self.reader.read(SEEN_STATE)
        if found is not None and found[1] != "commit":
            what = f"is at {found[0]}, which is a {found[1]} and no commit"
            raise StateUnreadable(f"percy/state on the remote {what}", found[0])
        return None if found is None else found[0]

    def fetch_refs(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> dict[str, Oid | None]:
        """The remote's tips of exactly these full refs, their objects here."""
        wanted = list(dict.fromkeys(refs))
        with self._alone(deadline_s):
            present = self._likely(wanted, deadline_s)
            for _ in range(_TRIES):
                result = self._fetch_exactly(present, deadline_s or _WHOLE_S)
                if result is None or result.ok:
                    return self._seen(wanted, present)
                self._require_own_disk()
                # One absent ref fails the whole fetch: ask which ones there are.
                listed = self._list(*wanted, failed=result, deadline_s=deadline_s)
                present = [ref for ref in wanted if ref in listed]
                _refuse_damaged(listed)
                self._make_room(present)
        raise GitError(f"git fetch: {result.problem}" if result else "git fetch")

    def ls_remote(
        self, *patterns: str, deadline_s: float | None = None
    ) -> dict[str, Oid]:
        """The remote's refs that match, by full name."""
        refs = self._list(*patterns, deadline_s=deadline_s)
        _refuse_damaged(refs)
        return {ref: oid for ref, oid in refs.items() if oid.strip("0")}

    def list_exactly(
        self, refs: Sequence[str], deadline_s: float | None = None
    ) -> dict[str, Oid]:
        """The remote's values of exactly these refs, even damaged ones, in one call."""
        seen = {ref: oid for ref in refs if (oid := self.peek(ref)) is not None}
        if len(seen) == len(refs):
            return seen
        found = self._list(*refs, deadline_s=deadline_s)
        return {ref: oid for ref, oid in found.items() if ref in refs}

    def peek(self, ref: str) -> Oid | None:
        """Where a ref stands on a remote that is a folder, if its own file says so.

        Most of what makes us look are our own pushes; no process is needed to see that.
        None: git must be asked, also for packed refs, a reftable, a damaged branch.
        """
        folder = folder_of(self.remote)
        return loose_ref(folder, ref) if folder else None

    def heads(self, branch: str = "*") -> Heads:
        """The remote's branches, or one of them, and which one HEAD is, in one call."""
        wanted = ["HEAD", f"refs/heads/{branch}"]
        result = self._network("ls-remote", "--symref", spec=wanted)
        self._require_answer(result)
        target, refs = None, {}
        for line in result.text.splitlines():
            value, _, name = line.partition("\t")
            if not value.startswith("ref: "):
                refs[name] = value
            elif name == "HEAD":
                target = value.removeprefix("ref: ")
        tip = refs.pop("HEAD", "")
        _refuse_damaged(refs)
        branches = {
            ref: oid
            for ref, oid in sorted(refs.items())
            if ref.startswith("refs/heads/") and oid.strip("0")
        }
        return Heads(branches, target if tip.strip("0") else None)

    def push(
        self,
        moves: Sequence[RefMove],
        deadline_s: float = 60,
        stop: threading.Event | None = None,
    ) -> PushReport:
        """Move all refs in one atomic push, each with its own lease.

        ``stop`` set ends it as its deadline does.

        A move whose ``expected`` is its ``new`` is only compared with what the remote
        advertises: git leaves it out of the transaction.
        """
        refs = [move.ref for move in moves]
        if len(set(refs)) != len(refs):
            # git answers with exit 128 and no line for any ref.
            raise ValueError(f"a ref is moved twice in one push: {refs}")
        options = ["--porcelain", "--atomic", "--no-verify", "--recurse-submodules=no"]
        if self.remote.is_local:
            options.append(f"--receive-pack={_LOCAL_RECEIVE}")
        options += [
            f"--force-with-lease={move.ref}:{move.expected or ''}"
            for move in moves
            if not move.forced
        ]
        specs = [f"{'+' * move.forced}{move.new or ''}:{move.ref}" for move in moves]
        result = self._network(
            *("push", *options), spec=specs, deadline_s=deadline_s, stop=stop
        )
        return outcomes.parse_push(
            moves, result.stdout, result.stderr, result.timed_out
        )

    @contextmanager
    def _alone(self, deadline_s: float | None) -> Iterator[None]:
        """One fetch at a time; whoever is in a hurry does not wait for one that hangs."""
        timeout_s = -1 if deadline_s is None else deadline_s
        if not self._fetching.acquire(timeout=timeout_s):
            url = mask(self.remote.url)
            raise RemoteUnreachable(f"the remote {url} has not answered another call")
        try:
            yield
        finally:
            self._fetching.release()

    def _network(
        self,
        *args: str,
        spec: Sequence[str] = (),
        deadline_s: float = 60,
        stop: threading.Event | None = None,
    ) -> GitResult:
        return self.git.run(
            *(*args, "--", self.remote.url, *spec),
            deadline_s=deadline_s,
            check=False,
            network=True,
            stop=stop,
        )

    def _list(
        self,
        *patterns: str,
        failed: GitResult | None = None,
        deadline_s: float | None = None,
    ) -> dict[str, Oid]:
        """The remote's refs as it advertises them, damaged ones too.

        Args:
            *patterns: Full refs, or patterns.
            failed: The call that made us ask; its words are better than ours.
            deadline_s: What it may take; None: as long as a few words may need.
        """
        if failed is not None and failed.timed_out:
            self._require_answer(failed)
        result = self._network(
            "ls-remote", "--refs", spec=patterns, deadline_s=deadline_s or _NEWS_S
        )
        self._require_answer(result, failed)
        rows = (line.partition("\t") for line in result.text.splitlines())
        return {ref: oid for oid, _, ref in rows}

    def _require_answer(
        self, result: GitResult, first: GitResult | None = None
    ) -> None:
        if not result.ok:
            url = mask(self.remote.url)
            raise RemoteUnreachable(
                f"the remote {url} cannot be reached: {(first or result).problem}",
                hint="check the network, the URL and your access: git ls-remote",
            )

    def _require_own_disk(self) -> None:
        """A full disk here must not be taken for a damaged branch there."""
        try:
            with tempfile.TemporaryFile(dir=self.path / "objects") as file:
                file.write(bytes(65536))
        except OSError as error:
            raise GitError(
                f"{self.path} cannot be written: {error.strerror}"
            ) from error

    def _require_own_refs(self) -> None:
        """A stale lock here must not be taken for a damaged branch there."""
        tip = self.reader.resolve(SEEN_STATE) or ""
        orders = f"start\nverify {SEEN_STATE} {tip}\nprepare\nabort\n"
        found = self.git.run(
            "update-ref", "--stdin", stdin=orders.encode(), check=False
        )
        if not found.ok:
            raise GitError(
                f"percyd's own repository is locked: {found.problem}",
                hint="end what percyd runs here; its next start removes an old lock",
            )

    def _likely(self, refs: Sequence[str], deadline_s: float | None) -> list[str]:
        """Without those that were never seen here, and are not there now either.

        A fetch of a ref that is absent fails, and costs four processes (measured): a new
        plan's branch is asked for once, before it is made.
        """
        new = [ref for ref in refs if self.reader.resolve(seen_ref(ref)) is None]
        if not new:
            return list(refs)
        listed = self._list(*new, deadline_s=deadline_s)
        _refuse_damaged(listed)
        absent = set(new) - listed.keys()
        return [ref for ref in refs if ref not in absent]

    def _fetch_exactly(
        self, refs: Sequence[str], deadline_s: float
    ) -> GitResult | None:
        if not refs:
            return None
        specs = [f"+{ref}:{seen_ref(ref)}" for ref in refs]
        return self._network(*FETCH, spec=specs, deadline_s=deadline_s)

    def _make_room(self, refs: Sequence[str]) -> None:
        """Forget our copies of refs that are folders of ``refs`` now, or the reverse."""
        wanted = {seen_ref(ref) for ref in refs}
        folders = {name[:at] for name in wanted for at in _slashes(name)}
        listing = self.git.run("for-each-ref", "--format=%(refname)", SEEN)
        in_the_way = [
            name
            for name in listing.text.splitlines()
            if name in folders or wanted & {name[:at] for at in _slashes(name)}
        ]
        self._forget(in_the_way)

    def _forget(self, names: Sequence[str]) -> None:
        if names:
            orders = "".join(f"delete {name}\n" for name in names)
            self.git.run("update-ref", "--stdin", stdin=orders.encode())

    def _seen(
        self, wanted: Sequence[str], present: Sequence[str]
    ) -> dict[str, Oid | None]:
        here = set(present)
        tips = {
            ref: self.reader.resolve(seen_ref(ref)) if ref in here else None
            for ref in wanted
        }
        gone = [seen_ref(ref) for ref in wanted if ref not in here]
        self._forget([name for name in gone if self.reader.resolve(name) is not None])
        return tips


def seen_ref(ref: str) -> str:
    """Where the hub keeps its copy of a ref of the remote."""
    return SEEN + ref.removeprefix("refs/")


def _slashes(name: str) -> list[int]:
    return [at for at, character in enumerate(name) if character == "/"]


def _refuse_damaged(refs: Mapping[str, Oid]) -> None:
    """An all-zero id is a ref file that a crash has emptied, not an absent ref."""
    for ref, oid in refs.items():
        if not oid.strip("0") and ref.startswith(_OWN_REFS):
            raise StateRefused(f"{ref} on the remote is damaged: it names no object")
