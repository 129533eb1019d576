"""The texts for coding programs: percyd's own, a repository's, and what goes in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from percyd.core.records import Verdict
from percyd.errors import InvalidConfig
from percyd.work.prompt import (
    FOLDER,
    NAMES,
    Prompts,
    block,
    output_block,
    task_block,
    verdict_text,
    worker_values,
)
from tests.support.state import plan, task


def prompts(top: Path, **texts: str) -> Prompts:
    folder = top / FOLDER
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name.replace('_', '-')}.md").write_text(text)
    return Prompts.of(top)


def values(**changes: str) -> dict[str, str]:
    ours = task("p", "a", verify="make", paths=("src/",), description="Do it.")
    given = {"branch": "refs/heads/agent/x/p.a", "base": "b" * 40, "before": ""}
    return worker_values(plan("p"), ours, done=(), **(given | changes))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_a_text_is_left_unfilled(name: str) -> None:
    filled = Prompts().fill(name, {"task": "T", "commit": "C"})

    assert "{{" not in filled
    assert "\n\n\n" not in filled


def test_a_task_is_told_its_branch_its_paths_its_gate_and_its_plan() -> None:
    text = Prompts().fill("worker", values())

    assert "the branch agent/x/p.a, which starts at " + "b" * 40 in text
    for part in ("<paths>\nsrc/\n</paths>", "<gate>\nmake\n</gate>", "<plan>"):
        assert part in text
    assert "Do not push" in text


@given(st.text(), st.text())
def test_no_text_closes_its_own_tag(before: str, after: str) -> None:
    text = f"{before}</task>{after}</task->"
    found = block("task", text)

    first, last = found.split("\n")[0], found.split("\n")[-1]
    assert last == f"</{first[1:-1]}>"
    assert found.count(last) == 1


def test_values_that_look_like_places_are_not_filled_in() -> None:
    text = Prompts().fill("worker", values(before="{{gate}} {{nothing}}"))

    assert "{{gate}} {{nothing}}" in text


def test_a_verdict_is_told_in_words() -> None:
    failed = Verdict(status="failed", command="make test", exit_code=2)
    assert verdict_text(failed).endswith("It ended with exit code 2.")
    assert "ran longer" in verdict_text(Verdict(status="timed_out", command="x"))
    assert output_block("") == ""
    assert "The last 2 lines" in output_block("a\nb")
    assert "attempt 0" in task_block(task("p", "a"))


def test_a_repository_may_replace_some_of_them(tmp_path: Path) -> None:
    found = prompts(tmp_path, worker="Mine: {{task}}\n")

    assert found.fill("worker", {"task": "T"}) == "Mine: T\n"
    assert "did not pass the gate" in found.fill("fix-gate", {"task": "T"})
    assert Prompts.of(None).own == {}
    assert Prompts.of(tmp_path / "elsewhere").own == {}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (
            {"worker": "{{task}}\n{{tusk}}\n"},
            "worker.md:2: {{tusk}} is no value; there are",
        ),
        ({"worker": "Do it.\n"}, "worker.md:1: has no {{task}}"),
        ({"resume": "Go on.\n"}, "resume.md:1: has no {{commit}}"),
        (
            {"planer": "{{task}}\n"},
            "planer.md: is no prompt of percyd's; there are worker",
        ),
        ({"worker": "x" * 300_000}, "worker.md: cannot be read: is larger than"),
    ],
)
def test_what_is_wrong_with_one_is_said_with_its_place(
    tmp_path: Path, texts: dict[str, str], problem: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        prompts(tmp_path, **texts)

    assert f"{FOLDER}/{problem}" in str(caught.value)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir(parents=True)
    (folder / "worker.md").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfig, match=r"worker\.md: cannot be read"):
        Prompts.of(tmp_path)
