from __future__ import annotations

import os
import random
import resource
import subprocess
import threading
from pathlib import Path

import pytest

from percyd.core.ids import STATE_REF
from percyd.core.refs import Oid, RefMove
from percyd.errors import (
    GitError,
    RemoteUnreachable,
    StateRefused,
    UnsupportedRepository,
)
from percyd.repo.adopted import ADOPTED_REF
from percyd.repo.facts import TreeScanner
from percyd.repo.hub import INGESTED, Hub
from percyd.repo.objects import write_commits
from percyd.repo.packs import MOST_PACKS, tidy
from percyd.repo.values import Identity, NewCommit, PushOutcome, Remote
from tests.support.gitrepo import (
    NOWHERE,
    WHEN,
    commit,
    git,
    make_bare,
    make_remote,
    make_repo,
    open_hub,
    refs,
    tip,
    write_hook,
)

# A hub carries what it is given: its state branches here hold anything.
pytestmark = pytest.mark.spoiled

MAIN = "refs/heads/main"
ANN = Identity("Ann", "ann@example.org")


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return make_remote(tmp_path / "remote.git")


@pytest.fixture
def hub(tmp_path: Path, remote: Path) -> Hub:
    return open_hub(tmp_path / "hub.git", remote)


def publish_state(remote: Path, message: str = "state") -> Oid:
    tree = git(remote, "mktree", stdin="")
    oid = git(remote, "commit-tree", "-m", message, tree)
    git(remote, "update-ref", STATE_REF, oid)
    return oid


# Making it


def test_a_hub_is_bare_private_and_without_remotes(hub: Hub, remote: Path) -> None:
    assert git(hub.path, "rev-parse", "--is-bare-repository") == "true"
    assert git(hub.path, "remote") == ""
    assert git(hub.path, "config", "core.fsync") == "committed"
    assert git(hub.path, "config", "gc.auto") == "0"
    assert not (hub.path / "hooks").exists()
    assert hub.path.parent.stat().st_mode


def test_opening_again_keeps_what_is_there(hub: Hub, remote: Path) -> None:
    oid = publish_state(remote)
    hub.fetch_state()
    hub.adopt(oid, None)

    assert open_hub(hub.path, remote).adopted() == oid


def test_two_processes_may_open_it_at_once(tmp_path: Path, remote: Path) -> None:
    opened: list[Hub] = []
    place = tmp_path / "deep" / "hub.git"

    def open_it() -> None:
        opened.append(open_hub(place, remote))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 4
    assert [path.name for path in place.parent.iterdir()] == ["hub.git"]


def test_something_else_in_its_place_is_not_touched(
    tmp_path: Path, remote: Path
) -> None:
    place = tmp_path / "hub.git"
    place.mkdir()
    (place / "precious").touch()

    with pytest.raises(GitError, match="cannot make the hub"):
        open_hub(place, remote)

    assert [path.name for path in place.iterdir()] == ["precious"]


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_it_takes_the_object_format_of_its_remote(tmp_path: Path, prefix: str) -> None:
    remote = tmp_path / "r256"
    remote.mkdir()
    git(remote, "init", "-q", "--object-format=sha256")
    oid = commit(remote, {"f": "f"})

    hub = Hub.open(tmp_path / "hub.git", Remote(f"{prefix}{remote}"))
    with hub:
        assert hub.fetch_refs([MAIN]) == {MAIN: oid}
        assert len(oid) == 64
        (state,) = write_commits(hub.git, None, [NewCommit("m", WHEN, {"a": b""})])
        report = hub.push([RefMove(STATE_REF, None, state)])
        assert report.refs[STATE_REF].outcome is PushOutcome.APPLIED
        assert hub.fetch_state() == state


# Reading the remote


def test_the_state_is_absent_then_there_then_gone(hub: Hub, remote: Path) -> None:
    assert hub.fetch_state() is None

    oid = publish_state(remote)
    assert hub.fetch_state() == oid
    assert hub.reader.resolve(f"{oid}^{{tree}}") is not None

    git(remote, "update-ref", "-d", STATE_REF)
    assert hub.fetch_state() is None


def test_an_empty_remote_has_no_state(tmp_path: Path) -> None:
    assert (
        open_hub(tmp_path / "h.git", make_bare(tmp_path / "r.git")).fetch_state()
        is None
    )


def test_a_rewound_state_is_shown_as_it_is(hub: Hub, remote: Path) -> None:
    first = publish_state(remote)
    second = git(remote, "commit-tree", "-p", first, "-m", "2", f"{first}^{{tree}}")
    git(remote, "update-ref", STATE_REF, second)
    assert hub.fetch_state() == second

    git(remote, "update-ref", STATE_REF, first)
    assert hub.fetch_state() == first


def test_a_branch_beside_the_state_is_not_the_state(hub: Hub, remote: Path) -> None:
    git(remote, "update-ref", "refs/heads/percy/state-old", publish_state(remote))
    git(remote, "update-ref", "-d", STATE_REF)

    assert hub.fetch_state() is None


def test_a_remote_that_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub.git", tmp_path / "nowhere.git")

    for ask in (hub.fetch_state, hub.ls_remote, hub.heads):
        with pytest.raises(RemoteUnreachable, match=r"nowhere\.git"):
            ask()
    with pytest.raises(RemoteUnreachable):
        hub.fetch_refs([MAIN])


def test_credentials_are_not_shown_when_the_remote_cannot_be_reached(
    tmp_path: Path,
) -> None:
    url = "http://joe:secret@127.0.0.1:1/x.git"
    hub = Hub.open(tmp_path / "hub.git", Remote(url))

    with hub, pytest.raises(RemoteUnreachable) as failed:
        hub.fetch_state()

    assert "secret" not in str(failed.value)


@pytest.mark.parametrize("content", ["", "0" * 40 + "\n", NOWHERE + "\n"])
def test_a_state_that_cannot_be_read_is_refused_and_ours_kept(
    hub: Hub, remote: Path, content: str
) -> None:
    oid = publish_state(remote)
    assert hub.fetch_state() == oid
    (remote / STATE_REF).write_text(content)

    with pytest.raises(StateRefused, match="cannot be read"):
        hub.fetch_state()

    assert hub.git.ref("refs/percyd/seen/state") == oid


def test_a_state_with_missing_objects_is_refused(hub: Hub, remote: Path) -> None:
    publish_state(remote)
    blob = git(remote, "hash-object", "-w", "--stdin", stdin="content")
    tree = git(remote, "mktree", stdin=f"100644 blob {blob}\tf\n")
    git(remote, "update-ref", STATE_REF, git(remote, "commit-tree", "-m", "m", tree))
    (remote / "objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(StateRefused):
        hub.fetch_state()


def test_refs_are_fetched_with_their_objects_and_absent_ones_are_none(
    hub: Hub, remote: Path
) -> None:
    main, state = tip(remote, MAIN), publish_state(remote)
    absent = "refs/heads/agent/a/p.t"

    found = hub.fetch_refs([STATE_REF, absent, MAIN, MAIN])

    assert found == {STATE_REF: state, absent: None, MAIN: main}
    assert hub.reader.read(f"{main}:README.md") is not None
    assert hub.fetch_refs([absent]) == {absent: None}
    assert hub.fetch_refs([]) == {}


def test_a_ref_that_was_deleted_is_forgotten_here_too(hub: Hub, remote: Path) -> None:
    git(remote, "branch", "x", MAIN)
    assert hub.fetch_refs(["refs/heads/x"])["refs/heads/x"]
    git(remote, "branch", "-D", "x")

    assert hub.fetch_refs(["refs/heads/x"]) == {"refs/heads/x": None}
    assert "refs/percyd/seen/heads/x" not in refs(hub.path)


def test_a_folder_of_refs_can_take_the_place_of_a_ref(hub: Hub, remote: Path) -> None:
    git(remote, "branch", "x", MAIN)
    hub.fetch_refs(["refs/heads/x"])
    git(remote, "branch", "-D", "x")
    git(remote, "branch", "x/y", MAIN)

    assert hub.fetch_refs(["refs/heads/x/y"])["refs/heads/x/y"] == tip(remote, MAIN)


def test_a_damaged_ref_of_ours_is_refused_and_one_of_others_left_out(
    hub: Hub, remote: Path
) -> None:
    publish_state(remote)
    git(remote, "branch", "theirs", MAIN)
    (remote / "refs/heads/theirs").write_text("")
    assert set(hub.ls_remote()) == {MAIN, STATE_REF}

    (remote / STATE_REF).write_text("")
    with pytest.raises(StateRefused, match="damaged"):
        hub.ls_remote()


def test_the_remotes_branches_and_its_head_are_told_by_full_names(
    hub: Hub, remote: Path
) -> None:
    git(remote, "branch", "feature/x", MAIN)

    heads = hub.heads()
    assert [*heads.branches] == ["refs/heads/feature/x", MAIN]
    assert heads.branches[MAIN] == git(remote, "rev-parse", MAIN)
    assert heads.head == MAIN
    assert [*hub.heads("main").branches] == [MAIN]

    git(remote, "symbolic-ref", "HEAD", "refs/heads/unborn")
    assert hub.heads().head is None


def test_an_empty_remote_has_neither_branches_nor_a_head(tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub.git", make_bare(tmp_path / "r.git"))

    assert hub.heads() == ({}, None)


def test_the_users_rewriting_of_urls_holds(tmp_path: Path, remote: Path) -> None:
    git(remote, "config", "--global", f"url.{remote.parent}/.insteadOf", "work:")

    with Hub.open(tmp_path / "hub2.git", Remote("work:remote.git")) as hub:
        assert hub.heads().head == MAIN

    config = ((f"url.{remote.parent}/.insteadOf", "clone:"),)
    with Hub.open(
        tmp_path / "hub3.git", Remote("clone:remote.git", config=config)
    ) as hub:
        assert hub.heads().head == MAIN


def test_a_hub_that_is_fetched_into_by_several_at_once_answers_all(
    hub: Hub, remote: Path
) -> None:
    others = [hub, *(open_hub(hub.path, remote) for _ in range(3))]
    wrong: list[object] = []
    oid = publish_state(remote)

    def ask(who: Hub) -> None:
        try:
            for _ in range(5):
                assert who.fetch_state() == oid
                assert who.fetch_refs([MAIN])[MAIN]
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=ask, args=(who,)) for who in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


# What the hub remembers


def test_the_adopted_tip_is_remembered(hub: Hub, remote: Path) -> None:
    assert hub.adopted() is None
    oid = publish_state(remote)
    hub.fetch_state()

    hub.adopt(oid, None)

    assert hub.adopted() == oid
    assert refs(hub.path)[ADOPTED_REF] == oid


def test_what_is_pinned_stays_until_it_is_let_go(hub: Hub) -> None:
    hub.fetch_refs([MAIN])
    oid = hub.git.ref("refs/percyd/seen/heads/main")
    assert oid is not None

    ref = hub.pin("p.t.1", oid)

    assert hub.git.ref(ref) == oid
    hub.unpin("p.t.1")
    hub.unpin("p.t.1")
    assert hub.git.ref(ref) is None


def test_packs_stay_few_and_nothing_is_dropped(hub: Hub) -> None:
    built = [
        write_commits(hub.git, None, [NewCommit(str(n), WHEN, {"a": b"%d" % n})])[0]
        for n in range(MOST_PACKS + 2)
    ]
    before = len(list(hub.path.glob("objects/pack/*.pack")))

    tidy(hub.git)

    assert before > MOST_PACKS
    assert len(list(hub.path.glob("objects/pack/*.pack"))) < MOST_PACKS // 2
    assert [hub.reader.resolve(oid) for oid in built] == built
    assert git(hub.path, "count-objects", "-v").startswith("count: 0")


# Taking work in


def test_what_dead_processes_took_in_is_let_go(hub: Hub, tmp_path: Path) -> None:
    oid = hub.ingest(make_repo(tmp_path / "workspace"), MAIN)
    gone = subprocess.Popen(["true"])
    gone.wait()
    hub.git.run("update-ref", f"{INGESTED}{gone.pid}-3", oid)

    hub.forget_the_dead()

    listing = hub.git.run("for-each-ref", "--format=%(refname)", INGESTED).text
    assert listing == f"{INGESTED}{os.getpid()}-0"


def test_committed_work_is_taken_in_by_branch_and_by_id(
    hub: Hub, tmp_path: Path
) -> None:
    workspace = make_repo(tmp_path / "workspace")
    oid = tip(workspace)

    assert hub.ingest(workspace, MAIN) == oid
    second = commit(workspace, {"b": "b"})
    git(workspace, "checkout", "-q", "--detach", oid)
    assert hub.ingest(workspace / ".git", second) == second
    assert hub.reader.read(f"{second}:b") is not None


def test_what_is_not_there_or_no_commit_cannot_be_taken_in(
    hub: Hub, tmp_path: Path
) -> None:
    workspace = make_repo(tmp_path / "workspace")
    blob = git(workspace, "rev-parse", "HEAD:README.md")

    for name in ("refs/heads/none", NOWHERE, blob):
        with pytest.raises(GitError):
            hub.ingest(workspace, name)


def test_nothing_that_a_workspace_configures_runs(hub: Hub, tmp_path: Path) -> None:
    workspace = make_repo(tmp_path / "workspace", {".gitattributes": "* filter=e\n"})
    fire = f"touch {tmp_path}/fired"
    for key, value in (
        ("core.fsmonitor", fire),
        ("core.hooksPath", str(tmp_path / "hooks")),
        ("core.sshCommand", fire),
        ("core.pager", fire),
        ("core.alternateRefsCommand", fire),
        ("uploadpack.packObjectsHook", fire),
        ("filter.e.clean", fire),
        ("filter.e.smudge", fire),
        ("filter.e.process", fire),
        ("filter.e.required", "true"),
        ("diff.external", fire),
        ("merge.e.driver", fire),
        ("gc.auto", "1"),
    ):
        git(workspace, "config", key, value)
    (tmp_path / "hooks").mkdir()
    for hook in ("post-checkout", "reference-transaction", "pre-receive"):
        write_hook(workspace, hook, fire)
        (tmp_path / "hooks" / hook).write_text(f"#!/bin/sh\n{fire}\n")
        (tmp_path / "hooks" / hook).chmod(0o755)
    (workspace / "new").write_text("new")
    (tmp_path / "fired").unlink(missing_ok=True)

    base = hub.ingest(workspace, MAIN)
    made = hub.snapshot_work_tree(workspace, base, "m", ANN, WHEN)

    assert made is not None
    assert not (tmp_path / "fired").exists()


def test_a_promisor_remote_of_a_workspace_is_not_asked(
    hub: Hub, tmp_path: Path
) -> None:
    workspace = make_repo(tmp_path / "workspace")
    blob = git(workspace, "rev-parse", "HEAD:README.md")
    (workspace / ".git/objects" / blob[:2] / blob[2:]).unlink()
    for key, value in (
        ("core.repositoryformatversion", "1"),
        ("extensions.partialClone", "evil"),
        ("remote.evil.promisor", "true"),
        ("remote.evil.url", str(workspace)),
        ("remote.evil.uploadpack", f"touch {tmp_path}/fired; git-upload-pack"),
    ):
        git(workspace, "config", key, value)

    with pytest.raises(GitError):
        hub.ingest(workspace, MAIN)

    assert not (tmp_path / "fired").exists()


def test_a_tree_with_a_git_folder_in_it_is_not_taken_in(
    hub: Hub, tmp_path: Path
) -> None:
    workspace = make_repo(tmp_path / "workspace")
    blob = git(workspace, "hash-object", "-w", "--stdin", stdin="[core]\n")
    inner = git(workspace, "mktree", stdin=f"100644 blob {blob}\tconfig\n")
    tree = git(workspace, "mktree", stdin=f"040000 tree {inner}\t.GIT\n")
    oid = git(workspace, "commit-tree", "-m", "m", tree)

    with pytest.raises(GitError):
        hub.ingest(workspace, oid)


# Committing what lies in a folder


@pytest.fixture
def workspace(tmp_path: Path, hub: Hub) -> Path:
    made = make_repo(
        tmp_path / "ws", {"a": "a\n", "d/b": "b\n", ".gitignore": "build/\n*.log\n"}
    )
    hub.ingest(made, MAIN)
    return made


def test_everything_but_what_is_ignored_is_committed(hub: Hub, workspace: Path) -> None:
    base = tip(workspace)
    (workspace / "a").write_text("changed\n")
    (workspace / "d/b").unlink()
    (workspace / "ä new").write_text("n")
    (workspace / "run.sh").write_text("#!/bin/sh\n")
    (workspace / "run.sh").chmod(0o755)
    (workspace / "link").symlink_to("/etc/passwd")
    (workspace / "build").mkdir()
    (workspace / "build/x").touch()
    (workspace / "x.log").touch()
    index = (workspace / ".git/index").read_bytes()

    made = hub.snapshot_work_tree(workspace, base, "subject\n\nbody", ANN, WHEN)

    assert made is not None
    listing = git(hub.path, "-c", "core.quotePath=false", "ls-tree", "-r", made)
    files = {row.split("\t")[1]: row.split(" ")[0] for row in listing.splitlines()}
    assert files == {
        ".gitignore": "100644",
        "a": "100644",
        "link": "120000",
        "run.sh": "100755",
        "ä new": "100644",
    }
    shown = git(hub.path, "show", "-s", "--format=%P|%an|%cn|%s|%b|%cI", made)
    assert shown == f"{base}|Ann|percyd|subject|body\n|2026-03-01T12:00:00+00:00"
    assert (workspace / ".git/index").read_bytes() == index
    assert git(workspace, "log", "-1", "--format=%H") == base


def test_a_folder_without_changes_makes_no_commit(hub: Hub, workspace: Path) -> None:
    made = hub.snapshot_work_tree(workspace, tip(workspace), "m", ANN, WHEN)

    assert made is None


def test_a_change_that_the_workspaces_own_index_hides_is_committed(
    hub: Hub, workspace: Path
) -> None:
    git(workspace, "update-index", "--assume-unchanged", "a")
    (workspace / "a").write_text("hidden\n")

    assert hub.snapshot_work_tree(workspace, tip(workspace), "m", ANN, WHEN)


@pytest.mark.parametrize("has_commits", [True, False])
def test_a_repository_in_the_folder_is_refused_by_its_path(
    hub: Hub, workspace: Path, has_commits: bool
) -> None:
    nested = workspace / "d" / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    if has_commits:
        commit(nested, {"x": "x"})

    with pytest.raises(UnsupportedRepository, match="d/nested"):
        hub.snapshot_work_tree(workspace, tip(workspace), "m", ANN, WHEN)


def test_a_repository_in_an_ignored_folder_is_no_matter(
    hub: Hub, workspace: Path
) -> None:
    make_repo(workspace / "build" / "dependency")

    assert hub.snapshot_work_tree(workspace, tip(workspace), "m", ANN, WHEN) is None


def test_a_link_in_the_place_of_the_folder_is_not_followed(
    hub: Hub, workspace: Path, tmp_path: Path
) -> None:
    base = tip(workspace)
    secret = tmp_path / "secret"
    secret.mkdir()
    workspace.rename(tmp_path / "moved")
    workspace.symlink_to(secret)

    with pytest.raises(GitError, match="is gone"):
        hub.snapshot_work_tree(workspace, base, "m", ANN, WHEN)


def test_the_git_file_of_a_worktree_is_not_committed(
    hub: Hub, workspace: Path, tmp_path: Path
) -> None:
    linked = tmp_path / "linked"
    git(workspace, "worktree", "add", "-q", "--detach", str(linked))

    assert hub.snapshot_work_tree(linked, tip(workspace), "m", ANN, WHEN) is None


# Facts


def test_submodules_filters_and_attributes_are_found(hub: Hub, tmp_path: Path) -> None:
    repo = make_repo(
        tmp_path / "repo",
        {
            ".gitattributes": "*.txt text\n# *.x filter=no\n*.y -filter\n",
            "media/.gitattributes": "*.png filter=lfs diff=lfs -text\n",
            "not.gitattributes": "* filter=x\n",
        },
    )
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{NOWHERE},vendor/lib")
    git(repo, "commit", "-q", "-m", "submodule")
    oid = hub.ingest(repo, MAIN)

    facts = hub.facts(oid)

    assert facts.submodules == ("vendor/lib",)
    assert facts.filters == ("media/.gitattributes",)
    assert set(facts.attributes) == {".gitattributes", "media/.gitattributes"}
    assert hub.facts(oid) is facts


def test_facts_are_the_same_by_what_has_changed_since_another_tree(
    tmp_path: Path, hub: Hub
) -> None:
    repo = make_repo(tmp_path / "repo", {"a": "a", "d/.gitattributes": "* text\n"})
    trees = [tip(repo)]
    for files in (
        {".gitattributes": "*.png filter=lfs\n", "b": "b"},
        {".gitattributes": "*.png -filter\n", "d/.gitattributes": "* filter=x\n"},
        {".gitattributes": None, "d/f": "f", "d/.gitattributes": None},
        {"d/f": None, "d/f/.gitattributes": "* filter=y\n"},
    ):
        trees.append(commit(repo, {k: v for k, v in files.items() if v is None}, "-"))
        trees.append(commit(repo, {k: v for k, v in files.items() if v}, "+"))
    for path in ("vendor/lib", "a"):
        git(repo, "rm", "-q", "--cached", "--ignore-unmatch", path)
        added = f"160000,{NOWHERE},{path}"
        git(repo, "update-index", "--add", "--cacheinfo", added)
        git(repo, "commit", "-q", "-m", "submodule")
        trees.append(tip(repo))
    hub.ingest(repo, MAIN)

    for oid in [*trees, *trees[::-2], *trees[::3]]:
        fresh = TreeScanner(hub.git, hub.reader).facts(oid)
        assert hub.facts(oid) == fresh
    assert len({str(hub.facts(oid)) for oid in trees}) > 6


def test_a_plain_tree_has_no_facts(hub: Hub, remote: Path) -> None:
    hub.fetch_refs([MAIN])

    facts = hub.facts(tip(remote, MAIN))

    assert (facts.submodules, facts.filters, dict(facts.attributes)) == ((), (), {})


def test_the_tree_of_what_is_no_commit_is_an_error(hub: Hub) -> None:
    with pytest.raises(GitError):
        hub.tree_of(NOWHERE)


def test_a_disk_of_ours_that_cannot_be_written_is_not_the_remotes_fault(
    hub: Hub, remote: Path
) -> None:
    blob = git(remote, "hash-object", "-w", "--stdin", stdin=random_text(200_000))
    tree = git(remote, "mktree", stdin=f"100644 blob {blob}\tf\n")
    git(remote, "update-ref", STATE_REF, git(remote, "commit-tree", "-m", "m", tree))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(GitError, match="cannot be written"):
            hub.fetch_state()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def random_text(size: int) -> str:
    """Text that does not compress."""
    return random.Random(1).randbytes(size // 2).hex()


def test_a_remote_behind_the_users_own_ssh_command_is_fetched_and_pushed(
    tmp_path: Path, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "my-ssh"
    ssh.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/hosts\nexec sh -c "$2"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH", str(ssh))
    monkeypatch.setenv("GIT_SSH_VARIANT", "simple")

    with Hub.open(tmp_path / "hub2.git", Remote(f"example.org:{remote}")) as hub:
        main = hub.fetch_refs([MAIN])[MAIN]
        report = hub.push([RefMove("refs/heads/new", None, main)])

    assert report.refs["refs/heads/new"].outcome is PushOutcome.APPLIED
    assert tip(remote, "refs/heads/new") == main
    assert set((tmp_path / "hosts").read_text().split()) == {"example.org"}
