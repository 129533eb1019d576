"""How an attempt ends without a result."""

from __future__ import annotations

from percyd.core.reasons import Reason
from percyd.core.records import Usage, Verdict
from percyd.core.refs import Oid
from percyd.errors import PercydError


class AttemptFailed(PercydError):
    """The attempt has no result."""

    code = "attempt_failed"

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        commit: Oid | None = None,
        verdict: Verdict | None = None,
    ) -> None:
        super().__init__(message or str(reason))
        self.reason = reason
        self.commit = commit
        self.verdict = verdict
        self.usage: Usage | None = None
        self.session: str | None = None


class GateRefused(AttemptFailed):
    """The gate has looked at a tree, and does not let it pass.

    ``tip`` is what the work was merged with, ``tree`` what came of it, and ``tail`` the
    end of what the gate printed.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        verdict: Verdict,
        *,
        tip: Oid,
        tree: Oid,
        tail: str,
    ) -> None:
        super().__init__(reason, message, verdict=verdict)
        self.tip = tip
        self.tree = tree
        self.tail = tail


class Interrupted(PercydError):
    """percyd is stopping: nothing more is published for this claim."""

    code = "interrupted"
