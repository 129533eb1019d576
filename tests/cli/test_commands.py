"""The command line from outside: exit codes, output, errors (CLI 1 and 2)."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support.gitrepo import commit, git, make_bare, make_repo, refs, tip
from tests.support.newuser import PROJECT, finish, percyd, start

STATE = "refs/heads/percy/state"
PLAN = """\
title: Two
tasks:
  - {id: a, title: A, run: echo a > a.txt}
  - {id: b, title: B, run: cat a.txt > b.txt, depends_on: [a]}
"""
CONFIG = 'base = "main"\n[limits]\nbackoff_s = 0.05\n'


def with_remote(folder: Path) -> tuple[Path, Path]:
    """A clone of a bare remote with one pushed commit."""
    clone = make_repo(folder / "shop")
    bare = make_bare(folder / "shop.git")
    git(clone, "remote", "add", "origin", str(bare))
    git(clone, "push", "-q", "-u", "origin", "main")
    return clone, bare


def set_up(folder: Path, plan: str | None = PLAN) -> tuple[Path, Path]:
    """A clone where percyd is set up and a plan is committed."""
    clone, bare = with_remote(folder)
    percyd(clone, "init")
    files: dict[str, str | None] = {".percy/config.toml": CONFIG}
    if plan is not None:
        files[".percy/plans/two.yaml"] = plan
    commit(clone, files, "plan")
    git(clone, "push", "-q")
    return clone, bare


def test_init_writes_what_is_to_be_committed_and_commits_nothing(
    tmp_path: Path,
) -> None:
    clone, bare = with_remote(tmp_path)
    before = tip(clone)
    done = percyd(clone, "init")
    assert tip(clone) == before
    assert STATE in refs(bare)
    status = git(clone, "status", "--porcelain", "-uall").splitlines()
    assert sorted(line[3:] for line in status) == [
        ".percy/.gitignore",
        ".percy/config.toml",
        ".percy/plans/.gitkeep",
    ]
    config = (clone / ".percy/config.toml").read_text().splitlines()
    assert [line for line in config if line.startswith('base = "main"')]
    assert "git add .percy" in done.out
    assert "installed the hook" in done.out


def test_init_again_only_adds_what_is_missing(tmp_path: Path) -> None:
    clone, bare = with_remote(tmp_path)
    percyd(clone, "init")
    (clone / ".percy/config.toml").write_text('base = "main"  # mine\n')
    (clone / ".percy/.gitignore").unlink()
    before = refs(bare)[STATE]
    done = percyd(clone, "init", "--json")
    assert done.document["written"] == [".percy/.gitignore"]
    assert "mine" in (clone / ".percy/config.toml").read_text()
    assert refs(bare)[STATE] == before


def test_init_without_a_commit_or_a_base_on_the_remote_is_bad_input(
    tmp_path: Path,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    assert "no commit yet" in percyd(empty, "init", code=2).said[0]
    clone = make_repo(tmp_path / "shop")
    bare = make_bare(tmp_path / "shop.git")
    git(clone, "remote", "add", "origin", str(bare))
    done = percyd(clone, "init", "--base", "main", code=2)
    assert "push main first" in done.said[0]
    assert refs(bare) == {}
    assert not (clone / ".percy").exists()


def test_init_names_a_branch_that_blocks_percyds_own(tmp_path: Path) -> None:
    clone, bare = with_remote(tmp_path)
    git(clone, "push", "-q", "origin", "main:agent")
    done = percyd(clone, "init", code=2)
    assert "agent" in done.said[0]
    assert STATE not in refs(bare)


def test_init_begins_nothing_anew_where_plans_are_left_of_a_lost_state(
    tmp_path: Path,
) -> None:
    clone, remote = with_remote(tmp_path)
    git(clone, "push", "-q", "origin", "main:refs/heads/percy/plan/old")
    before = git(remote, "for-each-ref")
    done = percyd(clone, "init", code=4)
    assert "percy/plan branches (1) and no percy/state: it was deleted" in done.said[0]
    assert git(remote, "for-each-ref") == before
    assert not (clone / ".percy").exists()


def test_init_with_the_remote_down_writes_nothing(tmp_path: Path) -> None:
    clone, bare = with_remote(tmp_path)
    bare.rename(tmp_path / "away.git")
    done = percyd(clone, "init", code=3)
    assert len(done.said) == 1
    assert not (clone / ".percy").exists()


def test_init_in_a_bare_repository_makes_the_branch_only(tmp_path: Path) -> None:
    _, bare = with_remote(tmp_path)
    percyd(bare, "init")
    assert STATE in refs(bare)
    assert not (bare / ".percy").exists()


@pytest.mark.parametrize("name", ["status", "serve", "worker", "log"])
def test_nothing_works_before_init_and_nothing_but_init_makes_the_branch(
    tmp_path: Path, name: str
) -> None:
    clone, bare = with_remote(tmp_path)
    done = percyd(clone, name, code=2)
    assert "percyd init" in done.said[0]
    assert STATE not in refs(bare)


def test_outside_of_a_repository_every_command_says_so(tmp_path: Path) -> None:
    for name in ("init", "status", "serve", "log", "config"):
        done = percyd(tmp_path, name, code=2)
        assert len(done.said) == 1
        assert "not in a Git repository; git init" in done.said[0]
        assert "-C DIR" in done.said[0]


def test_a_committed_plan_runs_to_landed_work(tmp_path: Path) -> None:
    clone, bare = set_up(tmp_path)
    percyd(clone, "serve", "--until-idle")
    assert git(bare, "show", "percy/plan/two:b.txt") == "a"
    shown = percyd(clone, "plan", "show", "two", "--json").document
    assert shown["status"] == "done"
    text = percyd(clone, "status").out
    assert "two" in text
    assert "done" in text


def test_without_a_remote_the_work_is_not_said_to_be_on_one(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "shop")
    percyd(clone, "init")
    files: dict[str, str | None] = {".percy/plans/two.yaml": PLAN}
    commit(clone, files, "plan")
    done = percyd(clone, "serve", "--until-idle")
    assert done.said[-1] == "percyd: 2 tasks completed and merged into percy/plan/two"
    assert "refs/heads/percy/plan/two" in refs(clone)


def test_options_are_taken_before_and_after_the_command(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    before = percyd(tmp_path, "--json", "-C", str(clone), "status").document
    after = percyd(tmp_path, "status", "-C", str(clone), "--json").document
    deep = percyd(clone / ".percy" / "plans", "status", "--json").document
    for document in (before, after, deep):
        assert document["plan_summary"]["total"] == 0
        assert set(document) == {
            *("tip", "read_at", "plans", "tasks", "agents", "plan_summary"),
        }


def test_an_error_under_json_is_a_document_with_the_same_exit_code(
    tmp_path: Path,
) -> None:
    clone, _ = set_up(tmp_path, None)
    done = percyd(clone, "plan", "show", "nope", "--json", code=2)
    assert set(done.document["error"]) == {"code", "message", "hint"}
    assert done.document["error"]["code"] == "unknown_id"
    done = percyd(clone, "--json", "plan", "shwo", code=2)
    assert done.document["error"]["code"] == "usage"


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("plan", "check"),
        ("plan", "check", "missing.yaml"),
        ("task", "show", "no.such"),
        ("task", "retry", "--upload-pack=x"),
        ("task", "show", "../x"),
        ("plan", "show", "a\nb"),
        ("serve", "--slots", "many"),
        ("serve", "--slots", "0"),
        ("-C", "/nowhere/at/all", "status"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(
    tmp_path: Path, args: tuple[str, ...]
) -> None:
    clone, _ = set_up(tmp_path, None)
    done = percyd(clone, *args, code=2)
    assert "Traceback" not in done.err + done.out
    assert len([line for line in done.err.splitlines() if line]) == 1
    assert done.err.startswith("percyd: ")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("staus", "'staus'; did you mean status? See percyd --help"),
        ("plan shwo", "'shwo'; did you mean show? See percyd plan --help"),
        ("log --fllow", "'--fllow'; did you mean --follow? See percyd log --help"),
        ("xyzzy", "'xyzzy'; see percyd --help"),
    ],
)
def test_a_mistyped_name_gets_the_nearest_one(
    tmp_path: Path, typed: str, said: str
) -> None:
    done = percyd(tmp_path, *typed.split(), code=2)
    assert done.said[0].endswith(said)


def test_a_plan_that_is_only_a_file_yet_is_told_from_none(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    (clone / ".percy/plans").mkdir(exist_ok=True)
    (clone / ".percy/plans/late.yaml").write_text("title: Late\n")

    for args in (
        ("plan", "show", "late"),
        ("status", "late"),
        ("plan", "land", "late"),
    ):
        (line,) = percyd(clone, *args, code=2).said
        assert "percyd plan check .percy/plans/late.yaml" in line
    assert "plan check" not in percyd(clone, "plan", "show", "other", code=2).err


def test_no_words_of_ones_own_act_on_the_terminal(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    for args in (("doctor",), ("init", "--base"), ("plan", "show"), ("nosuch",)):
        done = percyd(clone, *args, "a\x1b[31m\u202e" + 3000 * "x" + "end", code=2)

        (line,) = done.err.splitlines()
        assert line.isprintable()
        assert len(line) < 1500


@pytest.mark.parametrize("args", [(), ("plan",), ("task",), ("agent",)])
def test_a_group_alone_shows_its_help(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = percyd(tmp_path, *args, code=2)
    assert done.err.startswith("Usage: percyd")
    assert "Commands:" in done.err


def test_a_draft_waits_until_somebody_starts_it(tmp_path: Path) -> None:
    clone, bare = set_up(tmp_path, "status: draft\n" + PLAN)
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "waiting: two.a" in done.said[-1]
    assert "started" in percyd(clone, "plan", "start", "two").out
    assert "already" in percyd(clone, "plan", "start", "two").out
    percyd(clone, "serve", "--until-idle")
    assert git(bare, "show", "percy/plan/two:b.txt") == "a"
    percyd(clone, "plan", "start", "two", code=1)


def test_a_checked_out_state_branch_is_named_at_once(tmp_path: Path) -> None:
    clone = make_repo(tmp_path / "alone")
    percyd(clone, "init")
    commit(clone, {".percy/config.toml": CONFIG, ".percy/plans/two.yaml": PLAN}, "plan")
    git(clone, "worktree", "add", "-q", str(tmp_path / "look"), "percy/state")
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "checked out" in done.said[-1]
    git(clone, "worktree", "remove", str(tmp_path / "look"))
    percyd(clone, "serve", "--until-idle")


def test_the_command_that_brings_a_deleted_state_back_works_as_it_is_printed(
    tmp_path: Path,
) -> None:
    clone, bare = set_up(tmp_path)
    percyd(clone, "plan", "submit", ".percy/plans/two.yaml")
    good = refs(bare)[STATE]
    git(bare, "update-ref", "-d", STATE)
    said, command = percyd(clone, "status", code=4).err.splitlines()[-2:]
    assert said.endswith("; push it back:")
    subprocess.run(shlex.split(command), check=True)
    assert refs(bare)[STATE] == good
    percyd(clone, "serve", "--until-idle")


@pytest.mark.parametrize("where", ["/dev/null", "/dev/null/x", "/proc/x"])
def test_a_state_folder_that_cannot_be_made_gets_one_line(
    tmp_path: Path, where: str
) -> None:
    clone, _ = set_up(tmp_path, None)
    done = finish(start("status", cwd=clone, PERCYD_STATE_DIR=where))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert "PERCYD_STATE_DIR" in done.said[0]


def test_a_saved_plan_gets_a_word_and_a_local_commit_a_warning(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    (clone / ".percy/plans/two.yaml").write_text(PLAN)
    done = percyd(clone, "serve", "--until-idle")
    assert "not committed on main: nothing starts" in done.err
    commit(clone, {}, "plan")
    done = percyd(clone, "serve", "--until-idle")
    assert "1 commit is not pushed" in done.err
    assert "2 tasks completed and merged into percy/plan/two" in done.said[-1]


def test_submit_knows_the_plans_folder_of_a_linked_worktree(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path)
    linked = tmp_path / "linked"
    git(clone, "worktree", "add", "-q", "-b", "feature", str(linked))
    commit(linked, {".percy/plans/r.yaml": PLAN}, "only here")
    done = percyd(linked, "plan", "submit", ".percy/plans/r.yaml", code=2)
    assert "commit it first" in done.said[0]
    percyd(linked, "plan", "submit", ".percy/plans/two.yaml")


def test_task_show_names_the_logs(tmp_path: Path) -> None:
    plan = PLAN.replace("title: Two", "title: Two\nverify: test -e a.txt")
    clone, _ = set_up(tmp_path, plan)
    percyd(clone, "serve", "--until-idle")
    logs = percyd(clone, "task", "show", "two.a", "--json").document["logs"]
    assert [Path(name).name for name in logs] == ["1.log", "1.log.gate"]
    assert logs[0] in percyd(clone, "task", "show", "two.a").out


def test_a_read_while_the_remote_is_down_shows_the_last_known_state(
    tmp_path: Path,
) -> None:
    clone, bare = set_up(tmp_path)
    percyd(clone, "plan", "submit", ".percy/plans/two.yaml")
    known = percyd(clone, "status", "--json").document
    bare.rename(tmp_path / "away.git")
    done = percyd(clone, "status", "--json", code=3)
    first = json.loads(done.out.splitlines()[0])
    assert first["tip"] == known["tip"]
    assert first["tasks"] == known["tasks"]
    done = percyd(clone, "status", code=3)
    assert "two" in done.out
    assert len(done.said) == 1
    assert "last known state" in done.said[0]
    percyd(clone, "task", "retry", "two.a", code=3)
    other = make_repo(tmp_path / "other")
    git(other, "remote", "add", "origin", str(bare))
    assert percyd(other, "status", code=3).out == ""


@pytest.mark.parametrize(
    "how",
    [
        pytest.param("rewound", marks=pytest.mark.spoiled),
        "deleted",
        pytest.param("merged", marks=pytest.mark.spoiled),
    ],
)
def test_a_state_branch_that_was_tampered_with_is_refused_with_exit_4(
    tmp_path: Path, how: str
) -> None:
    clone, bare = set_up(tmp_path)
    percyd(clone, "plan", "submit", ".percy/plans/two.yaml")
    good = refs(bare)[STATE]
    parent = git(bare, "rev-parse", f"{good}^")
    if how == "rewound":
        git(bare, "update-ref", STATE, parent)
    elif how == "deleted":
        git(bare, "update-ref", "-d", STATE)
    else:
        tree = git(bare, "rev-parse", f"{good}^{{tree}}")
        merge = git(
            clone,
            "-C",
            str(bare),
            "commit-tree",
            tree,
            "-p",
            good,
            "-p",
            parent,
            "-m",
            "x",
        )
        git(bare, "update-ref", STATE, merge)
    before = refs(bare)
    for args in (("status",), ("init",), ("serve", "--until-idle"), ("plan", "list")):
        done = percyd(clone, *args, code=4)
        assert len(done.said) == 1
        assert good[:10] in done.said[0] or how == "merged"
    assert refs(bare) == before


def test_submit_takes_the_committed_version_or_says_commit_it_first(
    tmp_path: Path,
) -> None:
    clone, _ = set_up(tmp_path)
    done = percyd(clone, "plan", "submit", ".percy/plans/two.yaml", "--json")
    assert (done.document["plan"], done.document["tasks"]) == ("two", 2)
    again = percyd(clone, "plan", "submit", ".percy/plans/two.yaml")
    assert "already" in again.out
    (clone / ".percy/plans/two.yaml").write_text(PLAN + "# more\n")
    assert (
        "commit it first"
        in percyd(clone, "plan", "submit", ".percy/plans/two.yaml", code=2).said[0]
    )
    (clone / ".percy/plans/new.yaml").write_text(PLAN)
    percyd(clone, "plan", "submit", ".percy/plans/new.yaml", code=2)


def test_submit_takes_any_other_file_as_it_is(tmp_path: Path) -> None:
    clone, bare = set_up(tmp_path, None)
    file = tmp_path / "elsewhere.json"
    task = {"id": "a", "title": "A", "run": "echo a > a.txt"}
    file.write_text(json.dumps({"title": "Else", "tasks": [task]}))
    percyd(clone, "plan", "submit", str(file))
    percyd(clone, "worker", "--until-idle")
    assert git(bare, "show", "percy/plan/elsewhere:a.txt") == "a"
    plan = percyd(clone, "plan", "show", "elsewhere", "--json").document
    assert plan["source"]["kind"] == "cli"
    assert git(bare, "show", f"{STATE}:plans/elsewhere/source.json")


def test_submit_from_standard_input_gets_an_id_from_the_title(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    for expected in ("two", "two-2"):
        process = subprocess.run(
            [sys.executable, "-m", "percyd", "plan", "submit", "-", "--json"],
            cwd=clone,
            input=PLAN + f"# {expected}\n",
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
        )
        assert json.loads(process.stdout)["plan"] == expected


def test_a_failed_task_is_retried_and_the_plan_goes_on(tmp_path: Path) -> None:
    marker = tmp_path / "mended"
    plan = f"""\
title: Two
defaults: {{max_attempts: 1}}
tasks:
  - {{id: a, title: A, run: 'test -e {marker} && echo a > a.txt'}}
  - {{id: b, title: B, run: cat a.txt > b.txt, depends_on: [a]}}
"""
    clone, bare = set_up(tmp_path, plan)
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "two.a" in done.said[-1]
    marker.touch()
    assert "two.a" in percyd(clone, "task", "retry", "two.a").out
    percyd(clone, "serve", "--until-idle")
    assert git(bare, "show", "percy/plan/two:b.txt") == "a"


def test_status_names_plan_files_that_are_no_plans_and_the_log_begins_with_the_plan(
    tmp_path: Path,
) -> None:
    plan = "title: Two\ntasks: [{id: a, title: A, run: 'true'}]\n"
    clone, _ = set_up(tmp_path, plan)
    commit(clone, {".percy/plans/bad.yaml": "title: [", ".percy/plans/README.md": "x"})
    assert "warning: not taken in: bad.yaml, two.yaml; percyd serve" in (
        percyd(clone, "status").out
    )
    said = percyd(clone, "serve", "--until-idle", code=1).err.splitlines()
    order = [line.split()[1] for line in said if "=two" in line.partition("why=")[0]]
    assert order[:2] == ["taken", "started"]
    assert "warning: not taken in: bad.yaml; percyd" in percyd(clone, "status").out


def test_a_command_that_is_mended_in_the_file_is_the_one_that_is_tried_again(
    tmp_path: Path,
) -> None:
    plan = "title: Two\ndefaults: {max_attempts: 1}\ntasks: [{id: a, title: A, run: fals}]\n"
    clone, bare = set_up(tmp_path, plan)
    percyd(clone, "serve", "--until-idle", code=1)
    assert percyd(
        clone, "plan", "submit", ".percy/plans/two.yaml"
    ).out.splitlines() == [
        "plan two is there already, from this very document, and is failed",
        "percyd plan rerun two runs it again as a new plan",
    ]
    commit(clone, {".percy/plans/two.yaml": plan.replace("fals", "echo a > a.txt")})
    told = percyd(clone, "plan", "submit", ".percy/plans/two.yaml", code=1)
    assert "percyd task retry takes it up for a task that has failed" in told.err

    done = percyd(clone, "task", "retry", "two.a")

    assert done.out.splitlines() == [
        "back in the queue: two.a",
        "edited since it was tried: two.a",
    ]
    percyd(clone, "serve", "--until-idle")
    assert git(bare, "show", "percy/plan/two:a.txt") == "a"


def test_old_failures_do_not_count_for_until_idle(tmp_path: Path) -> None:
    plan = "title: X\ndefaults: {max_attempts: 1}\ntasks: [{id: a, title: A, run: 'false'}]\n"
    clone, _ = set_up(tmp_path, plan)
    percyd(clone, "serve", "--until-idle", code=1)
    percyd(clone, "serve", "--until-idle")


def test_a_prose_plan_is_taken_in_and_waits(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    commit(clone, {".percy/plans/idea.md": "# An idea\n\nMake it better.\n"}, "idea")
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "waiting" in done.said[-1]
    (task,) = percyd(clone, "status", "--json").document["tasks"]
    assert (task["type"], task["status"]) == ("plan", "submitted")
    assert [wait["code"] for wait in task["blocked_by"]] == ["no_agent"]


def test_plan_submit_of_an_edited_file_says_what_it_changes(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path)
    file = ".percy/plans/two.yaml"
    percyd(clone, "plan", "submit", file)
    edited = PLAN.replace("cat a.txt", "cat ./a.txt").replace("id: a,", "id: c,")
    commit(clone, {file: edited.replace("[a]", "[c]")}, "edit")
    done = percyd(clone, "plan", "submit", file)
    assert done.out.splitlines() == [
        "reconciled: plan two, 1 added, 1 updated, 1 cancelled",
        "added: two.c",
        "updated: two.b",
        "cancelled: two.a",
    ]
    assert done.err == ""
    assert "there already" in percyd(clone, "plan", "submit", file).out
    commit(clone, {file: PLAN}, "back")
    found = percyd(clone, "plan", "submit", file, "--json").document
    assert (found["plan"], found["tasks"]) == ("two", 3)
    changes = found["changes"]
    assert [changes[key] for key in ("updated", "cancelled", "reopened", "kept")] == [
        *(["two.b"], ["two.c"], ["two.a"], [])
    ]
    git(clone, "reset", "-q", "--hard", "HEAD~1")
    stale = percyd(clone, "plan", "submit", file, code=1)
    assert "follows a later version" in stale.said[0]


def test_two_files_of_one_name_are_both_refused(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path)
    commit(clone, {".percy/plans/two.json": "{}"}, "twin")
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "same plan id" in done.err
    assert percyd(clone, "status", "--json").document["plans"] == []


def test_a_plan_that_is_saved_but_not_committed_starts_nothing(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    (clone / ".percy/plans/two.yaml").write_text(PLAN)
    percyd(clone, "serve", "--until-idle")
    assert percyd(clone, "status", "--json").document["plans"] == []


def test_a_commit_that_is_not_pushed_is_never_published(tmp_path: Path) -> None:
    clone, bare = set_up(tmp_path, None)
    commit(clone, {".percy/plans/two.yaml": PLAN, "secret.txt": "mine"}, "local")
    percyd(clone, "serve", "--until-idle")
    files = git(bare, "ls-tree", "-r", "--name-only", "percy/plan/two").splitlines()
    assert "b.txt" in files
    assert "secret.txt" not in files
    assert "1 commit ahead" in percyd(clone, "status").out


def test_a_base_with_submodules_or_filters_is_refused(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path)
    commit(clone, {".gitattributes": "*.bin filter=lfs\n"}, "lfs")
    git(clone, "push", "-q")
    done = percyd(clone, "serve", "--until-idle", code=1)
    assert "filter" in done.err
    done = percyd(clone, "plan", "submit", ".percy/plans/two.yaml", "--json", code=2)
    assert done.document["error"]["code"] == "unsupported_repository"


def test_log_prints_one_event_a_line_for_a_plan_or_a_task(tmp_path: Path) -> None:
    clone, bare = set_up(tmp_path)
    percyd(clone, "serve", "--until-idle")
    count = int(git(bare, "rev-list", "--count", STATE))
    assert len(percyd(clone, "log").out.splitlines()) == count
    of_b = percyd(clone, "log", "two.b", "--json").document["events"]
    assert [e["operation"] for e in of_b] == ["resolve", "claim", "work", "complete"]
    of_plan = percyd(clone, "log", "two", "--json").document["events"]
    assert of_plan[0]["operation"] == "take-in"
    assert of_plan[-1]["operation"] == "close"
    percyd(clone, "log", "two.zzz", code=2)


def test_config_tells_every_value_and_its_source(tmp_path: Path) -> None:
    clone, _ = set_up(tmp_path, None)
    (clone / ".percy/local.toml").write_text("[worker]\nslots = 7\n")
    shown = percyd(clone, "config", "--json").document
    assert shown["worker.slots"]["source"] == ".percy/local.toml:2"
    assert shown["base"]["source"] == ".percy/config.toml:1"
    assert shown["lease.beat_s"]["source"] == "default"
    (clone / ".percy/local.toml").write_text('base = "x"\nwrker = 1\n')
    done = percyd(clone, "config", code=2)
    assert "base" in done.err
    assert "wrker" in done.err


def test_sigterm_gives_running_tasks_back_and_leaves(tmp_path: Path) -> None:
    started = tmp_path / "started"
    plan = f"title: X\ntasks: [{{id: a, title: A, run: 'touch {started}; sleep 60'}}]\n"
    clone, _ = set_up(tmp_path, plan)
    process = start("serve", "--grace", "0.1", cwd=clone)
    pause = threading.Event()
    for _ in range(400):
        if started.exists():
            break
        pause.wait(0.05)
    process.send_signal(signal.SIGTERM)
    done = finish(process, 30)
    assert done.code == 0, done.err
    document = percyd(clone, "status", "--json").document
    (task,) = document["tasks"]
    assert (task["status"], task["attempts"][0]["outcome"]) == ("submitted", "released")
    assert [agent["status"] for agent in document["agents"]] == ["left"]
    state = tmp_path / "state"
    assert not list(state.glob("*/slots/*/x.a.*"))


def test_the_demo_runs_to_its_end_and_is_looked_at_with_what_it_prints(
    tmp_path: Path,
) -> None:
    kept = finish(start("demo", "--keep", cwd=tmp_path, TMPDIR=str(tmp_path)))
    assert kept.code == 0
    assert "Merge bakery.opening" in kept.out
    (folder,) = tmp_path.glob("percyd-demo-*")
    assert f"Kept in {folder}. Look around:" in kept.out
    commands = [
        line for line in kept.out.splitlines() if str(folder / "bakery") in line
    ]
    commands = [line.strip() for line in commands if line.startswith("  ")]
    assert len(commands) == 3
    for command in commands:
        words = command.replace(" percyd ", f" {sys.executable} -m percyd ", 1)
        env = {**os.environ, "PYTHONPATH": str(PROJECT)}
        subprocess.run(
            ["/bin/sh", "-c", words], check=True, env=env, capture_output=True
        )
    prices = git(folder / "bakery.git", "show", "percy/plan/bakery:prices.txt")
    assert sorted(prices.splitlines()) == ["loaf 4.00", "rolls 0.50"]


def test_the_demo_leaves_nothing_behind_however_it_ends(tmp_path: Path) -> None:
    done = finish(start("demo", "--slots", "0", cwd=tmp_path, TMPDIR=str(tmp_path)))
    assert done.code == 2
    assert list(tmp_path.glob("percyd-demo-*")) == []


def test_what_a_loop_would_log_is_no_stray_word_of_a_command() -> None:
    script = (
        "import logging, sys; sys.argv = ['percyd', '--version']\n"
        "from percyd.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: logging.getLogger('percyd.state').warning('stray')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert (done.stdout.startswith("percyd, version"), done.stderr) == (True, "")


def test_a_new_plan_where_percyd_is_not_set_up_says_so(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    done = percyd(tmp_path, "plan", "new", "one")
    assert "run percyd init" in done.err
    assert (tmp_path / ".percy/plans/one.yaml").is_file()
    (tmp_path / ".percy/config.toml").touch()
    assert percyd(tmp_path, "plan", "new", "two").err == ""


def test_init_sets_up_the_coding_agents_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, _ = with_remote(tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("aider", "codex"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    percyd(clone, "init", "--no-hooks")

    text = (clone / ".percy/config.toml").read_text()
    assert '\nrunner = "codex"' in text
    assert '[runners.codex]\ncommand = ["codex"]' in text
    assert '[runners.aider]\ncommand = ["aider"]' in text
    assert "[runners.claude]\ncommand" not in text
    shown = percyd(clone, "config", "--json").document
    assert shown["runners.codex.project_settings"]["value"] == "false"
