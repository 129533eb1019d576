"""What is archived can still be looked at (DESIGN 8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.operations.archive import Retention
from percyd.core.operations.landing import Land
from percyd.dispatch.archiver import Archiver
from tests.support.newuser import percyd
from tests.support.shop import Shop
from tests.support.state import task


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def test_an_archived_plan_is_shown_from_its_archive(shop: Shop) -> None:
    shop.take_in(task("p", "a", run="echo mine > mine.txt"))
    shop.run()
    shop.store.apply(Land(shop.store.stamp(), "p", "main"))
    assert Archiver(shop.store, Retention(plans=0)).step() == 1
    assert "refs/heads/percy/plan/p" not in shop.refs()
    shown = percyd(shop.clone, "plan", "show", "p", "--json").document
    assert shown["result"]["landed_into"] == "main"
    assert [each["id"] for each in shown["tasks"]] == ["p.a"]
    assert "completed" in percyd(shop.clone, "task", "show", "p.a").out
    assert "+mine" in percyd(shop.clone, "task", "diff", "p.a").out
    assert "archive: p, done, 1 task" in percyd(shop.clone, "log", "p").out
    assert percyd(shop.clone, "status", "--json").document["plans"] == []
    assert "landed in main" in percyd(shop.clone, "status", "--all").out
    refused = percyd(shop.clone, "plan", "land", "p", code=2)
    assert "archived; percyd plan show p" in refused.err
