"""Full disks and quotas: a named error at each place, nothing lost, on with it later.

A small file system of its own needs a kernel that lets anybody mount one for himself;
where it does not, a limit on the size of files stands in, which every system has.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from percyd.core.ids import STATE_REF, plan_branch
from tests.support.checker import check
from tests.support.gitrepo import git
from tests.support.newuser import PROJECT, TIMEOUT_S, NewUser, new_user

PERCYD = shlex.join([sys.executable, "-m", "percyd"])
PLAN = {"title": "P", "tasks": [{"id": "a", "title": "A", "run": "echo a > a.txt"}]}
#: Fills what is left to the last byte. Blocks first, for speed.
FILL = (
    "fill() { dd if=/dev/zero of=$SMALL/fill bs=64k 2>/dev/null;"
    " dd if=/dev/zero of=$SMALL/rest bs=1 2>/dev/null; true; }\n"
    "free() { rm -f $SMALL/fill $SMALL/rest; }\n"
)


#: Two ways in which git says it.
FULL = re.compile("No space left on device|Out of diskspace")


def _is_refused(*argv: str) -> bool:
    """Whether the system does not let this be done; a missing program is an error."""
    if sys.platform != "linux":
        return True
    return subprocess.run(argv, capture_output=True, check=False).returncode != 0


needs_mount = pytest.mark.skipif(
    _is_refused("unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"),
    reason="this system lets nobody mount a file system of his own",
)


needs_strace = pytest.mark.skipif(
    _is_refused("strace", "-qq", "-o", "/dev/null", "true"),
    reason="this system lets nobody trace his own programs",
)


def on_a_small_disk(user: NewUser, small: Path, script: str, size: str = "3m") -> str:
    """Run a script with a full disk within reach; what it prints, errors too.

    The file system is gone with the script. ``$SMALL`` is where it is, ``percyd`` and
    ``git`` run in the clone.
    """
    small.mkdir()
    head = f"mount -t tmpfs -o size={size} none {small}\nSMALL={small}\n"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", f"set -u\n{head}{FILL}{script}"],
        cwd=user.clone,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "percyd": PERCYD},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def user(tmp_path: Path) -> NewUser:
    made = new_user(tmp_path)
    made.commit_plan("p.yaml", PLAN)
    return made


def is_whole(user: NewUser) -> None:
    """The plan is done, once, and nothing is wrong."""
    assert user.file("p", "a.txt") == "a"
    assert user.merges("p") == ["p.a"]
    assert check(user.remote) == []
    assert git(user.remote, "fsck", "--connectivity-only", "--no-dangling") == ""


@needs_mount
@pytest.mark.timeout(120)
def test_a_full_disk_under_percyds_own_files_is_named_and_costs_nothing(
    user: NewUser, tmp_path: Path
) -> None:
    said = on_a_small_disk(
        user,
        tmp_path / "small",
        "export PERCYD_STATE_DIR=$SMALL/state\n"
        "$percyd status > /dev/null || exit 9; fill\n"
        "$percyd plan submit .percy/plans/p.yaml; echo code $?\n"
        "$percyd serve --until-idle; echo code $?\n"
        "free; $percyd serve --until-idle || exit 8\n"
        "find $SMALL -name 'fast_import_crash*' -o -size 0 -name '*.json'\n",
    )
    errors = [line for line in said.splitlines() if line.startswith("percyd: ")][:2]
    assert all(f"{tmp_path}/small/state/shop-" in line for line in errors)
    assert all(FULL.search(line) for line in errors)
    assert said.count("code 1\n") == 2
    assert "itself failed" not in said
    assert "crash" not in said
    assert ".json" not in said
    is_whole(user)


@needs_mount
@pytest.mark.timeout(120)
def test_a_full_disk_of_the_remote_is_named_and_work_goes_on_when_there_is_room(
    user: NewUser, tmp_path: Path
) -> None:
    home = user.remote
    said = on_a_small_disk(
        user,
        tmp_path / "small",
        f"cp -a {home} $SMALL/shop.git; mv {home} {home}.old\n"
        f"ln -s $SMALL/shop.git {home}; fill\n"
        "$percyd plan submit .percy/plans/p.yaml; echo code $?\n"
        "$percyd serve --until-idle; echo code $?\n"
        "free; $percyd serve --until-idle || exit 8\n"
        f"rm {home}; cp -a $SMALL/shop.git {home}\n",
    )
    assert [line for line in said.splitlines() if line.startswith("code")] == [
        "code 3",
        "code 3",
    ]
    assert said.count("the remote could not store the push") == 2
    assert said.count("No space left on device") == 2
    is_whole(user)


@needs_mount
@pytest.mark.timeout(120)
def test_a_program_that_fills_the_disk_fails_by_name_and_its_work_is_kept(
    user: NewUser, tmp_path: Path
) -> None:
    # The program fills the disk below its own workspace, its log, and percyd's hub;
    # there is room again once percyd has said what became of it.
    small = tmp_path / "small"
    run = (
        "echo a > a.txt; git add .; git commit -qm a;"
        f" [ $PERCY_ATTEMPT -gt 1 ] || cat /dev/zero > {small}/fill; true"
    )
    user.commit_plan(
        "p.yaml", {"title": "P", "tasks": [{"id": "a", "title": "A", "run": run}]}
    )
    said = on_a_small_disk(
        user,
        small,
        "export PERCYD_STATE_DIR=$SMALL/state\n"
        f"$percyd serve --until-idle 2> {tmp_path}/log & serve=$!\n"
        f"n=0; until grep -q 'attempt failed' {tmp_path}/log || [ $n -gt 600 ]\n"
        "do sleep 0.1; n=$((n+1)); done; free\n"
        f"wait $serve; cat {tmp_path}/log; ls $SMALL/state/*/slots/*/p.a.1\n"
        "$percyd task retry p.a; $percyd serve --until-idle || exit 8\n",
        size="8m",
    )
    assert re.search(rf"attempt failed .*({FULL.pattern})", said), said
    # Where the next attempt began in time, the work went to its rescue ref instead.
    first = said.partition("attempt=2")[0]
    assert "\na.txt\n" in first or "kept task" not in first
    is_whole(user)


@needs_mount
@pytest.mark.timeout(120)
def test_a_start_on_a_full_disk_with_unfinished_work_names_the_place(
    user: NewUser, tmp_path: Path
) -> None:
    said = on_a_small_disk(
        user,
        tmp_path / "small",
        "export PERCYD_STATE_DIR=$SMALL/state\n"
        "PERCY_FAILPOINT=program-ended:kill $percyd serve --until-idle\n"
        "fill; $percyd serve --until-idle; echo code $?\n"
        "free; $percyd serve --until-idle || exit 8\n",
        size="8m",
    )
    assert "code 1" in said
    assert FULL.search(said)
    assert "itself failed" not in said
    is_whole(user)


@pytest.mark.timeout(120)
def test_a_quota_on_files_is_named_and_costs_nothing(user: NewUser) -> None:
    def submit(plan: str) -> str:
        done = subprocess.run(
            ["sh", "-c", f"ulimit -f 1; {PERCYD} plan submit .percy/plans/{plan}"],
            cwd=user.clone,
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        return done.stderr

    user.percyd("status")  # brings the state here, and not the base branch
    assert "/hub.git cannot be written: File too large" in submit("p.yaml")
    user.percyd("serve", "--until-idle")
    is_whole(user)

    user.commit_plan("q.yaml", PLAN)
    user.percyd("plan", "submit", ".percy/plans/p.yaml")  # brings the base branch
    assert "git fast-import: ended by SIGXFSZ" in submit("q.yaml")
    user.percyd("serve", "--until-idle")
    assert user.merges("q") == ["q.a"]


@needs_strace
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", ["fsync:error=EIO", "rename:error=ENOSPC"])
def test_a_disk_that_fails_in_the_middle_leaves_the_old_or_the_new(
    user: NewUser, fault: str
) -> None:
    user.percyd("status")
    before = user.refs()
    submit = f"{PERCYD} plan submit .percy/plans/p.yaml"
    done = subprocess.run(
        shlex.split(f"strace -f -qq -o /dev/null -e inject={fault} {submit}"),
        cwd=user.clone,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    after = user.refs()

    assert done.returncode in (1, 3)
    assert len([x for x in done.stderr.splitlines() if "percyd: " in x]) == 1
    assert "itself failed" not in done.stderr
    assert (plan_branch("p") in after) == (after[STATE_REF] != before[STATE_REF])
    assert [str(path) for path in user.remote.rglob("*.lock")] == []
    user.percyd("serve", "--until-idle")
    is_whole(user)
