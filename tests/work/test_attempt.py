"""One attempt on real git: every way out, and what it leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from percyd.core.ids import agent_branch, rescue_ref
from percyd.core.operations.agents import Depart
from percyd.repo.worktrees import SlotClone
from percyd.settings import Config
from tests.support.gitrepo import git
from tests.support.shop import Shop
from tests.support.state import task

RESCUE = rescue_ref("p.a", 1)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


def reason(found: object) -> str:
    return str(found.attempts[-1].reason.code)  # type: ignore[attr-defined]


def test_what_is_left_uncommitted_is_committed_merged_and_published(
    shop: Shop,
) -> None:
    done = shop.attempt("echo new > src/new.txt; rm src/a.txt; echo said")
    assert done.status == "completed"
    assert done.result is not None
    assert done.result.summary == "said"
    assert shop.file("src/new.txt") == "new"
    names = git(shop.remote, "ls-tree", "-r", "--name-only", "percy/plan/p")
    assert "src/a.txt" not in names.split()
    branch = agent_branch(shop.agent.id, "p.a")
    assert shop.refs()[branch] == done.result.commit
    text = git(shop.remote, "log", "-1", "--format=%B", branch)
    assert text == "Task a\n\nPercy-Task: p.a\nPercy-Attempt: 1"
    assert shop.worktrees() == []


def test_commits_of_the_task_itself_are_kept_as_they_are(shop: Shop) -> None:
    done = shop.attempt(
        "for n in 1 2; do echo $n > $n.txt; git add $n.txt; git commit -qm step-$n; done"
        "; echo 3 > 3.txt"
    )
    assert done.status == "completed"
    branch = agent_branch(shop.agent.id, "p.a")
    subjects = git(shop.remote, "log", "--format=%s", f"main..{branch}").splitlines()
    assert subjects == ["Task a", "step-2", "step-1"]


def test_a_task_sees_its_own_variables_and_no_others_of_percyd(shop: Shop) -> None:
    done = shop.attempt("env | grep -E '^(PERCY|GIT_)' | sort > env.txt")
    names = {line.partition("=")[0] for line in shop.file("env.txt").splitlines()}
    assert names == {
        "PERCY_TASK_ID",
        "PERCY_PLAN_ID",
        "PERCY_PLAN_TITLE",
        "PERCY_TITLE",
        "PERCY_ATTEMPT",
        "PERCY_BRANCH",
        "PERCY_BASE",
        "PERCY_PROMPT_FILE",
        "PERCY_QUESTION_FILE",
        "PERCY_DEPTH",
    }
    assert done.base is not None
    assert f"PERCY_BASE={done.base}" in shop.file("env.txt")
    assert f"PERCY_BRANCH=agent/{shop.agent.id}/p.a" in shop.file("env.txt")


def test_a_runner_reads_the_task_from_its_standard_input(shop: Shop) -> None:
    config = Config.model_validate(
        {"runners": {"tool": {"command": ["sh", "-c", "cat > prompt.txt"]}}}
    )
    shop.take_in(
        task("p", "a", run=None, runner="tool", description="Make it so.\nPlease.")
    )
    assert shop.run(config=config).status == "completed"
    assert "Make it so.\nPlease." in shop.file("prompt.txt")


@pytest.mark.parametrize(
    ("command", "fields", "expected"),
    [
        ("echo boom >&2; exit 3", {}, "runner_failed"),
        ("true", {}, "empty_result"),
        ("sleep 60", {"timeout_s": 0.3}, "timed_out"),
        ("echo x > x; git checkout -q -b other", {}, "left_branch"),
        ("echo x > x; git checkout -q --detach", {}, "left_branch"),
        ("git checkout -q --orphan fresh; git commit -qm new", {}, "left_branch"),
        ("echo x > x", {"verify": "false"}, "gate_failed"),
        ("echo x > x", {"verify": "sleep 60", "timeout_s": 0.3}, "gate_timed_out"),
    ],
)
def test_an_attempt_without_a_result_goes_back_with_its_reason(
    shop: Shop, command: str, fields: dict[str, object], expected: str
) -> None:
    back = shop.attempt(command, **fields)
    assert (back.status, reason(back)) == ("submitted", expected)
    assert back.retries == 1
    assert shop.refs("refs/heads/agent/") == {}
    assert shop.worktrees() == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"run": None, "runner": "tool"}, "runner_missing"),
        ({"run": "echo x > x", "verify": "no-such-program-here"}, "gate_broken"),
    ],
)
def test_what_no_second_attempt_can_cure_fails_at_once(
    shop: Shop, fields: dict[str, object], expected: str
) -> None:
    shop.take_in(task("p", "a", **fields))
    ended = shop.run()
    assert (ended.status, ended.reason and ended.reason.code) == ("failed", expected)


def test_a_gate_that_a_task_broke_is_the_tasks_fault(tmp_path: Path) -> None:
    shop = Shop(tmp_path, {"check": "#!/bin/sh\nexit 0\n", "README.md": "x\n"})
    git(shop.clone, "update-index", "--chmod=+x", "check")
    git(shop.clone, "commit", "-qm", "executable")
    git(shop.clone, "push", "-q")
    shop.take_in(task("p", "a", run="rm check; echo x > x", verify="./check"))
    assert reason(shop.run()) == "gate_failed"
    shop.close()


def test_the_work_of_a_failed_attempt_is_on_its_rescue_ref(shop: Shop) -> None:
    shop.attempt(
        "echo half > half.txt; git add .; git commit -qm half; echo x > y; exit 1"
    )
    assert shop.file("half.txt", RESCUE) == "half"
    assert shop.file("y", RESCUE) == "x"
    assert shop.task("p.a").attempts[0].rescue == RESCUE


def test_an_attempt_that_made_nothing_leaves_no_rescue_ref(shop: Shop) -> None:
    back = shop.attempt("exit 1")
    assert back.attempts[0].rescue is None
    assert shop.refs("refs/percy/rescue/") == {}


def test_an_empty_result_lands_as_an_empty_commit_where_it_is_allowed(
    shop: Shop,
) -> None:
    done = shop.attempt("true", allow_empty=True)
    assert done.status == "completed"
    log = git(shop.remote, "log", "--format=%s", "main..percy/plan/p").splitlines()
    assert sorted(log) == ["Merge p.a: Task a", "Task a"]


def test_a_conflict_runs_the_command_again_on_the_new_tip(shop: Shop) -> None:
    shop.take_in(
        task("p", "a", run="echo $PERCY_TASK_ID >> README.md"),
        task("p", "b", run="echo $PERCY_TASK_ID >> README.md"),
    )
    first, second = shop.claim(), shop.claim()
    landed: list[object] = []

    def let_the_other_land() -> None:
        if not landed:
            landed.append(True)
            other = Shop.__new__(Shop)
            other.__dict__ = dict(shop.__dict__)
            other.slot_clone = SlotClone.open(shop.percyd.home.slot(1), shop.percyd.hub)
            landed.append(other.run(second).status)

    done = shop.run(first, before_end=let_the_other_land)
    assert landed == [True, "completed"]
    assert (done.status, done.attempt, len(done.attempts)) == ("completed", 1, 1)
    assert sorted(shop.file("README.md").splitlines()) == ["hello", "p.a", "p.b"]


def test_the_gate_runs_on_a_clean_checkout_of_the_merge(shop: Shop) -> None:
    done = shop.attempt(
        "echo '*.cache' > .gitignore; echo x > a.cache; echo x > x",
        verify='test ! -e a.cache && test -z "$(git status --porcelain)" && touch junk',
    )
    assert done.status == "completed"
    assert done.result is not None
    assert done.result.verdict is not None
    assert done.result.verdict.status == "passed"
    tree = git(shop.remote, "rev-parse", "percy/plan/p^{tree}")
    assert done.result.verdict.tree == tree
    assert "junk" not in git(shop.remote, "ls-tree", "--name-only", "percy/plan/p")


def test_a_claim_that_is_gone_publishes_nothing_but_a_rescue_ref(shop: Shop) -> None:
    def lose() -> None:
        shop.store.apply(Depart(shop.store.stamp(), shop.agent.id, lost=True))

    shop.take_in(task("p", "a", run="echo mine > mine.txt"))
    before = shop.refs("refs/heads/percy/plan/")
    back = shop.run(before_end=lose)
    assert (back.status, reason(back)) == ("submitted", "agent_lost")
    assert shop.refs("refs/heads/percy/plan/") == before
    assert shop.refs("refs/heads/agent/") == {}
    assert shop.file("mine.txt", RESCUE) == "mine"
    assert shop.worktrees() == []


def test_a_stopped_attempt_goes_back_uncounted_with_its_work(shop: Shop) -> None:
    shop.take_in(task("p", "a", run="echo half > half.txt; sleep 60", timeout_s=30))
    claimed = shop.claim()

    def stop_when_it_has_begun() -> None:
        pause = threading.Event()
        for _ in range(600):
            if list(shop.percyd.home.slots.glob("0/*/half.txt")):
                break
            pause.wait(0.05)
        shop.leash.release()

    watcher = threading.Thread(target=stop_when_it_has_begun)
    watcher.start()
    back = shop.run(claimed)
    watcher.join()
    assert (back.status, reason(back), back.retries) == ("submitted", "released", 0)
    assert shop.file("half.txt", RESCUE) == "half"


def test_a_hostile_task_runs_nothing_in_percyds_own_git(
    shop: Shop, tmp_path: Path
) -> None:
    mark = tmp_path / "pwned"
    done = shop.attempt(
        f"printf '#!/bin/sh\\ntouch {mark}\\n' > evil; chmod +x evil;"
        " git config core.fsmonitor $PWD/evil; git config core.hooksPath $PWD;"
        " git config filter.x.clean $PWD/evil; git config filter.x.smudge $PWD/evil;"
        " echo '* filter=x' > \"$(git rev-parse --git-path info/attributes)\";"
        " cp evil post-checkout; cp evil post-index-change; echo x > x",
        verify="test -e x",
    )
    assert done.status == "completed"
    assert not mark.exists()


def test_a_review_leaves_its_summary_and_moves_no_branch(shop: Shop) -> None:
    before = shop.refs("refs/heads/percy/plan/")
    done = shop.attempt("echo all is well", type="review")
    assert done.status == "completed"
    assert done.result is not None
    assert (done.result.summary, done.result.commit) == ("all is well", None)
    assert shop.refs("refs/heads/agent/") == {}
    assert shop.refs("refs/heads/percy/plan/").keys() >= before.keys()
