"""The yardstick: one commit after the other, made and pushed with plain git."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from percyd.bench.values import Sample
from percyd.clock import Clock
from percyd.core.refs import Oid
from percyd.repo.runner import Git

_REF = "refs/heads/raw"


class RawLoop:
    """``git commit-tree`` and ``git push`` from a clone to a bare remote.

    With git's own defaults: nothing is synced to disk, nothing is leased, nothing is
    read first.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], clock: Clock) -> None:
        self._clock = clock
        self._remote = bare(folder / "raw.git", environ)
        self._clone = bare(folder / "raw-clone.git", environ)
        self._tree = self._clone.run("mktree", stdin=b"").text
        self._tip: Oid | None = None
        self.run(2)

    def run(self, count: int) -> list[float]:
        """Push so many commits; the milliseconds that each took."""
        taken = []
        for _ in range(count):
            started = self._clock.boot_s()
            self._push_one()
            taken.append((self._clock.boot_s() - started) * 1000)
        return taken

    def _push_one(self) -> None:
        parent = ["-p", self._tip] if self._tip else []
        made = self._clone.run(
            *("commit-tree", *parent, "-m", "one more", self._tree), extra_env=WHO
        )
        self._tip = made.text
        self._clone.run(
            *("push", "--quiet", "--", str(self._remote.git_dir)),
            f"{self._tip}:{_REF}",
            network=True,
        )


#: A name for commits.
WHO = {
    f"GIT_{role}_{what}": "bench"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def bare(path: Path, environ: Mapping[str, str]) -> Git:
    """A bare repository as git makes it, but for the clean-up that it would start."""
    git = Git(path, environ=environ)
    git.run("init", "--quiet", "--bare", "--template=", "--initial-branch=main")
    # It would run in the background, and outlive the folder.
    git.run("config", "receive.autogc", "false")
    return git


def beside(ms: float, raw: Sequence[float], count: float = 1) -> Sample:
    """A sample beside ``count`` raw pushes, of which some were measured."""
    return Sample(ms, statistics.median(raw) * count)
