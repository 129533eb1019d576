"""Rewrites the modules of a package, and counts what was rewritten.

The acceptance tests commit this file into the repository that they work on, and every
task of the plan runs it: `python3 tools/codemods.py COMMAND ARGUMENTS`.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from pathlib import Path

LIB = Path("lib/click")
HEADER = "# Part of click. See the licence.\n"
REVIEWED = "\n#: Somebody has read this module.\n__reviewed__ = True\n"


def modules(names: list[str]) -> list[Path]:
    """The named modules, or those that match a pattern."""
    return sorted({path for name in names for path in LIB.glob(f"{name}.py")})


def header(*names: str) -> None:
    """Put a comment on top."""
    for path in modules(list(names)):
        path.write_text(HEADER + path.read_text(encoding="utf-8"), encoding="utf-8")


def reviewed(*names: str) -> None:
    """Put a mark at the end."""
    for path in modules(list(names)):
        path.write_text(path.read_text(encoding="utf-8") + REVIEWED, encoding="utf-8")


def rename(old: str, new: str) -> None:
    """Rename a helper wherever it is used."""
    for path in modules(["*"]):
        text = path.read_text(encoding="utf-8")
        changed = re.sub(rf"\b{old}\b", new, text)
        if changed != text:
            path.write_text(changed, encoding="utf-8")


def inventory() -> None:
    """Write a module that lists the public functions of all others."""
    public = {
        path.stem: [
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        ]
        for path in modules(["[a-z]*"])
    }
    target = LIB / "inventory.py"
    target.write_text(f'"""Public functions."""\n\nPUBLIC = {public!r}\n', "utf-8")


def report() -> None:
    """Write what the rewritten package looks like."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in modules(["*"])}
    whole = "\n".join(texts.values())
    rows = {
        "modules": len(texts),
        "headers": sum(text.startswith(HEADER) for text in texts.values()),
        "reviewed": sum(text.endswith(REVIEWED) for text in texts.values()),
        "_posixify": len(re.findall(r"\b_posixify\b", whole)),
        "_posix_form": len(re.findall(r"\b_posix_form\b", whole)),
        "_build_prompt": len(re.findall(r"\b_build_prompt\b", whole)),
        "_prompt_text": len(re.findall(r"\b_prompt_text\b", whole)),
        "inventory": int("inventory.py" in texts),
    }
    lines = "".join(f"{name}: {count}\n" for name, count in rows.items())
    Path("REPORT.md").write_text(lines, encoding="utf-8")


COMMANDS: dict[str, Callable[..., None]] = {
    "header": header,
    "reviewed": reviewed,
    "rename": rename,
    "inventory": inventory,
    "report": report,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
