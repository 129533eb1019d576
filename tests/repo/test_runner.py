from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from percyd.errors import GitError
from percyd.repo import environ
from percyd.repo.runner import (
    Git,
    GitResult,
    git_version,
    last_words,
    mask,
    parse_version,
    require_git,
)
from tests.support.gitrepo import git, has_ended, make_repo, tip


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo")


def fake_git(folder: Path, script: str) -> dict[str, str]:
    """An environment in which ``git`` is a script of ours."""
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_bytes_go_in_and_come_out(repo: Path) -> None:
    runner = Git(repo / ".git")

    oid = runner.run("hash-object", "-w", "--stdin", stdin=b"\xff\x00\n").text

    assert runner.run("cat-file", "blob", oid).stdout == b"\xff\x00\n"


def test_a_failure_is_an_error_of_one_line(repo: Path) -> None:
    with pytest.raises(GitError) as failed:
        Git(repo / ".git").run("rev-parse", "--verify", "no-such-thing")

    assert str(failed.value) == "git rev-parse: Needed a single revision"


def test_a_failure_that_is_expected_is_a_result(repo: Path) -> None:
    result = Git(repo / ".git").run("rev-parse", "--verify", "x", check=False)

    assert not result.ok
    assert result.code == 128
    assert not result.timed_out


def test_an_error_is_bounded_masked_and_without_control_characters(
    tmp_path: Path,
) -> None:
    said = "fatal: https://joe:secret@example.org/ \033[31m" + "x" * 5000
    env = fake_git(tmp_path / "bin", f"printf '%s\\n' '{said}' >&2; exit 1")

    with pytest.raises(GitError) as failed:
        Git(tmp_path, environ=env).run("fetch")

    message = str(failed.value)
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 330


def test_without_git_the_error_says_so(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="git is not installed"):
        Git(tmp_path, environ={"PATH": str(tmp_path)}).run("version")


def test_a_work_tree_that_is_gone_is_not_mistaken_for_a_missing_git(
    repo: Path, tmp_path: Path
) -> None:
    with pytest.raises(GitError, match="does not exist"):
        Git(repo / ".git").run("status", work_tree=tmp_path / "gone")


def test_at_the_deadline_the_whole_group_is_ended(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; echo out; wait"
    env = fake_git(tmp_path / "bin", script)

    result = Git(tmp_path, environ=env).run("x", deadline_s=0.5, check=False)

    assert result.timed_out
    assert result.code is None
    assert result.stdout == b"out\n"
    assert has_ended(int((tmp_path / "child").read_text()))


def test_at_the_deadline_git_may_tidy_up(tmp_path: Path) -> None:
    script = f"trap 'touch {tmp_path}/tidied; exit 1' TERM; sleep 600 & wait"
    env = fake_git(tmp_path / "bin", script)

    Git(tmp_path, environ=env).run("x", deadline_s=0.5, check=False)

    assert (tmp_path / "tidied").exists()


def test_who_ignores_the_deadline_is_killed(tmp_path: Path) -> None:
    env = fake_git(tmp_path / "bin", "trap '' TERM; while :; do sleep 0.1; done")

    with pytest.raises(GitError, match="deadline"):
        Git(tmp_path, environ=env).run("push", deadline_s=0.2)


SEEN = "import json,os;print(json.dumps(dict(os.environ)))"


def environment_of(
    tmp_path: Path, inherited: dict[str, str], network: bool
) -> dict[str, str]:
    env = fake_git(tmp_path / "bin", f"exec python3 -c '{SEEN}'")
    runner = Git(
        tmp_path,
        config=[("http.extraHeader", "X-Token: t")],
        environ={**inherited, **env},
    )
    found = json.loads(runner.run("x", network=network).stdout)
    assert isinstance(found, dict)
    return found


INHERITED = {
    "HOME": "/home/x",
    "GIT_DIR": "/evil",
    "GIT_INDEX_FILE": "/evil",
    "GIT_CONFIG_PARAMETERS": "'alias.x=!evil'",
    "GIT_TRACE": "1",
    "GIT_EXTERNAL_DIFF": "evil",
    "SSH_AUTH_SOCK": "/agent",
    "https_proxy": "http://proxy",
    "ANTHROPIC_API_KEY": "secret",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "url.a.insteadOf",
    "GIT_CONFIG_VALUE_0": "b",
    "GIT_CONFIG_KEY_1": "core.pager",
    "GIT_CONFIG_VALUE_1": "evil",
}


def test_a_local_call_sees_no_configuration_and_no_user(tmp_path: Path) -> None:
    found = environment_of(tmp_path, INHERITED, network=False)

    assert found["GIT_CONFIG_GLOBAL"] == "/dev/null"
    assert found["GIT_CONFIG_NOSYSTEM"] == "1"
    assert found["LC_ALL"] == "C"
    assert not {"HOME", "SSH_AUTH_SOCK", "GIT_CONFIG_COUNT"} & found.keys()
    assert "evil" not in "".join(found.values())
    assert "ANTHROPIC_API_KEY" not in found


def test_a_network_call_keeps_the_users_transport_settings(tmp_path: Path) -> None:
    found = environment_of(tmp_path, INHERITED, network=True)

    assert found["HOME"] == "/home/x"
    assert found["SSH_AUTH_SOCK"] == "/agent"
    assert found["https_proxy"] == "http://proxy"
    assert found["GIT_TERMINAL_PROMPT"] == "0"
    assert found["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git:file"
    assert "GIT_CONFIG_GLOBAL" not in found
    assert found["GIT_CONFIG_COUNT"] == "2"
    assert found["GIT_CONFIG_KEY_0"] == "url.a.insteadOf"
    assert found["GIT_CONFIG_KEY_1"] == "http.extraHeader"
    assert "evil" not in "".join(found.values())
    assert "ANTHROPIC_API_KEY" not in found


def test_ssh_gets_options_where_the_user_names_no_command(repo: Path) -> None:
    plain = Git(repo / ".git")
    assert plain.run("-c", "alias.e=!env", "e", network=True).text.count(
        f"GIT_SSH_COMMAND={environ.SSH_COMMAND}"
    )


@pytest.mark.parametrize("where", ["environment", "global", "clone"])
def test_ssh_is_left_alone_where_the_user_names_a_command(
    repo: Path, where: str
) -> None:
    inherited = dict(os.environ)
    config = []
    if where == "environment":
        inherited["GIT_SSH_COMMAND"] = "ssh -i mine"
    elif where == "global":
        git(repo, "config", "--global", "core.sshCommand", "ssh -i mine")
    else:
        config.append(("core.sshCommand", "ssh -i mine"))

    runner = Git(repo / ".git", config=config, environ=inherited)

    assert (
        environ.SSH_COMMAND
        not in runner.run("-c", "alias.e=!env", "e", network=True).text
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git version 2.39.5", (2, 39, 5)),
        ("git version 2.39.5 (Apple Git-154)", (2, 39, 5)),
        ("git version 2.50.1.windows.1", (2, 50, 1)),
        ("git version 2.47", (2, 47, 0)),
        ("git version 2.52.0.rc1.12.gabcdef", (2, 52, 0)),
    ],
)
def test_versions_are_read_with_what_distributions_append(
    text: str, expected: tuple[int, int, int]
) -> None:
    assert parse_version(text) == expected


def test_an_unknown_version_is_an_error() -> None:
    with pytest.raises(GitError):
        parse_version("jj 0.1")


def test_an_old_git_is_refused(tmp_path: Path) -> None:
    env = fake_git(tmp_path / "bin", "echo git version 2.39.4")

    with pytest.raises(GitError, match=r"git 2\.39\.4 is too old"):
        require_git(env)


def test_this_git_will_do() -> None:
    assert require_git() == git_version()


def test_a_name_that_looks_like_an_option_is_only_a_name(repo: Path) -> None:
    assert Git(repo / ".git").ref("--all") is None
    assert Git(repo / ".git").ref("refs/heads/main") == tip(repo)


def test_only_the_user_part_of_a_url_is_masked() -> None:
    text = "https://joe:secret@h/x ssh://git@h/y https://h/z@v git@h:x"

    assert mask(text) == "https://***@h/x ssh://***@h/y https://h/z@v git@h:x"


def test_an_error_that_goes_on_in_the_next_line_is_told_with_it() -> None:
    said = b"fatal: unable to connect to there:\nthere[0: 1]: errno=Refused\n\n"
    assert last_words(said) == "unable to connect to there: there[0: 1]: errno=Refused"


def test_the_cause_is_told_and_not_what_it_led_to() -> None:
    said = (
        b"fatal: write error: no space\nfatal: fetch-pack: invalid index-pack output\n"
    )
    assert last_words(said) == "write error: no space"


def test_an_error_has_no_full_stop_before_the_hint_that_follows_it() -> None:
    said = b"fatal: Could not read from remote repository.\n"
    assert last_words(said) == "Could not read from remote repository"


def test_an_error_names_the_subcommand_and_not_a_setting(repo: Path) -> None:
    with pytest.raises(GitError, match="git rev-parse: "):
        Git(repo / ".git").run("-c", "a.b=c", "rev-parse", "--verify", "nowhere")


def test_a_process_that_a_signal_has_ended_is_told_by_its_name() -> None:
    ends = {1: "exit code 1", -25: "ended by SIGXFSZ", -99: "ended by signal 99"}
    for code, words in ends.items():
        assert GitResult((), code, b"", b"").problem == words
