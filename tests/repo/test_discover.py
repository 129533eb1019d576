from __future__ import annotations

import os
from pathlib import Path

import pytest

from percyd.errors import GitError, NotARepository, UsageError
from percyd.repo import discover
from percyd.repo.discover import FILE_LIMIT
from percyd.repo.values import Identity
from tests.support.gitrepo import NOWHERE, commit, git, make_bare, make_repo, tip


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "project")


def test_a_clone_is_found_from_any_folder_in_it(repo: Path) -> None:
    deep = repo / "a" / "b"
    deep.mkdir(parents=True)

    clone = discover.discover(deep)

    assert clone.common_dir == repo / ".git"
    assert clone.work_tree == repo
    assert not clone.bare
    assert clone.name == "project"


def test_a_linked_worktree_leads_to_its_main_clone(repo: Path, tmp_path: Path) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "linked"))

    assert discover.discover(tmp_path / "linked") == discover.discover(repo)


def test_a_linked_worktree_of_a_bare_repository_leads_to_it(tmp_path: Path) -> None:
    make_repo(tmp_path / "seed")
    git(tmp_path, "clone", "-q", "--bare", "seed", "project.git")
    git(tmp_path / "project.git", "worktree", "add", "-q", str(tmp_path / "linked"))

    clone = discover.discover(tmp_path / "linked")

    assert clone.common_dir == tmp_path / "project.git"
    assert clone.bare
    assert clone.work_tree is None


def test_a_bare_repository_is_named_without_its_suffix(tmp_path: Path) -> None:
    bare = make_bare(tmp_path / "project.git")

    clone = discover.discover(bare)

    assert clone == discover.Clone(bare, None, bare=True, name="project")


def test_a_repository_whose_git_folder_is_elsewhere_is_found(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    git(top, "init", "-q", f"--separate-git-dir={tmp_path / 'store'}")

    clone = discover.discover(top)

    assert clone.common_dir == tmp_path / "store"
    assert clone.work_tree == top


def test_a_folder_outside_of_any_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARepository):
        discover.discover(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARepository):
        discover.discover(tmp_path / "nowhere")


def test_a_variable_in_a_path_is_not_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")

    with pytest.raises(NotARepository) as refused:
        discover.discover(tmp_path / "$SECRET")

    assert "hunter2" not in str(refused.value)


def test_what_a_hook_was_told_about_its_repository_does_not_matter(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_repo(tmp_path / "other")
    for name in ("GIT_DIR", "GIT_COMMON_DIR"):
        monkeypatch.setenv(name, str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))

    clone = discover.discover(repo)

    assert clone.work_tree == repo
    assert os.environ["GIT_DIR"] == str(other / ".git")
    assert discover.local_branches(clone) == {"main": tip(repo)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_a_repository_of_somebody_else_needs_the_users_trust(repo: Path) -> None:
    os.chown(repo / ".git", 4242, 4242)

    with pytest.raises(NotARepository, match="somebody else"):
        discover.discover(repo)

    git(Path("/"), "config", "--global", "--add", "safe.directory", str(repo))
    assert discover.discover(repo).work_tree == repo


def test_the_identity_is_the_one_of_the_users_git(repo: Path) -> None:
    clone = discover.discover(repo)
    assert discover.user_identity(clone) == Identity("Tess Ter", "tess@example.org")

    git(repo, "config", "user.email", "other@example.org")

    assert discover.user_identity(clone) == Identity("Tess Ter", "other@example.org")


def test_half_an_identity_is_none(repo: Path) -> None:
    git(repo, "config", "--global", "--unset", "user.email")

    assert discover.user_identity(discover.discover(repo)) is None


def test_branches_are_read_by_their_short_names(repo: Path, tmp_path: Path) -> None:
    git(repo, "branch", "feature/x")
    git(repo, "worktree", "add", "-q", "-b", "linked", str(tmp_path / "linked"))
    clone = discover.discover(repo)

    assert discover.current_branch(clone) == "main"
    assert set(discover.local_branches(clone)) == {"main", "feature/x", "linked"}
    assert discover.checked_out_branches(clone.common_dir) == {"main", "linked"}
    assert not discover.is_unborn(clone)


def test_a_detached_head_is_no_branch(repo: Path) -> None:
    git(repo, "checkout", "-q", "--detach")
    clone = discover.discover(repo)

    assert discover.current_branch(clone) is None
    assert discover.checked_out_branches(clone.common_dir) == set()


def test_a_repository_without_commits_is_unborn(tmp_path: Path) -> None:
    clone = discover.discover(make_bare(tmp_path / "new.git"))

    assert discover.is_unborn(clone)
    assert discover.local_branches(clone) == {}
    assert discover.current_branch(clone) == "main"
    assert discover.checked_out_branches(clone.common_dir) == set()


def test_a_commit_contains_its_ancestors_and_nothing_unknown(repo: Path) -> None:
    first = tip(repo)
    second = commit(repo, {"b": "b"})
    clone = discover.discover(repo)

    assert discover.follows(clone.common_dir, second, first)
    assert discover.follows(clone.common_dir, first, first)
    assert not discover.follows(clone.common_dir, first, second)
    assert not discover.follows(clone.common_dir, second, NOWHERE)


PLANS = ".percy/plans"


def test_the_files_of_a_folder_are_read_from_the_commit(repo: Path) -> None:
    (repo / PLANS).mkdir(parents=True)
    (repo / PLANS / "link.md").symlink_to("a.md")
    files = {
        f"{PLANS}/a.md": "a",
        f"{PLANS}/ä b.md": "b",
        f"{PLANS}/deeper/c.md": "c",
        f"{PLANS}x": "d",
    }
    oid = commit(repo, dict(files))
    (repo / PLANS / "a.md").write_text("not committed")

    found = discover.read_files(repo / ".git", oid, PLANS)

    assert [(f.name, f.mode, f.content) for f in found] == [
        ("a.md", "100644", b"a"),
        ("ä b.md", "100644", b"b"),
    ]
    assert found[0].oid == git(repo, "rev-parse", f"{oid}:{PLANS}/a.md")


def test_a_folder_that_is_not_in_the_commit_has_no_files(repo: Path) -> None:
    assert discover.read_files(repo / ".git", tip(repo), PLANS) == []


def test_a_commit_that_is_not_there_is_an_error(repo: Path) -> None:
    with pytest.raises(GitError):
        discover.read_files(repo / ".git", NOWHERE, PLANS)


def test_a_large_file_is_cut_off_just_behind_the_limit(repo: Path) -> None:
    oid = commit(repo, {f"{PLANS}/a": "x" * (FILE_LIMIT * 2), f"{PLANS}/b": "b"})

    large, small = discover.read_files(repo / ".git", oid, PLANS)

    assert len(large.content) == FILE_LIMIT + 1
    assert small.content == b"b"


def test_one_file_is_read_or_is_none(repo: Path) -> None:
    oid = commit(repo, {"d/f": "content"})

    assert discover.read_file(repo / ".git", oid, "d/f") == b"content"
    assert discover.read_file(repo / ".git", oid, "d") is None
    assert discover.read_file(repo / ".git", oid, "nothing") is None
    assert discover.read_file(repo / ".git", oid, "d/*") is None


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_both_kinds_of_object_ids_are_read(tmp_path: Path, hash_name: str) -> None:
    top = tmp_path / hash_name
    top.mkdir()
    git(top, "init", "-q", f"--object-format={hash_name}")
    oid = commit(top, {"f": "content"})
    clone = discover.discover(top)

    assert discover.local_branches(clone) == {"main": oid}
    assert discover.read_file(clone.common_dir, oid, "f") == b"content"


def test_without_origin_the_repository_is_its_own_remote(repo: Path) -> None:
    remote = discover.resolve_remote(discover.discover(repo), None)

    assert remote.is_local
    assert remote.url == str(repo / ".git")
    assert remote.config == ()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/x.git", "https://example.org/x.git"),
        ("ssh://git@example.org/x.git", "ssh://git@example.org/x.git"),
        ("git@example.org:x.git", "git@example.org:x.git"),
        ("file:///srv/x.git", "file:///srv/x.git"),
        ("/srv/x.git", "/srv/x.git"),
        ("../x.git", "{top}/../x.git"),
        ("x.git", "{top}/x.git"),
        ("~/x.git", "{home}/x.git"),
    ],
)
def test_origin_is_the_remote(repo: Path, url: str, expected: str) -> None:
    git(repo, "config", "remote.origin.url", url)

    remote = discover.resolve_remote(discover.discover(repo), None)

    assert remote.url == expected.format(top=repo, home=os.environ["HOME"])
    assert not remote.is_local


@pytest.mark.parametrize(
    "url", ["ext::sh -c evil", "fd::7", "-oProxyCommand=evil", "ftp://x/y", "a\tb", ""]
)
def test_a_url_that_could_run_something_is_refused(repo: Path, url: str) -> None:
    git(repo, "config", "remote.origin.url", url)

    with pytest.raises(UsageError):
        discover.resolve_remote(discover.discover(repo), None)


def test_a_url_that_is_rewritten_to_a_program_is_refused(repo: Path) -> None:
    git(repo, "config", "remote.origin.url", "work:x")
    git(repo, "config", "url.ext::sh -c evil .insteadOf", "work:")

    with pytest.raises(UsageError, match="run a program"):
        discover.resolve_remote(discover.discover(repo), None)


def test_a_short_name_that_the_user_rewrites_is_kept(repo: Path) -> None:
    git(repo, "config", "remote.origin.url", "work://x")
    git(repo, "config", "--global", "url.https://example.org/.insteadOf", "work://")

    assert discover.resolve_remote(discover.discover(repo), None).url == "work://x"


def test_another_remote_can_be_configured(repo: Path) -> None:
    git(repo, "config", "remote.origin.url", "/srv/origin.git")
    git(repo, "config", "remote.team.url", "/srv/team.git")

    assert discover.resolve_remote(discover.discover(repo), "team").url == (
        "/srv/team.git"
    )


def test_a_remote_that_is_not_there_is_refused(repo: Path) -> None:
    with pytest.raises(UsageError, match="no remote named team"):
        discover.resolve_remote(discover.discover(repo), "team")


def test_a_different_url_for_pushes_is_refused(repo: Path) -> None:
    git(repo, "config", "remote.origin.url", "/srv/a.git")
    git(repo, "config", "remote.origin.pushurl", "/srv/b.git")

    with pytest.raises(UsageError, match="pushurl"):
        discover.resolve_remote(discover.discover(repo), None)


def test_only_the_clones_own_transport_settings_go_along(
    repo: Path, tmp_path: Path
) -> None:
    git(repo, "config", "remote.origin.url", "https://example.org/x.git")
    git(repo, "config", "http.extraHeader", "X-Clone: 1")
    git(repo, "config", "url.https://example.com/.insteadOf", "gh:")
    git(repo, "config", "remote.origin.proxy", "http://proxy:1")
    git(repo, "config", "core.editor", "evil")
    git(repo, "config", "--global", "http.extraHeader", "X-Everywhere: 1")
    included = tmp_path / "included"
    included.write_text("[core]\n\tsshCommand = ssh -i key\n")
    git(repo, "config", "--global", f"includeIf.gitdir:{repo}/.path", str(included))

    config = discover.resolve_remote(discover.discover(repo), None).config

    assert sorted(config) == [
        ("core.sshcommand", "ssh -i key"),
        ("http.extraheader", "X-Clone: 1"),
        ("http.proxy", "http://proxy:1"),
        ("url.https://example.com/.insteadof", "gh:"),
    ]


def test_credentials_are_not_shown_in_a_refusal(repo: Path) -> None:
    git(repo, "config", "remote.origin.url", "ftp://joe:secret@example.org/x")

    with pytest.raises(UsageError) as refused:
        discover.resolve_remote(discover.discover(repo), None)

    assert "secret" not in str(refused.value)
