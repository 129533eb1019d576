"""`verify` and the checker find what is wrong with landings, and nothing in honest ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from percyd.core.ids import STATE_REF
from percyd.core.operations.landing import Land
from percyd.repo.values import NewCommit
from percyd.state import codec
from tests.support.checker import check
from tests.support.state import Bench, GitRemote, plan, task
from tests.support.verified import verified

MAIN = "refs/heads/main"
PLAN = "plans/p/plan.json"
Json = dict[str, Any]


class Story:
    """Plan ``p`` is done; plan ``q`` had its base merged by land-1 and is done too."""

    def __init__(self, remote: GitRemote, number: int = 0) -> None:
        self.remote = remote
        self.bench = Bench(remote, number)

    def tell(self) -> None:
        """From the beginning."""
        remote, bench = self.remote, self.bench
        bench.start()
        remote.refs[MAIN] = bench.base(readme="x")
        for name in ("p", "q"):
            record = plan(name, base=remote.refs[MAIN])
            bench.take_in(record, task(name, "a"))
            bench.do(f"{name}.a")
        self.move_main("other")
        self.land("q")
        (claimed,) = bench.claim()
        bench.work(claimed)
        branch = "refs/heads/percy/plan/q"
        merged = bench.backend.merge(
            remote.refs[branch], remote.refs[MAIN], "merge", bench.clock.now()
        )
        bench.complete(claimed, merged.commit)  # type: ignore[union-attr]

    def move_main(self, name: str) -> str:
        tip = self.remote.refs[MAIN]
        files = self.remote.commits[tip].files.set(name, b"y")
        self.remote.refs[MAIN] = self.remote.commit([tip], files, "by hand")
        return self.remote.refs[MAIN]

    def land(self, name: str) -> None:
        self.bench.store.apply(Land(self.bench.store.stamp(), name, "main"))

    def record(self, path: str) -> Json:
        files = self.remote.commits[self.remote.refs[STATE_REF]].files
        found: Json = json.loads(files[path])
        return found

    def commit(self, op: str, changes: dict[str, Json], *tasks: str) -> None:
        """A commit that nobody but a test would make."""
        named = [("Percy-Task", name) for name in tasks]
        named += [("Percy-Attempt", "0") for _ in tasks]
        text = codec.message(op, "by hand", self.bench.store.token(), tuple(named))
        files = {path: codec.canonical(record) for path, record in changes.items()}
        commit = NewCommit(text, self.bench.clock.now(), files)
        tip = self.remote.refs[STATE_REF]
        (oid,) = self.bench.backend.write(tip, [commit])
        self.remote.refs["refs/test/x"] = tip
        self.bench.backend.hub.git.run(  # type: ignore[attr-defined]
            "push", "-q", str(self.remote.git.git_dir), f"{oid}:{STATE_REF}"
        )
        del self.remote.refs["refs/test/x"]

    def found(self) -> tuple[str, str]:
        """What `verify` and what the checker say."""
        report = verified(self.remote.git.git_dir)
        assert report is not None
        told = "\n".join(map(str, report.violations))
        return told, "\n".join(check(self.remote.git.git_dir))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The story on a remote, to be copied and spoiled."""
    remote = GitRemote(tmp_path_factory.mktemp("model"))
    Story(remote).tell()
    remote.close()
    return remote.git.git_dir


@pytest.fixture
def story(model: Path, tmp_path: Path) -> Iterator[Story]:
    shutil.copytree(model, tmp_path / model.name)
    remote = GitRemote(tmp_path)
    copied = Story(remote, 1)  # its op ids are its own
    copied.bench.store.refresh()
    yield copied
    remote.close()


def test_an_honest_landing_is_clean_also_when_its_branch_is_gone(story: Story) -> None:
    story.land("q")
    assert story.found() == ("", "")
    del story.remote.refs["refs/heads/percy/plan/q"]
    story.move_main("later")
    assert story.found() == ("", "")
    # A base branch that nobody has any more says nothing.
    kept = story.remote.refs.pop(MAIN)
    story.remote.refs["refs/heads/trunk"] = kept
    assert story.found()[1] == ""


def landed_at(story: Story, landed: str, **result: str) -> None:
    record = story.record("plans/q/plan.json")
    to = {"landed_commit": landed, "landed_into": "main", **result}
    record["result"] = {**record["result"], **to}
    story.commit("land", {"plans/q/plan.json": record})


def not_on_its_base(story: Story) -> None:
    landed_at(story, story.remote.refs["refs/heads/percy/plan/q"])


def without_its_result(story: Story) -> None:
    landed_at(story, story.remote.refs[MAIN])


def in_another_branch(story: Story) -> None:
    story.remote.refs["refs/heads/other"] = story.remote.refs["refs/heads/percy/plan/q"]
    commit = story.remote.refs["refs/heads/other"]
    landed_at(story, commit, landed_into="other")


def with_another_result(story: Story) -> None:
    landed_at(story, story.remote.refs[MAIN], commit=story.remote.refs[MAIN])


def after_it_is_closed(story: Story) -> None:
    story.land("q")
    landed_at(story, story.remote.refs[MAIN], landed_commit=story.move_main("more"))


def a_landing_task(story: Story, short: str, **to: Any) -> tuple[str, Json]:
    record = story.record(codec.path_of(task("q", "land-1")))
    fresh: Json = {
        **dict.fromkeys(("base", "result", "reason", "claim", "assigned_to")),
        "attempt": 0,
        "attempts": [],
        "status": "submitted",
        "id": f"p.{short}",
        "plan": "p",
    }
    return codec.path_of(task("p", short)), {**record, **fresh, **to}


def a_task_without_a_plan_that_is_done(story: Story) -> None:
    path, record = a_landing_task(story, "land-1")
    story.commit("land", {path: record}, "p.land-1")


def a_task_out_of_turn(story: Story) -> None:
    path, record = a_landing_task(story, "land-7")
    opened = {**story.record(PLAN), "status": "executing", "result": None}
    story.commit("land", {path: record, PLAN: opened}, "p.land-7")


@pytest.mark.spoiled
@pytest.mark.parametrize(
    ("spoil", "told", "checked"),
    [
        (not_on_its_base, "where q landed", "is not on its base branch"),
        (without_its_result, "has not its result", "has not the result"),
        (in_another_branch, "its base branch is main", "lands in other"),
        (with_another_result, "commit is another one", "with another result"),
        (after_it_is_closed, "closed for good", ""),
        (a_task_without_a_plan_that_is_done, "merged and is done", "a plan done"),
        (a_task_out_of_turn, "which is land-1", "is landing task number 1"),
    ],
)
def test_a_landing_that_is_none_is_found(
    story: Story, spoil: Callable[[Story], None], told: str, checked: str
) -> None:
    spoil(story)
    by_verify, by_checker = story.found()
    assert told in by_verify
    assert checked in by_checker
