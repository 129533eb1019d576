"""The kinds of fields that a plan document has: how each is read, and its schema.

A reader gets a node that is not reported already, and not null if null is as good as
no value. It gives the value, or
reports what is wrong and gives None.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from percyd.core.document import rules
from percyd.core.document.nodes import BAD, Node, join, shown
from percyd.core.document.problems import Report
from percyd.core.graph import nearest
from percyd.core.ids import ID_PATTERN, document_id_problem, slug

#: The longest list, whatever it lists.
MAX_ITEMS = 20_000

Schema = dict[str, Any]
Rule = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of value."""

    read: Callable[[Node, str, Report], Any]
    schema: Schema
    required: bool = False
    #: Whether null is as good as no value.
    nullable: bool = True


def refuse(node: Node, path: str, report: Report, allowed: str) -> None:
    """Report a value that is not of the right type."""
    report.add(node.line, path, f"{shown(node.value)} is not allowed; {allowed}")


def text(rule: Rule, schema: Schema | None = None, *, required: bool = False) -> Field:
    """A text that keeps to a rule."""

    def read(node: Node, path: str, report: Report) -> str | None:
        if not isinstance(node.value, str):
            refuse(node, path, report, "give text, in quotes if need be")
            return None
        problem = rule(node.value)
        if problem:
            report.add(node.line, path, f"{shown(node.value)} {problem}")
        return node.value

    return Field(read, {"type": "string", **(schema or {})}, required)


def title() -> Field:
    """A title; blanks around it are dropped."""
    inner = text(rules.title_problem)

    def read(node: Node, path: str, report: Report) -> str | None:
        value = inner.read(node, path, report)
        return value.strip() if isinstance(value, str) else None

    schema = {"type": "string", "minLength": 1, "maxLength": rules.MAX_TITLE}
    return Field(read, schema, required=True)


def task_id() -> Field:
    """A task's short id."""

    def problem(value: str) -> str | None:
        found = document_id_problem(value)
        return f"{found}; for example '{slug(value[:200])}'" if found else None

    return text(problem, {"pattern": ID_PATTERN}, required=True)


def command() -> Field:
    """A shell command."""
    return text(rules.command_problem, {"minLength": 1})


def gate() -> Field:
    """A shell command, or false for no gate."""
    inner = command()

    def read(node: Node, path: str, report: Report) -> str | bool | None:
        if node.value is False:
            return False
        if isinstance(node.value, str):
            inner.read(node, path, report)
            return node.value
        refuse(node, path, report, "give a shell command, or false for no gate")
        return None

    return Field(read, {"anyOf": [inner.schema, {"const": False}]})


def boolean() -> Field:
    """True or false."""

    def read(node: Node, path: str, report: Report) -> bool | None:
        if isinstance(node.value, bool):
            return node.value
        refuse(node, path, report, "give true or false")
        return None

    return Field(read, {"type": "boolean"})


def integer(least: int, most: int) -> Field:
    """A whole number within bounds."""

    def read(node: Node, path: str, report: Report) -> int | None:
        value = node.value
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and least <= value <= most
        ):
            return value
        refuse(node, path, report, f"give a whole number from {least} to {most}")
        return None

    return Field(read, {"type": "integer", "minimum": least, "maximum": most})


def positive(most: float, unit: str) -> Field:
    """A number above zero."""

    def read(node: Node, path: str, report: Report) -> float | None:
        value = node.value
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 < value <= most
        ):
            return float(value)
        refuse(node, path, report, f"give {unit} above 0, up to {most:,.0f}")
        return None

    return Field(read, {"type": "number", "exclusiveMinimum": 0, "maximum": most})


def choice(meanings: Mapping[str, str]) -> Field:
    """One of several words; some may mean the same."""

    def read(node: Node, path: str, report: Report) -> str | None:
        value = node.value
        if isinstance(value, str) and value in meanings:
            return meanings[value]
        refuse(node, path, report, f"give {', '.join(meanings)}")
        return None

    return Field(read, {"enum": list(meanings)})


def listing(item: Field, example: str) -> Field:
    """A list; what is in it twice counts once."""

    def read(node: Node, path: str, report: Report) -> tuple[Any, ...] | None:
        if not isinstance(node.value, list):
            refuse(node, path, report, f"give a list, such as {example}")
            return None
        if len(node.value) > MAX_ITEMS:
            found = f"has {len(node.value):,} items; {MAX_ITEMS:,} are allowed"
            report.add(node.line, path, found)
            return None
        items = [
            item.read(child, join(path, index), report)
            for index, child in enumerate(node.value)
            if child.value is not BAD
        ]
        return tuple(dict.fromkeys(items))

    schema = {"type": "array", "items": item.schema, "maxItems": MAX_ITEMS}
    return Field(read, schema)


def capabilities() -> Field:
    """One capability or several, lowered."""

    def problem(value: str) -> str | None:
        return rules.capability_problem(value.lower())

    one = text(problem, {"pattern": rules.CAPABILITY_PATTERN.replace("a-z", "a-zA-Z")})
    several = listing(one, "[python]")

    def read(node: Node, path: str, report: Report) -> tuple[str, ...] | None:
        if isinstance(node.value, str):
            found = [one.read(node, path, report)]
        else:
            found = list(several.read(node, path, report) or ())
        return tuple(dict.fromkeys(name.lower() for name in found if name))

    return Field(read, {"anyOf": [one.schema, several.schema]})


def read_mapping(
    node: Node, fields: Mapping[str, Field], path: str, report: Report
) -> dict[str, Any]:
    """The values of a mapping whose keys are known."""
    if not isinstance(node.value, dict):
        refuse(node, path, report, f"give a mapping of {_some(fields)}")
        return {}
    values: dict[str, Any] = {}
    for key, child in node.value.items():
        field = fields.get(key)
        if field is None:
            report.add(child.key_line, join(path, key), _unknown(key, fields, report))
        elif child.value is not BAD and (child.value is not None or not field.nullable):
            values[key] = field.read(child, join(path, key), report)
    for key, field in fields.items():
        child = node.value.get(key, _ABSENT)
        if field.required and child.value is None:
            line = child.key_line or node.line
            report.add(line, join(path, key), "missing; it is required")
    return values


_ABSENT = Node(None, 0)


def _unknown(key: str, fields: Mapping[str, Field], report: Report) -> str:
    close = nearest(key, fields) if report.suggests else None
    if close is None:
        return f"is no known key; known are {_some(fields)}"
    return f"is no known key; did you mean {close}?"


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:8]) + (", ..." if len(names) > 8 else "")


def mapping(fields: Mapping[str, Field]) -> Field:
    """A mapping with keys of its own."""

    def read(node: Node, path: str, report: Report) -> dict[str, Any]:
        return read_mapping(node, fields, path, report)

    return Field(read, mapping_schema(fields))


def mapping_schema(fields: Mapping[str, Field]) -> Schema:
    """The JSON Schema of a mapping; what is not required may be null."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [key for key, field in fields.items() if field.required],
        "properties": {
            key: _or_null(field.schema)
            if field.nullable and not field.required
            else field.schema
            for key, field in fields.items()
        },
    }


def _or_null(schema: Schema) -> Schema:
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    if "enum" in schema:
        return {"enum": [*schema["enum"], None]}
    return {"anyOf": [*schema["anyOf"], {"type": "null"}]}
