"""The documentation: what is made from the code is new, and what it says works."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
import yaml

from percyd.config import load, template
from percyd.core.document.parse import parse
from tests.support import reference
from tests.support.handbook import DOCS, PROJECT, Reader, difference, steps

GUIDES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^ *```(\S*)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")

#: Where a guide of howto/ begins: a clone and its remote, ...
_SHOP = """\
git init --quiet --bare shop.git
git clone --quiet shop.git shop
cd shop
echo "Tea, bread and jam" > menu.txt
git add .
git commit --quiet -m "Open the shop"
git push --quiet origin main
"""
#: ... and percyd, but in the one that sets it up.
_SET_UP = """\
percyd init --no-hooks
git add .percy
git commit --quiet -m "Set up percyd"
git push --quiet
"""


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A reader in a home of their own, with the settings of git that tests have."""
    home = tmp_path / "home"
    home.mkdir()
    return Reader(home.resolve())


@pytest.mark.parametrize("path", reference.generated(), ids=lambda path: path.name)
def test_the_reference_is_what_the_code_says(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == reference.generated()[path], (
        "run python -m tests.support.regenerate"
    )


def test_every_command_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")

    for command in ("percyd serve", "percyd plan land", "percyd hook install"):
        assert f"# `{command}`\n" in text
    assert "hook intake" not in text  # nobody types it
    assert "--ready-fd" not in text


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.stem)
def test_a_guide_does_what_it_says(
    page: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(reader.home))
    state = reader.home / ".local" / "state" / "percyd"
    monkeypatch.setenv("PERCYD_STATE_DIR", str(state))

    if page.stem != "tutorial":
        reader.begin(_SHOP if page.stem == "add" else _SHOP + _SET_UP)
    text = page.read_text(encoding="utf-8")
    try:
        wrong = {
            f"{page.name}:{step.line}": found
            for step, printed in reader.follow(text)
            if step.shown is not None and (found := difference(step.shown, printed))
        }
    finally:
        _end_daemons(state)

    assert wrong == {}


def _end_daemons(state: Path) -> None:
    """A guide ends what it starts; one that fails halfway does not."""
    for lock in state.glob("*/locks/daemon.lock"):
        try:
            daemon = psutil.Process(int(lock.read_text() or 0))
            if daemon.environ().get("PERCYD_STATE_DIR") == str(state):
                daemon.kill()
        except (psutil.Error, ValueError):
            continue  # gone, and its number may be another's


def test_blocks_that_are_not_run_are_the_exception() -> None:
    for page in GUIDES:
        text = page.read_text(encoding="utf-8")
        run = len(steps(text))
        assert run > 0
        assert text.count("\n```console\n") < run, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_a_page_has_a_title_and_names_the_kind_of_each_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert text.startswith("# ")
    assert FENCE.findall(text)[1::2] == [""] * (len(FENCE.findall(text)) // 2)


def test_every_page_is_in_the_navigation() -> None:
    settings = yaml.safe_load((PROJECT / "mkdocs.yml").read_text(encoding="utf-8"))

    def named(entries: object) -> list[str]:
        if isinstance(entries, str):
            return [entries]
        if isinstance(entries, dict):
            entries = list(entries.values())
        assert isinstance(entries, list)
        return [name for entry in entries for name in named(entry)]

    pages = [str(page.relative_to(DOCS)) for page in PAGES]
    assert sorted(named(settings["nav"])) == sorted(pages)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_of_the_front_pages_lead_somewhere(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    targets = [link for link in LINK.findall(text) if "://" not in link]

    assert [link for link in targets if not (PROJECT / link).exists()] == []


def test_output_is_compared_as_a_reader_would() -> None:
    shown = (
        "12:00:01 started a by laptop-3fa9c1\n12:00:01 started b\nat 1234567 ... end\n"
    )
    printed = (
        "13:00:00  started b\n13:00:00 started a by laptop-ffffff\nat abcdef0 x end\n"
    )

    assert difference(shown, printed) == []
    assert difference("a\nb\n", "b\n") == ["is not printed: a"]
    assert difference("b\n", "a\nb\n") == ["is not shown: a"]
    assert difference("...\nb\n", "a\nb\n") == []


def test_steps_are_read_in_order_with_what_they_print() -> None:
    page = "# P\n\n```sh\none\n```\n\n```console\nno\n```\n\n```sh\ntwo\n```\n\n```text\n2\n```\n"

    assert [(s.line, s.script, s.shown) for s in steps(page)] == [
        (3, "one\n", None),
        (11, "two\n", "2\n"),
    ]


def test_the_line_that_the_page_on_configuration_names_is_that_of_a_new_file() -> None:
    lines = template("main", {}).splitlines()
    (number,) = (n for n, row in enumerate(lines, 1) if row.startswith("base = "))

    page = (DOCS / "config.md").read_text(encoding="utf-8")

    assert f".percy/config.toml:{number}\n" in page


def test_what_the_page_on_agents_writes_down_is_accepted() -> None:
    text = (DOCS / "agents.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```(toml|yaml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    settings = [content for kind, content in blocks if kind == "toml"]
    first, second = (content for kind, content in blocks if kind == "yaml")

    assert len(settings) == 2
    for content in settings:
        load(content.encode(), None, {}, {})
    for content in (first, first + second):
        parsed = parse("cart.yaml", content.encode())
        assert parsed.document is not None, parsed.problems
        assert parsed.document.tasks
