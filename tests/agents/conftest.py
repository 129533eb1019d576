"""The real coding agents: run by ``tests/run --agents``, which installs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.crew import Crew

#: The agents to try, by name; without them there is nothing to collect here.
NAMES = [name for name in os.environ.get("PERCYD_AGENTS", "").split(",") if name]
if not NAMES:
    collect_ignore_glob = ["test_*.py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test is run once for each agent that it is for."""
    if "agent" in metafunc.fixturenames:
        metafunc.parametrize("agent", NAMES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are for some agents only are not run for others."""
    items[:] = [item for item in items if _is_for(item)]


def _is_for(item: pytest.Item) -> bool:
    wanted = getattr(getattr(item, "function", None), "agents", None)
    spec = getattr(item, "callspec", None)
    return wanted is None or spec is None or spec.params.get("agent") in wanted


@pytest.fixture
def crew(agent: str, tmp_path: Path) -> Iterator[Crew]:
    """A repository whose tasks are done by an agent, and the model that it asks."""
    assert shutil.which(agent), f"{agent} is not installed: tests/run --agents {agent}"
    made = Crew(tmp_path, agent)
    with made.model.serving():
        yield made
