"""A review approves, or has its findings mended and looked at once more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.records import Task
from tests.support.checker import check
from tests.support.shop import Shop
from tests.support.state import task
from tests.work.test_rounds import Bot


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def review(**fields: object) -> Task:
    values = {"type": "review", "run": None, "runner": "tool", "status": "blocked"}
    return task("p", "look", depends_on=("p.a",), **values | fields)


def statuses(shop: Shop) -> dict[str, str]:
    shop.store.refresh()
    tasks = shop.store.state.snapshot.plans["p"].tasks.values()
    return {each.id: each.status.value for each in tasks}


def work(shop: Shop, bot: Bot, times: int) -> list[str]:
    return [bot.run().id for _ in range(times)]


def test_an_approval_adds_nothing(shop: Shop, tmp_path: Path) -> None:
    bot = Bot(shop, tmp_path, "echo scribble > README.md; echo fine; echo approve")
    shop.take_in(task("p", "a", run="echo a > a.txt"), review())
    shop.run()

    done = bot.run()

    assert (done.status, done.result and done.result.summary) == (
        "completed",
        "approve",
    )
    assert statuses(shop) == {"p.a": "completed", "p.look": "completed"}
    assert shop.store.state.snapshot.plans["p"].record.status == "done"
    assert shop.file("README.md") == "hello"
    (told,) = bot.told
    assert "+a" in told
    assert "a.txt" in told


def test_what_it_finds_is_mended_by_the_author_and_reviewed_twice_at_most(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(
        shop,
        tmp_path,
        "echo one > one",
        "echo 'changes: write two'",
        "echo two > two",
        "echo 'changes: write three'",
        "echo three > three",
    )
    author = task("p", "a", run=None, runner="tool", paths=("src/",), verify="true")
    shop.take_in(author, review())

    assert work(shop, bot, 4) == ["p.a", "p.look", "p.look-fix", "p.look-again"]

    fix = shop.task("p.look-again-fix")
    assert (fix.type, fix.runner, fix.verify) == ("fix", "tool", "true")
    assert fix.description == "write three"
    first = shop.task("p.look-fix")
    assert (first.runner, first.verify, first.paths) == ("tool", "true", ("src/",))
    assert first.depends_on == ("p.look",)
    assert work(shop, bot, 1) == ["p.look-again-fix"]
    assert set(statuses(shop).values()) == {"completed"}
    assert len(statuses(shop)) == 5
    assert shop.store.state.snapshot.plans["p"].record.status == "done"
    assert shop.file("three") == "three"
    assert check(shop.remote) == []


def test_last_words_that_say_neither_are_no_review(shop: Shop, tmp_path: Path) -> None:
    bot = Bot(shop, tmp_path, "echo 'I think it is fine'")
    shop.take_in(task("p", "a", run="echo a > a.txt"), review())
    shop.run()

    back = bot.run()

    assert back.status == "submitted"
    assert back.reason is not None
    assert back.reason.code == "runner_failed"
    assert "neither approve nor changes" in back.reason.message
    assert "I think it is fine" in back.reason.message


def test_a_name_that_is_taken_gets_a_number(shop: Shop, tmp_path: Path) -> None:
    bot = Bot(shop, tmp_path, "echo 'changes: more'")
    shop.take_in(
        task("p", "a", run="echo a > a.txt"),
        review(),
        task("p", "look-fix", status="blocked", depends_on=("p.look",)),
    )
    shop.run()

    bot.run()

    assert "p.look-fix-2" in statuses(shop)
