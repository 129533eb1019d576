"""Plan documents: one schema in four syntaxes, checked with every problem at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from percyd.core.document import fields
from percyd.core.document.formats import extension_of, read
from percyd.core.document.names import Extension
from percyd.core.document.nodes import Node, join
from percyd.core.document.problems import Problem, Report, Unreadable
from percyd.core.document.reading import DOCUMENT, read_document
from percyd.core.records import Budget, Land, TaskType

__all__ = [
    "Document",
    "DocumentDefaults",
    "DocumentTask",
    "Parsed",
    "Problem",
    "json_schema",
    "parse",
]

#: A shell command; False: no gate; None: nothing is said, what is further out holds.
Gate = str | Literal[False] | None


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DocumentDefaults(_Value):
    """What a task of the plan has where it says nothing itself."""

    runner: str | None = None
    specialization: tuple[str, ...] | None = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    review: bool | None = None
    verify: Gate = None


class DocumentTask(_Value):
    """One task, as it is written; None where it says nothing."""

    id: str
    title: str
    description: str | None = None
    type: TaskType = "implement"
    runner: str | None = None
    run: str | None = None
    specialization: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    priority: int = 0
    verify: Gate = None
    timeout_s: float | None = None
    max_attempts: int | None = None
    review: bool | None = None
    allow_empty: bool | None = None


class Document(_Value):
    """A plan as it is written; ``tasks`` None: in prose, an agent breaks it down."""

    title: str
    description: str | None = None
    status: Literal["ready", "draft"] = "ready"
    base: str | None = None
    verify: Gate = None
    land: Land | None = None
    review_plan: bool = False
    defaults: DocumentDefaults | None = None
    budget: Budget | None = None
    tasks: tuple[DocumentTask, ...] | None = None


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was found in a file: a document, or problems."""

    name: str
    extension: Extension
    document: Document | None
    problems: tuple[Problem, ...]
    _root: Node | None = None

    def problem_at(self, text: str, *path: str | int) -> Problem:
        """A problem that only the caller can see, with the line of a value.

        Args:
            text: What is wrong; what is allowed.
            path: The way to the value: ``"tasks", 3, "runner"``. Where that is not in
                the document, the line is that of the nearest value around it.
        """
        node, field = self._root, ""
        line = 1
        for step in path:
            field = join(field, step)
            node = _child(node, step)
            line = node.line if node else line
        return Problem(self.name, line, field, text)

    def missing_runner(self, configured: str | None) -> list[Problem]:
        """The tasks that neither name a runner or command nor get a runner.

        A prose plan has none yet: it is taken in and waits for an agent that plans.

        Args:
            configured: The configuration's default runner.
        """
        document = self.document
        if document is None or document.tasks is None or configured is not None:
            return []
        if document.defaults is not None and document.defaults.runner is not None:
            return []
        return [
            self.problem_at(_NO_RUNNER, "tasks", index, "runner")
            for index, task in enumerate(document.tasks)
            if task.run is None and task.runner is None
        ]


_NO_RUNNER = (
    "missing, and no default runner is configured; name a runner, here or as "
    "runner in .percy/config.toml, or give a command as run"
)


def _child(node: Node | None, step: str | int) -> Node | None:
    if node is None:
        return None
    if isinstance(node.value, dict) and isinstance(step, str):
        return node.value.get(step)
    if isinstance(node.value, list) and isinstance(step, int):
        return node.value[step] if step < len(node.value) else None
    return None


def parse(name: str, data: bytes) -> Parsed:
    """Read a plan document and find everything that is wrong with it.

    Args:
        name: The file's name or path, as it is to stand in problems; its ending tells
            the format, else the content does.
        data: The content.
    """
    extension = extension_of(name, data)
    report = Report(name)
    root: Node | None = None
    values: dict[str, Any] = {}
    try:
        root = read(extension, data, report)
        values = read_document(root, report)
    except Unreadable as fault:
        report.stop(fault)
    problems = tuple(sorted(report.problems, key=lambda problem: problem.line))
    parsed = Parsed(name, extension, None, problems, root)
    return parsed if problems else replace(parsed, document=Document(**values))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a document, whatever its syntax.

    It cannot say everything: ids, dependencies and texts have rules beyond it.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "percyd plan document",
        **fields.mapping_schema(DOCUMENT),
    }
