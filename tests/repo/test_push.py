"""Every row of the outcome table, as a real git produces it."""

from __future__ import annotations

from pathlib import Path

import pytest

from percyd.core.refs import Oid, RefMove
from percyd.repo.discover import discover, resolve_remote
from percyd.repo.hub import Hub
from percyd.repo.objects import write_commits
from percyd.repo.values import NewCommit, PushOutcome
from tests.support.gitrepo import (
    NOWHERE,
    WHEN,
    git,
    has_ended,
    make_bare,
    make_repo,
    open_hub,
    refs,
    write_hook,
)

# What is pushed to the state branch here is no state: any commit will do.
pytestmark = pytest.mark.spoiled

STATE = "refs/heads/percy/state"
RESULT = "refs/heads/agent/a-000001/p.t"


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "remote.git")


@pytest.fixture
def hub(tmp_path: Path, remote: Path) -> Hub:
    return open_hub(tmp_path / "hub.git", remote)


def build(hub: Hub, parent: Oid | None, text: str) -> Oid:
    changes = {"file": text.encode()}
    return write_commits(hub.git, parent, [NewCommit(text, WHEN, changes)])[0]


def started(hub: Hub, ref: str = STATE) -> Oid:
    first = build(hub, None, "first")
    assert outcome(hub, RefMove(ref, None, first)) == PushOutcome.APPLIED
    return first


def outcome(hub: Hub, move: RefMove) -> PushOutcome:
    return hub.push([move]).refs[move.ref].outcome


def test_a_new_ref_and_then_a_fast_forward_are_applied(hub: Hub, remote: Path) -> None:
    first = started(hub)
    second = build(hub, first, "second")

    report = hub.push([RefMove(STATE, first, second), RefMove(RESULT, None, second)])

    assert {r.outcome for r in report.refs.values()} == {PushOutcome.APPLIED}
    assert refs(remote) == {STATE: second, RESULT: second}


def test_the_same_commit_again_is_applied(hub: Hub) -> None:
    first = started(hub)

    assert outcome(hub, RefMove(STATE, first, first)) == PushOutcome.APPLIED


def test_a_ref_that_is_not_where_it_was_expected_is_a_conflict(hub: Hub) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    third = build(hub, second, "third")
    assert outcome(hub, RefMove(STATE, first, second)) == PushOutcome.APPLIED

    report = hub.push([RefMove(STATE, first, third), RefMove(RESULT, None, third)])

    assert report.refs[STATE].outcome == PushOutcome.CONFLICT
    assert report.refs[STATE].text == "[rejected] (stale info)"
    assert report.refs[RESULT].outcome == PushOutcome.COLLATERAL
    assert report.refs[RESULT].text == "[rejected] (atomic push failed)"


def test_a_ref_that_should_not_exist_but_does_is_a_conflict(hub: Hub) -> None:
    first = started(hub)
    second = build(hub, first, "second")

    assert outcome(hub, RefMove(STATE, None, second)) == PushOutcome.CONFLICT


def test_a_deleted_ref_is_not_made_again(hub: Hub, remote: Path) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    git(remote, "update-ref", "-d", STATE)

    assert outcome(hub, RefMove(STATE, first, second)) == PushOutcome.CONFLICT
    assert refs(remote) == {}


def test_a_race_lost_in_the_middle_of_the_push_is_a_conflict(
    hub: Hub, remote: Path
) -> None:
    first = started(hub)
    winner = build(hub, first, "winner")
    loser = build(hub, first, "loser")
    hub.push([RefMove("refs/percy/store", None, winner)])
    # Git refuses ref updates in the quarantine of pre-receive: step out of it.
    unset = "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY"
    update = f"git update-ref {STATE} {winner} {first}"
    write_hook(
        remote, "pre-receive", f"{unset} GIT_ALTERNATE_OBJECT_DIRECTORIES\n{update}"
    )

    report = hub.push([RefMove(STATE, first, loser)])

    assert report.refs[STATE].outcome == PushOutcome.CONFLICT
    assert refs(remote)[STATE] == winner


def test_a_declining_pre_receive_hook_refuses_every_ref(hub: Hub, remote: Path) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    write_hook(remote, "pre-receive", "echo no entry >&2; exit 1")

    report = hub.push([RefMove(STATE, first, second), RefMove(RESULT, None, second)])

    assert {r.outcome for r in report.refs.values()} == {PushOutcome.REFUSED}
    assert report.remote_lines == ("no entry",)


def test_a_declining_update_hook_refuses_one_ref_and_spares_the_other(
    hub: Hub, remote: Path
) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    write_hook(remote, "update", f'test "$1" != {RESULT}')

    report = hub.push([RefMove(STATE, first, second), RefMove(RESULT, None, second)])

    assert report.refs[RESULT].outcome == PushOutcome.REFUSED
    assert report.refs[STATE].outcome == PushOutcome.COLLATERAL
    assert refs(remote) == {STATE: first}


def test_a_branch_that_somebody_has_checked_out_is_busy(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "work")
    remote = resolve_remote(discover(repo), None)
    hub = Hub.open(tmp_path / "hub.git", remote)
    main = "refs/heads/main"
    before = hub.fetch_refs([main])[main]
    assert before is not None
    after = build(hub, before, "after")

    report = hub.push([RefMove(main, before, after)])

    assert report.refs[main].outcome == PushOutcome.BUSY
    assert refs(repo)[main] == before
    hub.close()


def test_the_hooks_of_the_repository_itself_do_not_run(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "work")
    write_hook(repo, "pre-receive", "exit 1")
    hub = open_hub(tmp_path / "hub.git", repo, is_local=True)

    started(hub)


def test_a_branch_that_is_a_folder_of_branches_is_a_conflict(
    hub: Hub, remote: Path
) -> None:
    first = build(hub, None, "first")
    hub.push([RefMove("refs/heads/percy", None, first)])

    report = hub.push([RefMove(STATE, None, first)])

    assert report.refs[STATE].outcome == PushOutcome.CONFLICT
    assert refs(remote) == {"refs/heads/percy": first}


def test_a_lock_file_left_in_the_remote_is_a_conflict(hub: Hub, remote: Path) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    (remote / f"{STATE}.lock").touch()

    assert outcome(hub, RefMove(STATE, first, second)) == PushOutcome.CONFLICT


def test_a_prohibited_deletion_is_refused(hub: Hub, remote: Path) -> None:
    first = started(hub)
    git(remote, "config", "receive.denyDeletes", "true")

    assert outcome(hub, RefMove(STATE, first, None)) == PushOutcome.REFUSED


def test_a_deletion_with_the_right_lease_is_applied(hub: Hub, remote: Path) -> None:
    first = started(hub)

    assert outcome(hub, RefMove(STATE, first, None)) == PushOutcome.APPLIED
    assert refs(remote) == {}


def test_a_server_that_dies_after_the_update_has_applied_it(
    hub: Hub, remote: Path
) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    write_hook(remote, "post-receive", "kill -9 $PPID")

    report = hub.push([RefMove(STATE, first, second)])

    assert refs(remote)[STATE] == second
    assert report.refs[STATE].outcome in (PushOutcome.APPLIED, PushOutcome.UNKNOWN)


def test_a_server_that_dies_before_the_update_leaves_it_unknown(
    hub: Hub, remote: Path
) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    write_hook(remote, "pre-receive", "kill -9 $PPID")

    report = hub.push([RefMove(STATE, first, second)])

    assert report.refs[STATE].outcome == PushOutcome.UNKNOWN
    assert refs(remote)[STATE] == first


def test_a_push_that_hangs_ends_at_its_deadline(
    hub: Hub, remote: Path, tmp_path: Path
) -> None:
    first = started(hub)
    second = build(hub, first, "second")
    pid_file = tmp_path / "pid"
    write_hook(remote, "pre-receive", f"echo $$ > {pid_file}; exec sleep 600")

    report = hub.push([RefMove(STATE, first, second)], deadline_s=1)

    assert report.timed_out
    assert report.refs[STATE].outcome == PushOutcome.UNKNOWN
    assert refs(remote)[STATE] == first
    assert has_ended(int(pid_file.read_text()))


def test_a_commit_that_the_hub_does_not_have_moves_nothing(
    hub: Hub, remote: Path
) -> None:
    report = hub.push([RefMove(STATE, None, NOWHERE)])

    assert report.refs[STATE].outcome != PushOutcome.APPLIED
    assert refs(remote) == {}


def test_a_remote_that_is_not_there_leaves_the_push_unknown(tmp_path: Path) -> None:
    hub = open_hub(tmp_path / "hub.git", tmp_path / "nowhere")

    report = hub.push([RefMove(STATE, None, build(hub, None, "first"))])

    assert report.refs[STATE].outcome == PushOutcome.UNKNOWN
    assert "does not appear to be a git repository" in report.stderr


def test_moving_a_ref_twice_in_one_push_is_a_bug_of_the_caller(hub: Hub) -> None:
    first = build(hub, None, "first")

    with pytest.raises(ValueError, match="moved twice"):
        hub.push([RefMove(STATE, None, first), RefMove(STATE, None, first)])


def test_the_settings_of_the_user_do_not_change_what_a_push_means(
    hub: Hub, remote: Path
) -> None:
    for setting in (
        "push.followTags=true",
        "push.gpgSign=true",
        "push.pushOption=sneaky",
        "push.default=matching",
        "core.hooksPath=/nonexistent",
    ):
        git(remote, "config", "--global", *setting.split("="))

    started(hub)
