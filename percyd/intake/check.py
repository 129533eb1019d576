"""A document on its own: every problem, without a repository or a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from percyd.core.document.names import plan_id_of
from percyd.core.document.parse import Parsed, Problem, parse


@dataclass(frozen=True, slots=True)
class Checked:
    """One checked document."""

    file: str
    plan: str
    parsed: Parsed
    problems: Sequence[Problem]

    @property
    def words(self) -> str:
        """What a good document comes to."""
        document = self.parsed.document
        if document is None or document.tasks is None:
            return f"plan {self.plan}, prose: it waits for an agent that breaks it into tasks"
        count = len(document.tasks)
        return f"plan {self.plan}, {count} task{'s' * (count != 1)}"

    def as_json(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "file": self.file,
            "plan": self.plan,
            "ok": not self.problems,
            "problems": [
                {"line": p.line, "field": p.field, "text": p.text}
                for p in self.problems
            ],
        }


def check_document(name: str, content: bytes, configured: str | None) -> Checked:
    """Check a document as it would be taken in; ``-`` has no name to take an id from."""
    plan, problem = ("-", None) if name == "-" else plan_id_of(PurePath(name).name)
    parsed = parse(name, content)
    problems = [*parsed.problems, *parsed.missing_runner(configured)]
    if problem:
        problems.insert(0, Problem(name, 1, "id", problem))
    return Checked(name, plan, parsed, problems)
