"""The shape of percyd's own source: who may import whom, docstrings, sizes.

Every rule is a function from a source tree to its violations. Each is run on percyd,
and on a made-up tree that breaks it, so that a rule that cannot fail is noticed.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PERCYD = Path(__file__).parents[1] / "percyd"

MODULE_LINES = 400
FUNCTION_LINES = 50

#: From the bottom up: a group may import the groups above it in this list. Groups on
#: one line never import each other.
LAYERS = (
    ("core",),
    ("repo",),
    ("state",),
    ("intake", "dispatch", "work", "views"),
    ("daemon",),
    ("web", "mcp"),
    # The command line starts the two other faces.
    ("cli",),
)
#: Group of each name under percyd/, where it is not the name itself.
GROUPS = {
    "runners": "work",
    "session": "daemon",
    "membership": "daemon",
    "life": "daemon",
    "outcome": "daemon",
    "lookout": "daemon",
    "hooking": "daemon",
    "demo": "daemon",
    "bench": "daemon",
    "doctor": "daemon",
    "__main__": "cli",
}
#: What everybody may import: no layer, nothing below it.
GROUND = frozenset({"", "clock", "errors", "failpoints", "threads"})
#: What is read once at the edge, and passed down as values.
EDGE = frozenset({"config", "config_text", "settings", "home", "parking"})
#: Layers that get such values passed and never ask for them.
BELOW_EDGE = frozenset({"core", "repo", "state"})
DOCUMENTED = frozenset({"core", "repo", "state"})
STDLIB_ONLY = "percyd.work.supervisor"


@dataclass(frozen=True)
class Module:
    """One source file."""

    name: str
    is_package: bool
    lines: int
    tree: ast.Module

    @property
    def group(self) -> str:
        """The part of percyd it belongs to; "" for percyd/__init__.py."""
        _, _, inner = self.name.partition(".")
        top = inner.partition(".")[0]
        return GROUPS.get(top, top)


Source = Mapping[str, Module]
Rule = Callable[[Source], list[str]]


def read_source(root: Path) -> Source:
    """Every module under ``root``, the folder of the package, by its full name."""
    modules = {}
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(
            name, is_package, len(text.splitlines()), ast.parse(text, str(path))
        )
    return modules


def imported_names(module: Module) -> Iterator[tuple[str, str | None]]:
    """(module, name from it or None) of every import, at any depth of the code."""
    package = module.name.split(".")
    if not module.is_package:
        package = package[:-1]
    for node in ast.walk(module.tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, None) for alias in names)
            case ast.ImportFrom(module=target, names=names, level=level):
                start = package[: len(package) - level + 1] if level else []
                base = ".".join([*start, *([target] if target else [])])
                yield from ((base, alias.name) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(target)), *_],
            ):
                yield target, None


def imports(module: Module, source: Source) -> set[str]:
    """The modules of percyd that ``module`` imports."""
    found = set()
    for base, name in imported_names(module):
        if base.partition(".")[0] != "percyd":
            continue
        submodule = f"{base}.{name}"
        found.add(submodule if submodule in source else base)
    return found


def group_of(name: str) -> str:
    """The group of a module by its name, whether the module is there or not."""
    return Module(name, False, 0, ast.Module([], [])).group


def may_import(importer: str, imported: str) -> bool:
    """Whether one group may import another."""
    if imported in GROUND or importer == imported:
        return True
    if importer in GROUND:
        return False
    if imported in EDGE:
        return importer not in BELOW_EDGE
    if importer in EDGE:
        return imported == "core"
    return level_of(imported) < level_of(importer)


def level_of(group: str) -> int:
    """The number of a group's layer."""
    return next(i for i, layer in enumerate(LAYERS) if group in layer)


def unplaced(source: Source) -> list[str]:
    """Modules that no layer knows."""
    known = {group for layer in LAYERS for group in layer} | GROUND | EDGE
    return [f"{m.name} is in no layer" for m in source.values() if m.group not in known]


def wrong_direction(source: Source) -> list[str]:
    """Imports against the layers."""
    stray = unplaced(source)
    return stray or [
        f"{module.name} imports {target}"
        for module in source.values()
        for target in sorted(imports(module, source))
        if not may_import(module.group, group_of(target))
    ]


def cycles(source: Source) -> list[str]:
    """One import cycle, if there is any; imports inside functions count too."""
    graph = {m.name: imports(m, source) - {m.name} for m in source.values()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def beyond_stdlib(source: Source) -> list[str]:
    """Imports of the supervisor that need anything but Python: it starts alone."""
    module = source.get(STDLIB_ONLY)
    if module is None:
        return []
    return [
        f"{module.name} imports {base}"
        for base, _ in imported_names(module)
        if base.partition(".")[0] not in sys.stdlib_module_names
    ]


def undocumented(source: Source) -> list[str]:
    """Public names of the lower layers without a docstring."""
    return [
        f"{module.name}{name} has no docstring"
        for module in source.values()
        if module.group in DOCUMENTED
        for name, node in public_names(module.tree)
        if not ast.get_docstring(node)
    ]


Documentable = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public_names(
    node: ast.Module | ast.ClassDef, prefix: str = ""
) -> Iterator[tuple[str, Documentable]]:
    """A module or class, and what is public in it."""
    yield prefix, node
    for child in node.body:
        match child:
            case ast.ClassDef(name=name) if not name.startswith("_"):
                yield from public_names(child, f"{prefix}.{name}")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                if not name.startswith("_") and not needs_none(child):
                    yield f"{prefix}.{name}", child


def needs_none(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Overloads and setters share the docstring of another function."""
    words = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
    return bool(words & {"overload", "setter", "deleter"})


def long_modules(source: Source) -> list[str]:
    """Modules that nobody can read in one go."""
    return [
        f"{module.name} has {module.lines} lines; {MODULE_LINES} are allowed"
        for module in source.values()
        if module.lines > MODULE_LINES
    ]


def long_functions(source: Source) -> list[str]:
    """Functions that do not fit a screen; docstring and signature count."""
    found = []
    for module in source.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    found.append(f"{module.name}.{node.name} has {lines} lines")
    return found


RULES: list[Rule] = [
    unplaced,
    wrong_direction,
    cycles,
    beyond_stdlib,
    undocumented,
    long_modules,
    long_functions,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_percyd_keeps_the_rule(rule: Rule) -> None:
    violations = rule(read_source(PERCYD))

    assert not violations, "\n".join(violations)


def test_the_source_is_found() -> None:
    source = read_source(PERCYD)

    assert {"percyd", "percyd.core.edges", "percyd.errors"} <= set(source)
    assert "percyd.core.ids" in imports(source["percyd.core.records"], source)


def made_up(root: Path, files: Mapping[str, str]) -> Source:
    """A source tree with these files, by their path below percyd/."""
    for name, text in {"__init__.py": "", **files}.items():
        path = root / "percyd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read_source(root / "percyd")


def test_a_module_in_no_layer_is_found(tmp_path: Path) -> None:
    source = made_up(tmp_path, {"helpers.py": "", "core/ids.py": ""})

    assert unplaced(source) == ["percyd.helpers is in no layer"]
    assert wrong_direction(source) == unplaced(source)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("core/a.py", "repo.b"),
        ("core/a.py", "config"),
        ("repo/a.py", "state.b"),
        ("repo/a.py", "home"),
        ("state/a.py", "views.b"),
        ("state/a.py", "settings"),
        ("state/a.py", "config_text"),
        ("intake/a.py", "dispatch.b"),
        ("dispatch/a.py", "work.b"),
        ("work/a.py", "views.b"),
        ("runners/a.py", "intake.b"),
        ("views/a.py", "runners.b"),
        ("views/a.py", "daemon"),
        ("work/a.py", "cli.b"),
        ("daemon.py", "web.b"),
        ("daemon.py", "__main__"),
        ("web/a.py", "cli.b"),
        ("web/a.py", "mcp.b"),
        ("mcp/a.py", "web.b"),
        ("config.py", "repo.b"),
        ("home.py", "state.b"),
        ("errors.py", "core.b"),
        ("clock.py", "config"),
        ("__init__.py", "core.b"),
    ],
)
def test_an_import_against_the_layers_is_found(
    tmp_path: Path, importer: str, imported: str
) -> None:
    target = imported.replace(".", "/") + ".py"
    name = f"percyd.{importer.removesuffix('.py')}".replace("/", ".")
    source = made_up(
        tmp_path, {target: "", importer: f"from percyd.{imported} import x\n"}
    )

    assert wrong_direction(source) == [
        f"{name.removesuffix('.__init__')} imports percyd.{imported}"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "import percyd.repo.git",
        "import percyd.repo.git as git",
        "from percyd import repo",
        "from percyd.repo import git",
        "from percyd.repo.git import run",
        "from percyd.repo.missing import run",
        "from ..repo import git",
        "from ..repo.git import run",
        "def f():\n    from percyd.repo import git",
        "if TYPE_CHECKING:\n    from percyd.repo import git",
        "importlib.import_module('percyd.repo.git')",
        "__import__('percyd.repo.git')",
    ],
)
def test_no_way_of_importing_is_overlooked(tmp_path: Path, line: str) -> None:
    source = made_up(
        tmp_path,
        {"repo/__init__.py": "", "repo/git.py": "", "core/a.py": f"{line}\n"},
    )

    assert len(wrong_direction(source)) == 1


def test_imports_along_the_layers_are_allowed(tmp_path: Path) -> None:
    source = made_up(
        tmp_path,
        {
            "core/a.py": "import json\nfrom percyd import __version__, clock\n",
            "core/b.py": "from . import a\nfrom percyd.errors import X\n",
            "errors.py": "",
            "clock.py": "from percyd.errors import X\n",
            "home.py": "from percyd.config import X\nfrom percyd.core import a\n",
            "config.py": "from percyd.core.a import X\n",
            "repo/a.py": "from percyd.core.a import X\n",
            "state/a.py": "from percyd.repo import a\nfrom percyd.core import b\n",
            "work/a.py": "from percyd import home\nfrom percyd.runners.a import X\n",
            "runners/a.py": "from percyd.work.b import X\n",
            "work/b.py": "",
            "daemon.py": "from percyd.work.a import X\nimport percyd.state.a\n",
            "web/a.py": "from percyd.daemon import X\n",
            "cli/a.py": "from percyd.web.a import X\nfrom percyd.daemon import X\n",
            "__main__.py": "from percyd.cli.a import X\n",
        },
    )

    assert [rule(source) for rule in (unplaced, wrong_direction, cycles)] == [[]] * 3


def test_a_cycle_is_found(tmp_path: Path) -> None:
    source = made_up(
        tmp_path,
        {
            "core/a.py": "from percyd.core.b import x\n",
            "core/b.py": "from percyd.core import c\n",
            "core/c.py": "def f():\n    from . import a\n",
        },
    )

    (cycle,) = cycles(source)
    assert {f"percyd.core.{name}" for name in "abc"} == set(cycle.split(" <- "))


@pytest.mark.parametrize("line", ["import psutil", "from percyd.errors import X"])
def test_a_supervisor_that_needs_more_than_python_is_found(
    tmp_path: Path, line: str
) -> None:
    source = made_up(tmp_path, {"work/supervisor.py": f"import os\n{line}\n"})

    assert beyond_stdlib(source) == [
        f"percyd.work.supervisor imports {line.split()[1]}"
    ]


def test_a_public_name_without_a_docstring_is_found(tmp_path: Path) -> None:
    text = (
        '"""Doc."""\n'
        "def open(): pass\n"
        "def _closed(): pass\n"
        "class Thing:\n"
        "    def method(self): pass\n"
        "    def __len__(self): return 0\n"
        "    @x.setter\n"
        "    def x(self, value): pass\n"
        "class _Inner:\n"
        "    def method(self): pass\n"
    )
    source = made_up(tmp_path, {"core/a.py": text, "state/b.py": "", "work/c.py": text})

    assert undocumented(source) == [
        "percyd.core.a.open has no docstring",
        "percyd.core.a.Thing has no docstring",
        "percyd.core.a.Thing.method has no docstring",
        "percyd.state.b has no docstring",
    ]


def test_a_long_module_is_found(tmp_path: Path) -> None:
    source = made_up(tmp_path, {"core/a.py": "#\n" * 400, "core/b.py": "#\n" * 401})

    assert long_modules(source) == ["percyd.core.b has 401 lines; 400 are allowed"]


def test_a_long_function_is_found(tmp_path: Path) -> None:
    text = "class A:\n    def f(self):\n" + "        x\n" * 49
    source = made_up(tmp_path, {"core/a.py": text, "core/b.py": text + "        x\n"})

    assert long_functions(source) == ["percyd.core.b.f has 51 lines"]
