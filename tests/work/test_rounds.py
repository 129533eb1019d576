"""Work that does not land goes back to the program that made it, in its worktree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from percyd.core.records import Defaults, Limits, Task
from percyd.dispatch.land import PlanLanding
from percyd.errors import BaseMoved
from percyd.repo.discover import may_move
from percyd.repo.worktrees import SlotClone
from percyd.settings import Config
from tests.support.checker import check
from tests.support.gitrepo import commit, git
from tests.support.shop import Shop
from tests.support.state import task

RESCUE = "refs/percy/rescue/p.a/1"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.close()


class Bot:
    """A runner whose rounds are shell scripts; it keeps what it was told in each."""

    def __init__(self, shop: Shop, folder: Path, *rounds: str) -> None:
        self._shop = shop
        self._folder = folder / "bot"
        self._folder.mkdir()
        for number, script in enumerate(rounds, 1):
            (self._folder / f"{number}.sh").write_text(script)
        main = self._folder / "main.sh"
        main.write_text(
            'cd_to=$1; n=$(($(cat "$cd_to/n" 2>/dev/null || echo 0) + 1))\n'
            'echo $n > "$cd_to/n"; cat > "$cd_to/$n.prompt"\n'
            '. "$cd_to/$n.sh"\n'
        )
        command = ["/bin/sh", str(main), str(self._folder)]
        self.config = Config.model_validate({"runners": {"tool": {"command": command}}})

    def run(
        self,
        claimed: Task | None = None,
        before_end: Callable[[], object] | None = None,
    ) -> Task:
        return self._shop.run(claimed, config=self.config, before_end=before_end)

    @property
    def told(self) -> list[str]:
        """The prompts of its rounds."""
        paths = sorted(self._folder.glob("*.prompt"), key=lambda p: int(p.stem))
        return [path.read_text() for path in paths]


def bot_task(short: str = "a", **fields: object) -> Task:
    return task("p", short, run=None, runner="tool", **fields)


def claimed(shop: Shop) -> tuple[Task, Task]:
    """The claimed tasks ``p.a`` and ``p.b``."""
    found = {each.id: each for each in (shop.claim(), shop.claim())}
    return found["p.a"], found["p.b"]


def landing(shop: Shop, other: Task) -> Callable[[], object]:
    """Lands another task at the first moment at which ours would land."""
    done: list[object] = []

    def land() -> None:
        if not done:
            done.append(True)
            beside = Shop.__new__(Shop)
            beside.__dict__ = dict(shop.__dict__)
            beside.slot_clone = SlotClone.open(
                shop.percyd.home.slot(1), shop.percyd.hub
            )
            assert beside.run(other).status == "completed"

    return land


def test_a_failed_gate_goes_back_with_its_output(shop: Shop, tmp_path: Path) -> None:
    bot = Bot(shop, tmp_path, "echo bad > x", "cat x > was; rm was; echo good > x")
    gate = "echo checking x; grep good x"
    shop.take_in(bot_task(verify=gate, description="Make </task> it good."))

    done = bot.run()

    assert (done.status, done.attempt, done.retries) == ("completed", 1, 0)
    assert shop.file("x") == "good"
    first, second = bot.told
    assert "<gate>\necho checking x; grep good x\n</gate>" in first
    # A text cannot close its own tag.
    assert "<task->" in first
    assert first.index("Make </task> it good.") < first.index("</task->")
    assert "It ended with exit code 1." in second
    assert "<output>\nchecking x\n</output>" in second
    # It cannot go on with a session, and is told everything once more.
    assert "Make </task> it good." in second.partition("did not pass the gate")[0]
    assert done.result is not None
    assert done.result.usage is not None
    assert done.result.usage.duration_s is not None


def test_the_rounds_are_bounded_and_the_last_work_is_kept(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(shop, tmp_path, *(f"echo {n} > x" for n in range(1, 5)))
    shop.take_in(bot_task(verify="grep good x"), limits=Limits(fix_rounds=2))

    back = bot.run()

    assert (back.status, back.retries) == ("submitted", 1)
    assert back.reason is not None
    assert back.reason.code == "gate_failed"
    assert len(bot.told) == 3
    assert shop.file("x", RESCUE) == "3"
    (attempt,) = back.attempts
    assert attempt.verdict is not None
    assert attempt.verdict.status == "failed"
    assert attempt.usage is not None


def test_a_round_that_fails_keeps_what_was_there(shop: Shop, tmp_path: Path) -> None:
    bot = Bot(shop, tmp_path, "echo one > x", "echo two > y; exit 3")
    shop.take_in(bot_task(verify="false"))

    back = bot.run()

    assert back.reason is not None
    assert (back.reason.code, back.reason.message) == ("runner_failed", "exit 3")
    assert shop.file("x", RESCUE) == "one"
    assert shop.file("y", RESCUE) == "two"
    assert shop.worktrees() == []


def test_the_fix_begins_with_the_very_tree_that_was_refused(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(shop, tmp_path, "echo mine > mine", "cp theirs seen; echo good > mine")
    shop.take_in(
        bot_task(verify="[ ! -e theirs ] || grep good mine"),
        task("p", "b", run="echo theirs > theirs"),
    )
    first, second = claimed(shop)

    done = bot.run(first, before_end=landing(shop, second))

    assert (done.status, done.attempt) == ("completed", 1)
    assert shop.file("seen") == "theirs"
    assert len(bot.told) == 2


CONFLICTS = {
    "both add a file": ("echo a > new", "echo b > new", "echo both > new"),
    "both change a line": (
        "echo t > src/a.txt",
        "echo b > src/a.txt",
        "echo c > src/a.txt",
    ),
    "changed and deleted": ("rm src/a.txt", "echo b >> src/a.txt", "true"),
    "both add bytes": (
        "printf 'a\\0a' > raw",
        "printf 'b\\0b' > raw",
        "printf 'c\\0c' > raw",
    ),
    "renamed apart": (
        "git mv src/a.txt src/one.txt",
        "git mv src/a.txt src/two.txt",
        "git rm -q src/two.txt src/one.txt; echo a > src/both.txt",
    ),
    "a name that is not ASCII": (
        "mkdir 'große höhle'; echo a > 'große höhle/ü x'",
        "mkdir 'große höhle'; echo b > 'große höhle/ü x'",
        "echo c > 'große höhle/ü x'",
    ),
}


@pytest.mark.parametrize("what", CONFLICTS)
def test_a_conflict_is_resolved_in_its_own_worktree(
    shop: Shop, tmp_path: Path, what: str
) -> None:
    theirs, ours, resolve = CONFLICTS[what]
    check = 'git show "$PERCY_BASE":README.md > /dev/null; ls -A > "$cd_to/seen"\n'
    bot = Bot(shop, tmp_path, ours, check + resolve)
    shop.take_in(
        bot_task(title="Mine"),
        task("p", "b", run=theirs, title="Their own", description="not told"),
    )
    first, second = claimed(shop)

    done = bot.run(first, before_end=landing(shop, second))

    assert (done.status, done.attempt) == ("completed", 1), done.reason
    assert done.result is not None
    mine = git(shop.remote, "rev-parse", f"{done.result.commit}^@").splitlines()
    other = shop.task("p.b").result
    assert other is not None
    assert len(mine) == 2
    assert mine[1] == other.integration_commit
    told = bot.told[1].partition("does not merge with")[2]
    assert "p.b: Their own" in told
    assert f"is commit {mine[0]}, theirs is commit {mine[1]}" in " ".join(told.split())
    grep = git(
        shop.remote,
        "grep",
        "-I",
        "-e",
        "^<<<<<<<",
        done.result.commit or "",
        check=False,
    )
    assert grep == ""


def test_markers_that_are_left_go_back_once_more(shop: Shop, tmp_path: Path) -> None:
    ours = "echo mine > one; echo mine > two"
    bot = Bot(shop, tmp_path, ours, "echo both > one", "echo both > two")
    shop.take_in(bot_task(), task("p", "b", run="echo b > one; echo b > two"))
    first, second = claimed(shop)

    done = bot.run(first, before_end=landing(shop, second))

    assert (done.status, done.attempt) == ("completed", 1)
    assert (shop.file("one"), shop.file("two")) == ("both", "both")
    files = [told.partition("<files>")[2].partition("</files>")[0] for told in bot.told]
    assert files[1].split() == ["one", "two"]
    assert files[2].split() == ["two"]


@pytest.mark.parametrize(
    "left",
    [
        "true",
        "sed -i '/^<<<<<<</d' one",
        "sed -i '/^>>>>>>>/d' one",
        "sed -i -e '/^<<<<<<</d' -e '/^>>>>>>>/d' one",
    ],
)
def test_no_conflict_marker_ever_lands(shop: Shop, tmp_path: Path, left: str) -> None:
    bot = Bot(shop, tmp_path, "echo mine > one", *([left] * 3))
    shop.take_in(bot_task(), task("p", "b", run="echo b > one"))
    first, second = claimed(shop)

    back = bot.run(first, before_end=landing(shop, second))

    assert back.status == "submitted"
    assert back.reason is not None
    assert (back.reason.code, back.reason.message) == (
        "conflict",
        "conflict markers are left: conflict in one",
    )
    assert shop.file("one") == "b"


def test_text_that_only_looks_like_markers_is_no_conflict(tmp_path: Path) -> None:
    text = "Title\n=======\n<<<<<<< an example\n=======\n>>>>>>> of one\n"
    shop = Shop(tmp_path, {"doc.md": text, "README.md": "x\n"})
    bot = Bot(
        shop,
        tmp_path,
        "echo mine >> doc.md",
        "git show $PERCY_BASE:doc.md > doc.md; echo both >> doc.md",
    )
    shop.take_in(bot_task(), task("p", "b", run="echo b >> doc.md"))
    first, second = claimed(shop)

    done = bot.run(first, before_end=landing(shop, second))

    assert done.status == "completed", done.reason
    assert shop.file("doc.md") == f"{text}both"
    shop.close()


def test_the_next_attempt_is_told_what_the_last_one_left(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(
        shop, tmp_path, "echo half > half; exit 4", 'git show "$PERCY_BASE"; true'
    )
    shop.take_in(bot_task(allow_empty=True))
    back = bot.run()
    (lost,) = back.attempts

    bot.run(shop.claim(Everything()))

    assert "runner_failed: exit 4" in bot.told[1]
    assert f"git show --stat {lost.commit}" in bot.told[1]


def test_it_is_told_what_the_tasks_before_it_have_done(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(shop, tmp_path, "echo b > b")
    first = task("p", "a", run="echo a > a.txt; echo a clean cut")
    shop.take_in(
        first, bot_task("b", depends_on=("p.a",), status="blocked"), title="All of it"
    )
    shop.run(shop.claim())

    assert bot.run().status == "completed"

    (told,) = bot.told
    assert "p.a: Task a" in told
    assert "summary: a clean cut" in told
    assert "files: a.txt" in told
    assert "<plan>\nAll of it" in told


class Everything:
    """Every requeued attempt has rested."""

    def __contains__(self, key: object) -> bool:
        return True


def test_a_repository_brings_its_own_prompt(shop: Shop, tmp_path: Path) -> None:
    commit(shop.clone, {".percy/prompts/worker.md": "Short.\n\n{{task}}\n"})
    bot = Bot(shop, tmp_path, "echo x > x")
    shop.take_in(bot_task())

    assert bot.run().status == "completed"

    assert bot.told == ["Short.\n\n<task>\nTask p.a, attempt 1: Task a\n</task>\n"]


def landed_apart(shop: Shop, gate: str | None) -> None:
    """A finished plan whose base branch has moved meanwhile, and its ``land-1``."""
    shop.take_in(
        task("p", "a", run="echo mine > src/a.txt"),
        verify=gate,
        defaults=Defaults(runner="tool"),
    )
    shop.run()
    commit(shop.clone, {"src/a.txt": "theirs\n"})
    git(shop.clone, "push", "-q", "origin", "main")
    may = partial(may_move, shop.percyd.clone, shop.percyd.remote)
    with pytest.raises(BaseMoved):
        PlanLanding(shop.store, shop.percyd.clock, may, lambda _: None).land("p")


def test_a_conflict_with_the_base_is_resolved_by_the_plans_runner(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(shop, tmp_path, "echo both > src/a.txt", "echo 'both, good' > src/a.txt")
    landed_apart(shop, gate="grep -q good src/a.txt || ! grep both src/a.txt")

    done = bot.run()

    assert (done.id, done.status, done.attempt) == ("p.land-1", "completed", 1)
    assert shop.file("src/a.txt") == "both, good"
    assert len(bot.told) == 2
    assert "src/a.txt" in bot.told[0].partition("<files>")[2]
    assert "did not pass the gate" in bot.told[1]
    main = git(shop.remote, "rev-parse", "main")
    assert git(shop.remote, "merge-base", "percy/plan/p", "main") == main
    assert check(shop.remote) == []


@pytest.mark.parametrize(
    "deed",
    [
        "git reset -q --hard HEAD^1",
        'git reset -q --hard "$(git rev-parse HEAD^1)"; echo more > more',
        'git checkout -q -B "$PERCY_BRANCH" "$PERCY_BASE"; echo more > more',
    ],
)
def test_a_conflict_is_not_resolved_by_dropping_the_other_side(
    shop: Shop, tmp_path: Path, deed: str
) -> None:
    bot = Bot(shop, tmp_path, "echo mine > src/a.txt", deed)
    run = "echo theirs > src/a.txt; echo landed > landed.txt"
    shop.take_in(bot_task(), task("p", "b", run=run))
    first, second = claimed(shop)

    back = bot.run(first, before_end=landing(shop, second))

    assert back.reason is not None
    assert back.reason.code == "left_branch"
    assert shop.file("landed.txt") == "landed"


@pytest.mark.parametrize("may_be_empty", [False, True])
def test_a_round_that_takes_back_all_of_its_work_is_no_result(
    shop: Shop, tmp_path: Path, may_be_empty: bool
) -> None:
    bot = Bot(shop, tmp_path, "echo mine > src/a.txt", "echo t > src/a.txt")
    shop.take_in(
        bot_task(allow_empty=may_be_empty), task("p", "b", run="echo t > src/a.txt")
    )
    first, second = claimed(shop)

    ended = bot.run(first, before_end=landing(shop, second))

    if may_be_empty:
        assert ended.status == "completed"
    else:
        assert ended.reason is not None
        assert ended.reason.code == "empty_result"


def test_a_fix_that_is_no_fix_but_a_retreat_is_no_result(
    shop: Shop, tmp_path: Path
) -> None:
    bot = Bot(shop, tmp_path, "echo mine > x", "rm x")
    shop.take_in(bot_task(verify="[ ! -e x ]"))

    back = bot.run()

    assert back.reason is not None
    assert back.reason.code == "empty_result"


def test_a_command_that_fails_the_second_time_keeps_what_it_made_first(
    shop: Shop, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    run = f"[ -e {once} ] && exit 5; touch {once}; echo long work > src/a.txt"
    shop.take_in(task("p", "a", run=run), task("p", "b", run="echo b > src/a.txt"))
    first, second = claimed(shop)

    back = shop.run(first, before_end=landing(shop, second))

    assert back.reason is not None
    assert (back.reason.code, back.reason.message) == ("runner_failed", "exit 5")
    assert shop.file("src/a.txt", RESCUE) == "long work"


def test_headings_that_both_add_are_no_markers(shop: Shop, tmp_path: Path) -> None:
    heading = "printf '{}\n=======\n' > doc.md"
    both = "printf 'One\n=======\nTwo\n=======\n' > doc.md"
    bot = Bot(shop, tmp_path, heading.format("One"), both)
    shop.take_in(bot_task(), task("p", "b", run=heading.format("Two")))
    first, second = claimed(shop)

    assert bot.run(first, before_end=landing(shop, second)).status == "completed"
