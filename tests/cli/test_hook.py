"""``percyd hook`` and the shims that it installs: real commits, merges and pushes.

Nothing of the user's is lost or slowed: other people's hooks run first and are put back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from percyd.doctor.hooks import hooks as examine
from percyd.errors import RefusedError
from percyd.home import FileLock, Home
from percyd.hooking import Hooks, take_in
from percyd.repo.discover import discover
from percyd.repo.hooks import CLONE_HOOKS, NAMES, HookState
from percyd.session import Percyd
from tests.support.daemonised import until
from tests.support.gitrepo import commit, git, make_bare, make_repo, tip, write_hook
from tests.support.newuser import PROJECT, finish, new_user, percyd, start

PLAN = "title: P\ntasks:\n  - {id: a, title: A, run: echo a > a.txt}\n"
NO_DAEMON = (
    "percyd: plans have changed, and no daemon runs here; percyd serve takes them in"
)


@pytest.fixture(autouse=True)
def _percyd_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``percyd`` program, as an installation puts it there."""
    program = tmp_path / "bin" / "percyd"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH={PROJECT} exec {sys.executable} -m percyd "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "shop")


def hooks_of(repo: Path) -> Hooks:
    return Hooks.around(repo, os.environ)


def doctors_words(repo: Path) -> list[str]:
    """What `percyd doctor` has to say about the hooks."""
    return [check.message for check in examine(Percyd.open(repo, dict(os.environ)))]


def home_of(repo: Path) -> Home:
    found = discover(repo)
    home = Home.of(Path(os.environ["PERCYD_STATE_DIR"]), found.name, found.common_dir)
    home.ensure()
    return home


@contextmanager
def daemon(repo: Path) -> Iterator[Path]:
    """As the shims see it: a lock with a process. Yields the wake file."""
    home = home_of(repo)
    with FileLock(home.lock("daemon")):
        yield home.wake


def said(repo: Path, *args: str) -> list[str]:
    """What a git command and its hooks print on stderr."""
    done = subprocess.run(
        ["git", "-C", str(repo), *args], capture_output=True, text=True, check=True
    )
    return [line for line in done.stderr.splitlines() if "percyd" in line]


def stage(repo: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(repo, "add", "-A")


def plan(name: str) -> dict[str, str]:
    return {f".percy/plans/{name}.yaml": PLAN}


# What a commit says and does


def test_a_commit_says_once_that_no_daemon_runs_if_it_changes_plans(
    clone: Path,
) -> None:
    hooks_of(clone).install()
    stage(clone, plan("p"))
    assert said(clone, "commit", "-qm", "plan") == [NO_DAEMON]
    stage(clone, {"a.txt": "a"})
    assert said(clone, "commit", "-qm", "no plan") == []
    stage(clone, plan("q"))
    assert said(clone, "commit", "-q", "--amend", "-m", "amended") == [NO_DAEMON]


def test_a_first_commit_and_a_merge_commit_are_seen(tmp_path: Path) -> None:
    repo = tmp_path / "new"
    repo.mkdir()
    git(repo, "init", "-q")
    hooks_of(repo).install()
    stage(repo, plan("p"))
    assert said(repo, "commit", "-qm", "root") == [NO_DAEMON]
    git(repo, "checkout", "-q", "-b", "side")
    stage(repo, {**plan("q"), "same.txt": "side"})
    said(repo, "commit", "-qm", "side")
    git(repo, "checkout", "-q", "main")
    stage(repo, {"same.txt": "main"})
    said(repo, "commit", "-qm", "main")
    git(repo, "merge", "-q", "side", check=False)
    stage(repo, {"same.txt": "both"})
    assert said(repo, "commit", "-qm", "merged by hand") == [NO_DAEMON]


def test_merges_squashes_rebases_and_pulls_are_seen_and_silent_without_plans(
    clone: Path,
) -> None:
    git(clone, "checkout", "-q", "-b", "side")
    commit(clone, plan("p"))
    git(clone, "checkout", "-q", "main")
    commit(clone, {"b.txt": "b"})
    git(clone, "branch", "other")
    hooks_of(clone).install()

    assert said(clone, "merge", "-q", "--no-edit", "side") == [NO_DAEMON]
    git(clone, "reset", "-q", "--hard", "other")
    assert said(clone, "merge", "-q", "--squash", "side") == []
    assert said(clone, "commit", "-qm", "squashed") == [NO_DAEMON]
    git(clone, "reset", "-q", "--hard", "other")
    commit(clone, {"c.txt": "c"})
    # Rebased onto a plan: said once, at its end, although each commit is made anew.
    commit(clone, {"d.txt": "d"})
    assert said(clone, "rebase", "-q", "side") == [NO_DAEMON]
    commit(clone, {"e.txt": "e"})
    assert said(clone, "rebase", "-q", "--no-ff", "HEAD~2") == []
    git(clone, "checkout", "-q", "other")
    commit(clone, {"f.txt": "f"})
    git(clone, "checkout", "-q", "-b", "third", "other~1")
    assert said(clone, "merge", "-q", "--no-edit", "other") == []


def test_a_running_daemon_is_woken_and_nothing_said_also_in_a_linked_worktree(
    clone: Path, tmp_path: Path
) -> None:
    hooks_of(clone).install()
    git(clone, "worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    with daemon(clone) as wake:
        for where in (clone, tmp_path / "linked"):
            stage(where, plan(where.name))
            assert said(where, "commit", "-qm", "plan") == []
            assert wake.exists()
            wake.unlink()
    # What a killed daemon leaves is a number of nobody.
    home_of(clone).lock("daemon").write_text("4194305")
    stage(clone, plan("q"))
    assert said(clone, "commit", "-qm", "plan") == [NO_DAEMON]


def test_without_percyd_a_shim_is_silent(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = hooks_of(clone)
    gone = Hooks(
        hooks.clone, hooks.folder, {**hooks.values, "percyd": Path("/gone/percyd")}
    )
    gone.install()
    stage(clone, plan("p"))
    assert said(clone, "commit", "-qm", "found on PATH") == [NO_DAEMON]
    tools = {str(Path(shutil.which(tool) or "").parent) for tool in ("git", "sh")}
    monkeypatch.setenv("PATH", ":".join(tools))
    stage(clone, plan("q"))
    if shutil.which("percyd") is None:
        assert said(clone, "commit", "-qm", "nowhere") == []


def test_no_python_starts_and_git_is_asked_once(clone: Path, tmp_path: Path) -> None:
    hooks_of(clone).install()
    spy = tmp_path / "spy"
    spy.mkdir()
    for tool in ("git", "python3", "python", "percyd"):
        real = shutil.which(tool) or "/bin/true"
        (spy / tool).write_text(
            f'#!/bin/sh\necho {tool} >> {spy}/log\nexec {real} "$@"\n'
        )
        (spy / tool).chmod(0o755)
    stage(clone, {"a.txt": "a"})
    git(clone, "commit", "-qm", "no plan")
    subprocess.run(
        [clone / ".git/hooks/post-commit"],
        cwd=clone,
        env={**os.environ, "PATH": f"{spy}:{os.environ['PATH']}"},
        check=True,
    )
    assert (spy / "log").read_text().split() == ["git"]


# Other people's hooks


def test_an_existing_hook_runs_first_with_arguments_input_and_its_exit_code(
    clone: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    own = {
        name: write_hook(
            clone, name, f'echo {name} "$@" >> {log}; cat >> {log}; exit 3'
        )
        for name in ("post-merge", "post-rewrite", "post-receive")
    }
    own["post-merge"].chmod(0o700)
    before = {path: (path.read_bytes(), path.stat()) for path in own.values()}
    hooks_of(clone).install(NAMES)

    done = {}
    for name, args, text in (
        ("post-merge", ["1"], ""),
        ("post-rewrite", ["rebase"], "old new\nolder newer\n"),
        ("post-receive", [], "1 2 refs/heads/x\n"),
    ):
        done[name] = subprocess.run(
            [own[name], *args], cwd=clone, input=text, text=True, check=False
        ).returncode
    assert set(done.values()) == {3}
    assert log.read_text() == (
        "post-merge 1\n"
        "post-rewrite rebase\nold new\nolder newer\n"
        "post-receive\n1 2 refs/heads/x\n"
    )

    assert hooks_of(clone).uninstall() == list(NAMES)
    for path, (content, status) in before.items():
        now = path.stat()
        assert path.read_bytes() == content
        assert (now.st_mode, now.st_mtime_ns) == (status.st_mode, status.st_mtime_ns)
    assert not (clone / ".git/hooks/post-commit").exists()


def test_a_hook_that_is_a_link_or_not_executable_is_kept_and_restored(
    clone: Path,
) -> None:
    hooks = clone / ".git/hooks"
    (clone / "tool.sh").write_text("#!/bin/sh\necho from the tool >&2\n")
    (clone / "tool.sh").chmod(0o755)
    (hooks / "post-commit").symlink_to("../../tool.sh")
    write_hook(clone, "post-merge", "exit 9").chmod(0o644)
    hooks_of(clone).install()

    done = subprocess.run(
        ["git", "-C", clone, "commit", "-q", "--allow-empty", "-m", "x"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "from the tool" in done.stderr
    assert subprocess.run([hooks / "post-merge", "1"], cwd=clone).returncode == 0
    hooks_of(clone).uninstall()
    assert (hooks / "post-commit").readlink() == Path("../../tool.sh")
    assert not os.access(hooks / "post-merge", os.X_OK)


def test_a_hook_that_replaced_ours_is_never_lost(clone: Path) -> None:
    write_hook(clone, "post-commit", "echo first")
    hooks_of(clone).install()
    write_hook(clone, "post-commit", "echo second")
    assert hooks_of(clone).state("post-commit") is HookState.FOREIGN

    refused = percyd(clone, "hook", "uninstall", code=1)

    assert "keeps an earlier one: both stay" in refused.err
    assert "second" in (clone / ".git/hooks/post-commit").read_text()
    kept = clone / ".git/hooks/post-commit.before-percyd"
    assert "first" in kept.read_text()
    with pytest.raises(RefusedError):
        hooks_of(clone).install()


# Where hooks are


def test_the_command_installs_reports_and_takes_out(clone: Path) -> None:
    folder = clone / ".git/hooks"
    out = percyd(clone, "hook", "install").out
    assert out.splitlines() == [f"installed {folder / n}" for n in CLONE_HOOKS]
    assert hooks_of(clone).install() == []
    (folder / "post-merge").chmod(0o644)
    shim = (folder / "post-commit").read_text()
    (folder / "post-commit").write_text(f"{shim}\n# of another version\n")
    (folder / "post-rewrite").unlink()
    states = [hooks_of(clone).state(name) for name in CLONE_HOOKS]
    assert states == [HookState.OUTDATED, HookState.NOT_EXECUTABLE, HookState.ABSENT]
    assert [text.rpartition(" is ")[2] for text in doctors_words(clone)] == [
        "outdated",
        "not executable",
        "missing",
    ]
    hooks_of(clone).install()
    assert percyd(clone, "hook", "uninstall", "--json").document == {
        "uninstalled": list(CLONE_HOOKS)
    }
    assert "none is installed" in doctors_words(clone)[0]
    assert percyd(clone, "hook", "run", "pre-push", code=2).out == ""


@pytest.mark.parametrize("inside", [True, False], ids=["husky", "global"])
def test_a_folder_that_is_not_percyds_is_not_written_to_and_the_line_works(
    clone: Path, tmp_path: Path, inside: bool
) -> None:
    if inside:
        folder = clone / ".husky"
        git(clone, "config", "core.hooksPath", ".husky")
    else:
        folder = tmp_path / "everywhere"
        git(clone, "config", "--global", "core.hooksPath", str(folder))
    folder.mkdir()
    (folder / "post-commit").write_text("#!/bin/sh\necho theirs >&2\n")
    (folder / "post-commit").chmod(0o755)
    before = sorted(folder.iterdir())

    done = percyd(clone, "hook", "install")

    assert sorted(folder.iterdir()) == before
    (line,) = [w for w in done.err.splitlines() if f"in {folder}/post-commit:" in w]
    assert "python" not in line
    with (folder / "post-commit").open("a") as file:
        file.write(line.partition(":  ")[2] + "\n")
    stage(clone, plan("p"))
    assert said(clone, "commit", "-qm", "plan") == [NO_DAEMON]
    assert [text.split(" ")[0] for text in doctors_words(clone)] == [
        str(folder / name) for name in ("post-merge", "post-rewrite")
    ]
    hooks_of(clone).uninstall()
    assert said(clone, "commit", "-q", "--amend", "--no-edit") == []
    assert not (clone / ".git/percyd-hooks").exists()


def test_init_installs_them_and_goes_on_where_it_cannot(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    again = user.clone_again("fresh")
    assert "installed the hook" in percyd(again, "init").out
    stage(again, plan("p"))
    assert said(again, "commit", "-qm", "plan") == [NO_DAEMON]
    shutil.rmtree(user.clone / ".git/hooks")
    (user.clone / ".git/hooks").write_text("in the way")
    (user.clone / ".percy/.gitignore").unlink()
    done = user.percyd("init")
    (line,) = done.said
    assert line.startswith("percyd: no hooks: the hook")
    assert "wrote .percy/.gitignore" in done.out


# A server


@pytest.mark.timeout(120)
def test_a_bare_repository_needs_no_more_than_its_hook_and_a_worker_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = new_user(tmp_path)
    # A bare clone follows an origin; its plans are taken in for itself all the same.
    git(user.remote, "remote", "add", "origin", str(tmp_path / "nowhere.git"))
    hooks_of(user.remote).install()
    elsewhere = user.clone_again("elsewhere")
    home_of(elsewhere).woken_for.write_text(f"{user.remote.resolve()}\n")
    commit(user.clone, {"b.txt": "b"})
    assert said(user.clone, "push", "-q", "origin", "main") == []
    assert home_of(elsewhere).wake.exists()
    commit(user.clone, plan("p"))
    monkeypatch.delenv("HOME")

    assert said(user.clone, "push", "-q", "origin", "main") == [
        "remote: percyd: plans have changed, and are being taken in        "
    ]

    monkeypatch.undo()
    monkeypatch.setenv("PERCYD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    until(lambda: user.refs("refs/heads/percy/plan"), "the plan is taken in")
    worker = start("worker", "--until-idle", cwd=elsewhere)
    assert finish(worker).code == 0
    assert user.file("p", "a.txt") == "a"


def test_refs_of_percyds_own_and_pushes_without_plans_start_nothing(
    clone: Path, tmp_path: Path
) -> None:
    remote = make_bare(tmp_path / "shop.git")
    git(clone, "remote", "add", "origin", str(remote))
    hooks_of(remote).install()
    home = home_of(clone)
    home.woken_for.write_text(f"{remote.resolve()}\n")
    commit(clone, plan("p"))
    for ref in ("refs/heads/percy/plan/p", "refs/heads/agent/a/p.a", "refs/tags/v1"):
        assert said(clone, "push", "-q", "origin", f"HEAD:{ref}") == []
    assert not home.wake.exists()
    assert said(clone, "push", "-q", "origin", "HEAD~1:refs/heads/main") == []
    assert home.wake.exists()
    # More branches than anybody should wait for: taken for changed, unseen.
    specs = [f"HEAD~1:refs/heads/b{n}" for n in range(30)]
    assert len(said(clone, "push", "-q", "origin", *specs)) == 1
    assert said(clone, "push", "-q", "origin", ":refs/heads/b1") == []


@pytest.mark.parametrize("bare_clone", [False, True])
def test_why_a_push_was_not_taken_in_is_where_doctor_looks(
    tmp_path: Path, bare_clone: bool
) -> None:
    user = new_user(tmp_path)
    if bare_clone:
        git(user.remote, "remote", "add", "origin", str(tmp_path / "nowhere.git"))
    hooks_of(user.remote).install()
    commit(user.clone, {**plan("p"), ".percy/config.toml": "[worker]\nslots = 0\n"})
    user.push()
    log = home_of(user.remote).log_file("received")
    until(lambda: log.exists() and "slots" in log.read_text(), "it is told")
    assert "config.toml:2" in log.read_text()


def test_of_many_pushes_one_process_takes_in_all(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    commit(user.clone, plan("p"))
    user.push()
    here = Percyd.open(user.remote, dict(os.environ))
    here.home.ensure()
    with FileLock(here.home.lock("received")):
        take_in(here)
        assert user.refs("refs/heads/percy/plan") == {}
    take_in(here)
    here.close()
    assert list(user.refs("refs/heads/percy/plan")) == ["refs/heads/percy/plan/p"]
    assert tip(user.remote, "main") == tip(user.clone)
