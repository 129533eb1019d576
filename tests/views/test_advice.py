"""What a person is told to mend before a failed task is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from percyd.core.reasons import Reason
from percyd.core.records import Attempt, Source, Why
from percyd.core.snapshot import Entry, build
from percyd.views.advice import first_mend
from percyd.views.status import cluster_status
from tests.cli.test_render import NOW
from tests.support.state import plan, task

FILE = Source(kind="file", path=".percy/plans/shop.yaml")


def advice(code: Reason, source: Source = FILE, **fields: Any) -> str | None:
    failed = {"status": "failed", "reason": Why(code=code, message="no")}
    tasks: list[Entry] = [task("shop", "a", **failed | fields)]
    found = cluster_status("a" * 40, NOW, build([plan("shop", source=source), *tasks]))
    return first_mend(found["tasks"][0], found["plans"][0])


def test_a_gate_that_cannot_run_is_mended_in_the_plans_file() -> None:
    said = advice(Reason.GATE_BROKEN)

    assert said == "mend verify in .percy/plans/shop.yaml, commit it"
    assert advice(Reason.GATE_BROKEN, Source(kind="cli")) is None


def test_a_conflict_with_the_base_is_mended_by_a_merge() -> None:
    last = Attempt(
        number=3,
        agent="box-000001",
        claim="c" * 32,
        outcome="failed",
        reason=Why(code=Reason.CONFLICT, message="in a.txt"),
    )

    said = advice(Reason.ATTEMPTS_EXHAUSTED, type="land", attempts=(last,))

    assert said == "merge percy/plan/shop into main by hand, push it"
    assert advice(Reason.ATTEMPTS_EXHAUSTED, attempts=(last,)) is None


@pytest.mark.parametrize("code", [Reason.GATE_FAILED, Reason.RUNNER_FAILED])
def test_a_reason_that_says_it_all_gets_no_advice(code: Reason) -> None:
    assert advice(code) is None
