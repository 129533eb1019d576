"""What the verification finds, and what it needs of a remote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from percyd.core.document.problems import escaped
from percyd.core.refs import Oid

_PATH_LENGTH = 300
_WHAT_LENGTH = 500

#: A file (or ref, or "" for the commit itself) and what is wrong with it.
Finding = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that the format or the protocol does not allow.

    ``path`` is the file, a full ref name, or empty for the commit itself. Both texts are
    made printable and cut: whoever pushed by hand may have put anything there.
    ``mended_by`` is the later repair that has put it right; the violation stays in the
    history.
    """

    commit: Oid
    path: str
    what: str
    mended_by: Oid | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", escaped(self.path, _PATH_LENGTH))
        object.__setattr__(self, "what", escaped(self.what, _WHAT_LENGTH))

    def __str__(self) -> str:
        mended = f" (mended by {self.mended_by[:12]})" if self.mended_by else ""
        return f"{self.commit[:12]} {self.path or '(commit)'}: {self.what}{mended}"

    def as_json(self) -> dict[str, Any]:
        """The violation as one JSON document."""
        return {
            "commit": self.commit,
            "path": self.path,
            "what": self.what,
            "mended_by": self.mended_by,
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """How many commits were judged, and every violation in them, oldest first."""

    commits: int
    violations: tuple[Violation, ...]

    @property
    def is_mended(self) -> bool:
        """Whether a later repair has put right whatever was wrong."""
        return all(violation.mended_by for violation in self.violations)

    def as_json(self) -> dict[str, Any]:
        """The report as one JSON document."""
        found = [violation.as_json() for violation in self.violations]
        return {"commits": self.commits, "violations": found}


class RemoteRefs(Protocol):
    """The remote's refs, for what the state says of them; a `Hub` is one."""

    def ls_remote(self, *patterns: str) -> Mapping[str, Oid]:
        """The refs that match, by full name."""
        ...

    def fetch_refs(self, refs: Sequence[str]) -> Mapping[str, Oid | None]:
        """The tips of exactly these full refs, their objects here."""
        ...
