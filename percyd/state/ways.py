"""The commands with which a person mends the state branch, as they are to be typed.

None of them loses anything: each names the tip that it was made for, so that it does
nothing if somebody else has mended the branch meanwhile, and what it replaces is kept
under `REFUSED_REFS` where git can still read it.
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass
from pathlib import Path

from percyd.core.edges import Op
from percyd.core.ids import STATE_REF
from percyd.core.refs import Oid
from percyd.repo.runner import mask
from percyd.repo.values import PERCYD

#: Where a history that percyd has refused is kept when a good one takes its place.
REFUSED_REFS = "refs/percy/refused/"


@dataclass(frozen=True, slots=True)
class Ways:
    """Ways to mend the branch of one remote, from the hub, which has the objects."""

    hub: Path
    url: str

    def back(self, good: Oid) -> str:
        """Push a tip where the branch is behind it, or is not there: a fast-forward."""
        return self._push(f"{good}:{STATE_REF}")

    def over(self, seen: Oid, good: Oid) -> str:
        """Put a tip in the place of another history, which is kept."""
        return self._push(
            f"{good}:{STATE_REF}",
            f"{seen}:{REFUSED_REFS}{seen[:12]}",
            options=("--atomic", f"--force-with-lease={STATE_REF}:{seen}"),
        )

    def instead(self, seen: Oid, good: Oid) -> str:
        """Put a tip in the place of one that cannot be read.

        As long as git finds no commit there it takes nothing but a deletion.
        """
        lease = f"--force-with-lease={STATE_REF}:{seen}"
        gone = self._push(f":{STATE_REF}", options=(lease,))
        return f"{gone} && {self.back(good)}"

    def forward(self, bad: Oid, good: Oid) -> str:
        """Go on from a tip that does not decode with the files of one that does."""
        op_id = hashlib.sha256(f"{bad} {good}".encode()).hexdigest()[:32]
        message = (
            f"{Op.REPAIR}: the files of {good[:10]}\\n\\n"
            f"Percy-Operation: {Op.REPAIR}\\nPercy-Op-Id: {op_id}\\n"
        )
        who = ("-c", f"user.name={PERCYD.name}", "-c", f"user.email={PERCYD.email}")
        make = self._git(*who, "commit-tree", "-p", bad, f"{good}^{{tree}}")
        push = self._push()
        return f"{push} \"$(printf '{message}' | {make}):{STATE_REF}\""

    def ref_file(self, git_dir: Path, good: Oid) -> str:
        """Put the damaged file of a ref aside, in a remote that is a folder here."""
        move = ["mv", str(git_dir / STATE_REF), str(git_dir / "percy-state.damaged")]
        return f"{shlex.join(move)} && {self.back(good)}"

    def anew(self) -> str:
        """Put a damaged hub aside; the next command makes another."""
        return shlex.join(["mv", str(self.hub), f"{self.hub}.damaged"])

    def _push(self, *specs: str, options: tuple[str, ...] = ()) -> str:
        return self._git("push", *options, mask(self.url), *specs)

    def _git(self, *words: str) -> str:
        return shlex.join(["git", f"--git-dir={self.hub}", *words])
