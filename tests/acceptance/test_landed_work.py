"""What a new user gets: committed plans become merged, verified work.

Everything here goes through the command line and stock git, on real repositories; the
checker then looks for any violation of the format in what was left on the remote.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.checker import check, statistics
from tests.support.gitrepo import commit, git, refs, tip
from tests.support.newuser import (
    NewUser,
    checkout,
    click_sources,
    finish,
    meet,
    new_user,
    percyd,
    settings,
    start,
)

HERE = Path(__file__).parent
TASKS = 14
#: What the report says when it has seen the merged work of all ten rewrites.
REPORT = {
    "headers": 5,
    "_posixify": 0,
    "_build_prompt": 0,
    "inventory": 1,
}


def a_plan(*tasks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"title": "Plan", **keys, "tasks": [{"title": t["id"], **t} for t in tasks]}


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    """A small repository with a bare remote."""
    return new_user(tmp_path)


@pytest.fixture
def meeting(tmp_path: Path) -> Path:
    """A folder outside of every repository, where tasks leave marks."""
    folder = tmp_path / "meeting"
    folder.mkdir()
    return folder


def click_user(folder: Path, *, with_remote: bool = True) -> NewUser:
    """A repository with the sources of click and the tools that rewrite them."""
    files = click_sources() | {
        "tools/codemods.py": (HERE / "codemods.py").read_text(encoding="utf-8")
    }
    user = new_user(folder, files, with_remote=with_remote)
    plan = (HERE / "tidy-click.yaml").read_text(encoding="utf-8")
    user.commit_plan("tidy-click.yaml", plan)
    # Somebody is in the middle of something else.
    (user.clone / "half-written.txt").write_text("not yet\n")
    (user.clone / "staged.txt").write_text("soon\n")
    git(user.clone, "add", "staged.txt")
    with (user.clone / "lib/click/core.py").open("a") as file:
        file.write("# not committed\n")
    return user


def assert_tidy(user: NewUser) -> None:
    """Every change of `tidy-click` is on its integration branch, and only there."""
    status = user.status()
    (plan,) = status["plans"]
    assert plan["status"] == "done"
    assert plan["result"]["commit"] == user.plan_tip("tidy-click")
    assert status["tip"] == tip(user.remote, "percy/state")
    assert status["plan_summary"]["completed"] == TASKS
    assert status["plan_summary"]["total"] == TASKS
    assert {task["status"] for task in status["tasks"]} == {"completed"}
    assert not any(task["blocked_by"] for task in status["tasks"])
    assert sorted(user.merges("tidy-click")) == sorted(t["id"] for t in status["tasks"])

    attempts = {t["id"].partition(".")[2]: t["attempt"] for t in status["tasks"]}
    assert attempts.pop("second-try") == 2
    assert set(attempts.values()) == {1}

    report = user.file("tidy-click", "REPORT.md")
    counts = {k: int(v) for k, v in (row.split(": ") for row in report.splitlines())}
    assert counts | REPORT == counts
    assert counts["reviewed"] == 4 + len(list(user.clone.glob("lib/click/_[a-z]*.py")))
    assert counts["modules"] == 1 + len(list(user.clone.glob("lib/click/*.py")))
    assert counts["_posix_form"] > 1
    assert counts["_prompt_text"] > 1
    whole = user.file("tidy-click", "ALL.md")
    assert whole == f"{report}\nattempt 2\nseen\nGröße"

    needs_all = next(t for t in status["tasks"] if t["id"] == "tidy-click.report")
    base = git(user.remote, "show", f"{needs_all['base']}:lib/click/core.py")
    assert base.startswith("# Part of click.")
    assert base.endswith("__reviewed__ = True")
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_real_plan_ends_with_every_change_merged_and_the_checkout_untouched(
    tmp_path: Path,
) -> None:
    user = click_user(tmp_path)
    before = checkout(user.clone)
    main = tip(user.remote, "main")

    done = user.percyd("serve", "--slots", "4", "--until-idle")

    assert_tidy(user)
    assert checkout(user.clone) == before
    assert tip(user.remote, "main") == main
    assert "Traceback" not in done.err
    rescued = refs(user.remote, "refs/percy/rescue")
    (ref,) = rescued
    assert ref == "refs/percy/rescue/tidy-click.second-try/1"
    assert git(user.remote, "show", f"{ref}:tries.txt") == "attempt 1"
    print(statistics(user.remote))


@pytest.mark.timeout(180)
def test_a_repository_without_a_remote_serves_as_its_own(tmp_path: Path) -> None:
    user = click_user(tmp_path, with_remote=False)
    before = checkout(user.clone)

    user.percyd("serve", "--slots", "4", "--until-idle")

    assert_tidy(user)
    assert checkout(user.clone) == before


@pytest.mark.timeout(180)
def test_a_second_run_finds_nothing_to_do_and_changes_no_task(user: NewUser) -> None:
    user.commit_plan("p.yaml", a_plan({"id": "a", "run": "echo a > a"}))
    user.percyd("serve", "--until-idle")
    before = user.status()

    user.percyd("serve", "--until-idle")

    assert user.status()["tasks"] == before["tasks"]
    assert user.status()["plans"] == before["plans"]
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_three_workers_in_three_clones_share_the_work(
    user: NewUser, meeting: Path
) -> None:
    clones = [user.clone, user.clone_again("second"), user.clone_again("third")]
    first = ["one", "two", "three"]
    tasks: list[dict[str, Any]] = [
        {"id": name, "run": f"{meet(meeting, name, first)}; echo {name} > {name}"}
        for name in first
    ]
    tasks += [
        {"id": f"t{n}", "run": f"echo {n} > t{n}", "depends_on": [first[n % 3]]}
        for n in range(9)
    ]
    tasks.append(
        {
            "id": "all",
            "run": "cat t? > all",
            "depends_on": [f"t{n}" for n in range(9)],
        }
    )
    document = meeting / "shared.json"
    document.write_text(json.dumps(a_plan(*tasks)))
    percyd(clones[1], "plan", "submit", str(document))

    running = [
        start("worker", "--slots", "1", "--until-idle", cwd=clone) for clone in clones
    ]
    ended = [finish(process) for process in running]

    assert [done.code for done in ended] == [0, 0, 0], [done.err for done in ended]
    status = user.status()
    assert status["plans"][0]["status"] == "done"
    agents = {task["id"]: task["attempts"][-1]["agent"] for task in status["tasks"]}
    assert len({agents[f"shared.{name}"] for name in first}) == 3
    assert user.file("shared", "all").splitlines() == [str(n) for n in range(9)]
    assert len(user.merges("shared")) == len(tasks)
    assert all(agent["status"] == "left" for agent in status["agents"])
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_task_that_fails_for_good_ends_its_plan_and_keeps_its_work(
    user: NewUser,
) -> None:
    user.commit_plan(
        "p.yaml",
        a_plan(
            {"id": "bad", "run": "echo $PERCY_ATTEMPT > half; exit 3"},
            {"id": "next", "run": "echo n > n", "depends_on": ["bad"]},
            {"id": "last", "run": "echo l > l", "depends_on": ["next"]},
            {"id": "good", "run": "echo g > g"},
            defaults={"max_attempts": 2},
        ),
    )

    done = user.percyd("serve", "--until-idle", code=1)

    assert len(done.said) == 1, done.err
    assert "p.bad" in done.said[0]
    status = user.status()
    tasks = {task["id"]: task for task in status["tasks"]}
    assert tasks["p.bad"]["status"] == "failed"
    assert tasks["p.bad"]["reason"]["code"] == "attempts_exhausted"
    assert [a["outcome"] for a in tasks["p.bad"]["attempts"]] == ["failed"] * 2
    assert {a["reason"]["code"] for a in tasks["p.bad"]["attempts"]} == {
        "runner_failed"
    }
    for name, culprit in (("p.next", "p.bad"), ("p.last", "p.next")):
        assert tasks[name]["status"] == "cancelled"
        assert tasks[name]["reason"]["code"] == "dependency_failed"
        assert culprit in tasks[name]["reason"]["message"]
    assert tasks["p.good"]["status"] == "completed"
    assert status["plans"][0]["status"] == "failed"
    assert user.merges("p") == ["p.good"]
    for number in (1, 2):
        kept = git(user.remote, "show", f"refs/percy/rescue/p.bad/{number}:half")
        assert kept == str(number)
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_retried_task_brings_back_what_was_cancelled_because_of_it(
    user: NewUser, meeting: Path
) -> None:
    allowed = meeting / "allowed"
    user.commit_plan(
        "p.yaml",
        a_plan(
            {"id": "a", "run": f"echo a > a; test -e {allowed}", "max_attempts": 1},
            {"id": "b", "run": "cat a a > b", "depends_on": ["a"]},
        ),
    )
    user.percyd("serve", "--until-idle", code=1)
    allowed.touch()

    user.percyd("task", "retry", "p.a")
    user.percyd("serve", "--until-idle")

    assert user.status()["plans"][0]["status"] == "done"
    assert user.file("p", "b") == "a\na"
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_old_failures_do_not_count_in_a_later_run(user: NewUser) -> None:
    user.commit_plan("p.yaml", a_plan({"id": "a", "run": "exit 1", "max_attempts": 1}))
    user.percyd("serve", "--until-idle", code=1)

    user.percyd("serve", "--until-idle", code=0)


@pytest.mark.timeout(180)
def test_a_task_whose_merge_conflicts_runs_again_on_the_new_tip(
    user: NewUser, meeting: Path
) -> None:
    both = ["left", "right"]
    user.commit_plan(
        "p.yaml",
        a_plan(
            *(
                {
                    "id": name,
                    "run": f"echo {name} >> '{meeting}/runs'; "
                    f"{meet(meeting, name, both)}; echo {name} >> same.txt",
                }
                for name in both
            )
        ),
    )

    user.percyd("serve", "--slots", "2", "--until-idle")

    assert sorted(user.file("p", "same.txt").splitlines()) == both
    assert len((meeting / "runs").read_text().splitlines()) == 3
    for name in both:
        task = user.task(f"p.{name}")
        assert (task["status"], task["attempt"]) == ("completed", 1)
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_nothing_lands_that_does_not_pass_the_gate(user: NewUser) -> None:
    user.commit_plan(
        "p.yaml",
        a_plan(
            {"id": "bad", "run": "touch bad.txt && echo x > x"},
            verify="test ! -e bad.txt",
            defaults={"max_attempts": 2},
        ),
    )

    done = user.percyd("serve", "--until-idle", code=1)

    task = user.task("p.bad")
    assert task["status"] == "failed"
    assert {a["reason"]["code"] for a in task["attempts"]} == {"gate_failed"}
    assert {a["verdict"]["status"] for a in task["attempts"]} == {"failed"}
    assert len(done.said) == 1
    assert user.plan_tip("p") == tip(user.remote, "main")
    assert refs(user.remote, "refs/heads/agent") == {}
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_gate_sees_the_merge_and_not_only_the_task(
    user: NewUser, meeting: Path
) -> None:
    both = ["left", "right"]
    user.commit_plan(
        "p.yaml",
        a_plan(
            *(
                {
                    "id": name,
                    "run": f"{meet(meeting, name, both)}; "
                    f"test -e other || touch {name}; echo {name} > only-{name}",
                }
                for name in both
            ),
            verify="test ! -e left -o ! -e right",
            defaults={"max_attempts": 1},
        ),
    )

    user.percyd("serve", "--slots", "2", "--until-idle", code=1)

    assert len(user.merges("p")) == 1
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_tasks_with_overlapping_paths_never_run_at_the_same_time(
    user: NewUser, meeting: Path
) -> None:
    record = meeting / "record"

    def recorded(name: str, between: str = "true") -> str:
        return (
            f"echo start {name} >> '{record}'; {between}; echo {name} > {name}.txt; "
            f"echo end {name} >> '{record}'"
        )

    reserved = ["lib/", "lib/*.py", "lib/deep/file.py", "lib/deep/*"]
    tasks: list[dict[str, Any]] = [
        {"id": f"r{n}", "run": recorded(f"r{n}"), "paths": [pattern]}
        for n, pattern in enumerate(reserved)
    ]
    free = ["x", "y"]
    tasks += [
        {
            "id": name,
            "run": recorded(name, meet(meeting, name, free)),
            "paths": [f"{name}/"],
            "priority": 10,
        }
        for name in free
    ]
    user.commit_plan("p.yaml", a_plan(*tasks))

    user.percyd("serve", "--slots", "4", "--until-idle")

    open_now: set[str] = set()
    for row in record.read_text().splitlines():
        what, name = row.split()
        if what == "end":
            open_now.remove(name)
        elif name.startswith("r"):
            held = {other for other in open_now if other.startswith("r")}
            # r1 and r0 share lib/, r2 and r3 lie below it: no two of them may meet.
            assert not held, f"{name} runs beside {held}"
            open_now.add(name)
        else:
            open_now.add(name)
    assert open_now == set()
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_task_that_no_agent_can_do_waits_and_says_so(user: NewUser) -> None:
    task = {"id": "train", "run": "echo t > t", "specialization": ["gpu"]}
    user.commit_plan("p.yaml", a_plan(task, {"id": "plain", "run": "echo p > p"}))

    done = user.percyd("serve", "--until-idle", code=1)

    (line,) = done.said
    assert "p.train" in line
    waiting = user.task("p.train")
    assert waiting["status"] == "submitted"
    (why,) = [w for w in waiting["blocked_by"] if w["code"] == "no_agent"]
    assert "gpu" in why["what"]
    assert user.task("p.plain")["status"] == "completed"

    user.percyd("worker", "--capability", "gpu", "--until-idle")
    assert user.status()["plans"][0]["status"] == "done"
    assert check(user.remote) == []


def test_a_prose_plan_is_taken_in_and_waits(user: NewUser) -> None:
    config = f'runner = "tool"\n{settings()}[runners.tool]\ncommand = ["true"]\n'
    commit(user.clone, {".percy/config.toml": config}, "A runner")
    user.commit_plan("idea.md", "# An idea\n\nSomebody should do it.\n")

    done = user.percyd("serve", "--until-idle", code=1)

    assert "idea." in done.said[0]
    (task,) = user.status()["tasks"]
    assert task["type"] == "plan"
    assert [why["code"] for why in task["blocked_by"]] == ["no_agent"]
    assert check(user.remote) == []


# Bad plans

_HEAD = b"title: Bad\ntasks:\n"


def one_task(identifier: str) -> bytes:
    """A plan of one task whose id is written as JSON, which is YAML too."""
    return _HEAD + f"- {{id: {json.dumps(identifier)}, title: T, run: x}}\n".encode()


def task_rows(*rows: str) -> bytes:
    return _HEAD + "".join(f"- {{title: T, run: x, {row}}}\n" for row in rows).encode()


MARK = "touch executed"
BAD_PLANS: dict[str, bytes] = {
    "cycle.yaml": task_rows("id: a, depends_on: [b]", "id: b, depends_on: [a]"),
    "self.yaml": task_rows("id: a, depends_on: [a]"),
    "unknown.yaml": task_rows("id: a, depends_on: [nobody]"),
    "twice.yaml": task_rows("id: a", "id: a"),
    "outside.yaml": one_task("../x"),
    "dash.yaml": one_task("-x"),
    "option.yaml": one_task("--upload-pack=x"),
    "long.yaml": one_task("x" * 300),
    "newline.yaml": one_task("a\nb"),
    "bidi.yaml": one_task("a\u202eb"),
    "reserved.yaml": one_task("head"),
    "landing.yaml": one_task("land-1"),
    "upper.yaml": one_task("Task"),
    "types.yaml": b"title: 5\ntasks:\n- {id: [a], title: {b: c}, run: 3}\n",
    "no-list.yaml": b"title: Bad\ntasks: yes\n",
    "no-tasks.yaml": b"title: Bad\ntasks: []\n",
    "no-title.yaml": b"tasks:\n- {id: a, title: T, run: x}\n",
    "unknown-key.yaml": b"title: Bad\ntaks:\n- {id: a, title: T, run: x}\n",
    "both.yaml": task_rows("id: a, runner: claude"),
    "neither.yaml": _HEAD + b"- {id: a, title: T}\n",
    "negated.yaml": task_rows("id: a, paths: ['!lib/']"),
    "number.yaml": task_rows("id: a, timeout_s: -5, priority: 99999"),
    "not-utf8.yaml": b"title: \xff\xfe\n",
    "not-utf8.json": b'{"title": "\xff"}',
    "truncated.json": b'{"title": "Bad", "tasks": [{"id": "a", ',
    "truncated.yaml": b"title: 'Bad\ntasks: [\n",
    "truncated.toml": b'title = "Bad\n',
    "empty.json": b"",
    "nan.json": b'{"title": "Bad", "tasks": [{"id": "a", "title": "T", "run": "x", '
    b'"timeout_s": NaN}]}',
    "twice.json": b'{"title": "Bad", "title": "Good", "tasks": [{"id": "a", '
    b'"title": "T", "run": "x"}]}',
    "brackets.json": b"[" * 200_000,
    "brackets.yaml": b"[" * 200_000,
    "bomb.yaml": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9))
        for c in range(ord("b"), ord("k"))
    ),
    "object.yaml": b"title: !!python/object/apply:os.system ['%s']\n" % MARK.encode(),
    "module.yaml": b"!!python/object/new:subprocess.Popen [['touch', 'executed']]\n",
    "huge-number.json": b'{"title": "Bad", "tasks": [{"id": "a", "title": "T", '
    b'"run": "x", "priority": ' + b"9" * 5000 + b"}]}",
}


@pytest.mark.parametrize("name", BAD_PLANS)
def test_a_bad_plan_is_refused_with_file_and_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BAD_PLANS[name])

    done = percyd(tmp_path, "plan", "check", name, code=2)

    lines = (done.out + done.err).splitlines()
    problems = [line for line in done.out.splitlines() if " more" not in line]
    assert problems, lines
    for line in problems:
        file, number, field, words = line.split(":", 3)
        assert (file, number.isdigit()) == (name, True), line
        assert int(number) >= 1
        assert field.strip(), line
        assert words.strip(), line
    assert all(len(line) < 300 and line.isprintable() for line in lines), lines
    assert "Traceback" not in done.out + done.err
    assert not (tmp_path / "executed").exists()


@pytest.mark.timeout(180)
def test_bad_plans_that_are_committed_are_reported_and_not_taken_in(
    user: NewUser,
) -> None:
    folder = user.clone / ".percy/plans"
    stems = {name.partition(".")[0] for name in BAD_PLANS}
    for name, content in BAD_PLANS.items():
        (folder / name).write_bytes(content)
    (folder / "Not an id.yaml").write_bytes(task_rows("id: a"))
    (folder / "same.yaml").write_bytes(task_rows("id: a"))
    (folder / "same.json").write_text(json.dumps(a_plan({"id": "a", "run": "x"})))
    (folder / "link.yaml").symlink_to("same.yaml")
    commit(user.clone, {}, "Bad plans")
    user.push()

    done = user.percyd("serve", "--until-idle", code=1)

    assert "Traceback" not in done.err
    assert all(f".percy/plans/{stem}." in done.err for stem in stems), done.err
    assert ".percy/plans/Not an id.yaml" in done.err
    assert ".percy/plans/same." in done.err
    # One problem a line, as `plan check` prints them; a log line has some words more.
    assert [line for line in done.err.splitlines() if len(line) >= 400] == []
    assert user.status()["plans"] == []
    assert refs(user.remote, "refs/heads/percy/plan") == {}
    assert not list(user.clone.rglob("executed"))
    assert check(user.remote) == []


def test_a_good_plan_beside_a_bad_one_is_taken_in(user: NewUser) -> None:
    commit(
        user.clone,
        {
            ".percy/plans/bad.yaml": "title: [",
            ".percy/plans/good.json": json.dumps(a_plan({"id": "a", "run": "echo >a"})),
        },
    )
    user.push()

    done = user.percyd("serve", "--until-idle", code=1)

    assert ".percy/plans/bad.yaml:1" in done.err
    assert [plan["id"] for plan in user.status()["plans"]] == ["good"]
    assert user.merges("good") == ["good.a"]


def a_chain(length: int) -> str:
    """Tasks that each need the one before: as long and thin as a plan can be."""
    tasks: list[dict[str, Any]] = [
        {
            "id": f"t{number}",
            "run": "true",
            "depends_on": [f"t{number - 1}"] if number else [],
        }
        for number in range(length)
    ]
    return json.dumps(a_plan(*tasks))


def seconds(act: Callable[[], object]) -> tuple[float, float]:
    """(by the clock, of processor time in children) that something takes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    act()
    clock_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = after.ru_utime - used.ru_utime + after.ru_stime - used.ru_stime
    return clock_s, processor_s


@pytest.mark.timeout(180)
def test_a_plan_of_ten_thousand_tasks_in_a_chain_is_taken_in(
    user: NewUser, tmp_path: Path
) -> None:
    document = tmp_path / "chain.json"
    document.write_text(a_chain(10_000))

    clock_s, processor_s = seconds(lambda: user.percyd("plan", "submit", str(document)))

    print(f"10,000 tasks taken in after {clock_s:.2f} s, {processor_s:.2f} s of CPU")
    # A machine that is busy with something else slows the clock, not the processor.
    assert min(clock_s, processor_s) < 3
    summary = user.status()["plan_summary"]
    assert (summary["total"], summary["blocked"]) == (10_000, 9_999)
    assert check(user.remote) == []


@pytest.mark.timeout(180)
def test_a_slow_gate_runs_at_most_three_times_for_each_of_many_tasks(
    user: NewUser, tmp_path: Path
) -> None:
    count = 8
    runs = tmp_path / "gates"
    runs.mkdir()
    gate = f"echo x >> {runs}/$PERCY_TASK_ID; sleep 0.4"
    rows = [{"id": f"t{n}", "run": f"echo {n} > {n}.txt"} for n in range(count)]
    user.commit_plan("p.yaml", {**a_plan(*rows), "verify": gate})

    user.percyd("serve", "--slots", str(count), "--until-idle")

    times = [len(path.read_text().splitlines()) for path in runs.iterdir()]
    assert len(times) == count
    assert max(times) <= 3
    assert len(user.merges("p")) == count
    assert check(user.remote) == []
