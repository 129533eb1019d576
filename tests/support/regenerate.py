"""Writes what is generated below docs/: ``python -m tests.support.regenerate``.

A test fails while the files and the code differ.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from percyd.core.schemas import edge_table_markdown, reason_table_markdown, schemas

FOLDER = Path(__file__).parents[2] / "docs" / "state-format"


def generated(folder: Path = FOLDER) -> dict[Path, str]:
    """What each file should hold; the README's own words are taken as they are."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8")
    text = between_markers(text, "edges", edge_table_markdown())
    text = between_markers(text, "reasons", reason_table_markdown())
    return {
        readme: text,
        **{
            folder / name: json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
            for name, schema in schemas().items()
        },
    }


def between_markers(text: str, name: str, content: str) -> str:
    """``text`` with what lies between the two markers of ``name`` replaced."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    replaced, count = pattern.subn(lambda _: f"{begin}\n{content}\n{end}", text)
    if count != 1:
        raise ValueError(f"{begin} ... {end} is there {count} times, not once")
    return replaced


def main() -> None:
    """Write the files."""
    from tests.support import reference

    for path, text in {**generated(), **reference.generated()}.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
