"""docs/dependencies.md names what pyproject.toml asks for, no more and no less."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ROW = re.compile(
    r"^\| (?P<package>[A-Za-z0-9._-]+) \| (?P<why>[^|]+) \| (?P<instead>[^|]+) \|$"
)
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["project"]
    assert isinstance(table, dict)
    return table


def names(requirements: list[str]) -> list[str]:
    """The packages' names, without versions."""
    return [NAME.findall(requirement)[0] for requirement in requirements]


def documented(section: str, text: str | None = None) -> list[str]:
    """The packages in the table of a section, in its order."""
    text = text or (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    _, _, after = text.partition(f"\n## {section}\n")
    lines = after.partition("\n## ")[0].splitlines()
    rows = [line for line in lines if line.startswith("|")][2:]
    matches = [(row, ROW.match(row)) for row in rows]
    assert [row for row, match in matches if match is None] == []
    return [match["package"] for _, match in matches if match]


def test_every_core_dependency_says_why_it_is_there() -> None:
    assert documented("Core") == names(project()["dependencies"])


def test_every_extra_says_why_it_is_there() -> None:
    extras = project()["optional-dependencies"]
    wanted = [
        name
        for extra, requirements in extras.items()
        if extra != "dev"
        for name in names(requirements)
    ]

    assert documented("Extras") == wanted


def test_every_development_dependency_says_why_it_is_there() -> None:
    assert documented("Development") == names(project()["optional-dependencies"]["dev"])


def test_the_tables_are_read_as_they_are_written() -> None:
    table = "\n## A\n\n| package | why | instead |\n|---|---|---|\n| x-y | b | c |\n\n## B\n"

    assert documented("A", table) == ["x-y"]
    assert documented("B", table) == []
    assert names(["GitPython>=3.2.1", "a.b[c]~=1; python_version<'4'", "types-X"]) == [
        "GitPython",
        "a.b",
        "types-X",
    ]
