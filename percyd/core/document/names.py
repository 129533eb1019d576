"""Which files are plans, and the id that a file's name gives: without reading any."""

from __future__ import annotations

from typing import Final, Literal

from percyd.core.document.nodes import shown
from percyd.core.ids import document_id_problem, slug

#: Where plan files lie, from the top of a work tree.
FOLDER: Final = ".percy/plans"

Extension = Literal["md", "yaml", "yml", "json", "toml"]
EXTENSIONS: Final[tuple[Extension, ...]] = ("md", "yaml", "yml", "json", "toml")


def plan_id_of(filename: str) -> tuple[str, str | None]:
    """The plan id that a file's name gives, and what is wrong with it or None."""
    stem, dot, ending = filename.rpartition("/")[2].rpartition(".")
    if not dot or ending not in EXTENSIONS:
        stem = filename.rpartition("/")[2]
    stem = stem.removesuffix(".plan")
    problem = document_id_problem(stem)
    if problem is None:
        return stem, None
    offer = f"name the file '{slug(stem[:200])}' instead, with the same ending"
    return stem, f"{shown(stem)} {problem}; {offer}"


def is_plan_file(name: str) -> bool:
    """Whether a file of this name, in the folder of plans, is a plan."""
    stem, dot, ending = name.rpartition(".")
    if not dot or ending not in EXTENSIONS or "/" in name or name.startswith("."):
        return False
    return not name.startswith("README") and stem.lower() != "readme"
