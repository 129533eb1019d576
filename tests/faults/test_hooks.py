"""Pushes that the server holds, refuses, or answers too late: its hooks decide."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest

from percyd.core.ids import plan_branch
from percyd.core.operations.agents import Join
from percyd.core.operations.base import Stamp
from percyd.errors import ContentionError, OutcomeUnknown, PushRefused
from percyd.state.tickets import Ticket
from tests.support.checker import check
from tests.support.daemonised import DEADLINE_S, FarBench, FarRemote, beside, until
from tests.support.gitrepo import WHEN, write_hook
from tests.support.newuser import new_user
from tests.support.proxy import Proxy
from tests.support.state import agent, plan, task

PLAN = {"title": "P", "tasks": [{"id": "a", "title": "A", "run": "true"}]}


# Killed in the middle


def test_a_push_that_was_given_up_and_lands_later_is_found_and_not_done_again(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    remote.hold("pre-receive")
    answer = beside(lambda: bench.enter(1))
    until(remote.held, "the push is in the server's hook")
    # The client is cut off; the server has all it needs and goes on when it may.
    proxy.drop()
    until(lambda: remote.held() == 2, "the same commit is sent again")
    remote.release(1)
    until(lambda: remote.joins(1), "the push that was given up lands")
    remote.release()

    applied = answer.result(30)

    assert remote.joins(1) == 1
    assert applied.commit == remote.tip
    assert bench.store.state.tip == remote.tip


def test_a_push_that_was_given_up_and_never_heard_of_is_unknown_until_it_is_seen(
    bench: FarBench, remote: FarRemote
) -> None:
    bench.set_deadline(1.0)
    remote.hold("pre-receive")
    with pytest.raises(OutcomeUnknown):
        bench.enter(1)
    assert remote.joins(1) == 0
    remote.release()
    until(lambda: remote.joins(1), "it lands although nobody waits for it")

    assert bench.store.refresh().tip == remote.tip
    bench.enter(2)
    assert (remote.joins(1), remote.joins(2)) == (1, 1)


def test_a_push_that_was_given_up_is_decided_again_once_the_branch_has_moved(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    other = FarBench(remote, 9)
    other.store.refresh()
    remote.hold("pre-receive")
    answer = beside(lambda: bench.enter(1))
    until(remote.held, "the push is in the server's hook")
    held = remote.path / "hooks/pre-receive"
    aside = held.with_name("aside")
    proxy.black_hole()  # it cannot even look what became of it
    proxy.drop()
    held.rename(aside)
    # Past the proxy, which only the first one has to go through.
    other.go_directly()
    other.enter(2)
    proxy.clear()
    proxy.drop()

    applied = answer.result(30)

    remote.release()
    assert remote.operations()[-2:] == [
        "join: box-000002 with 4 slots",
        "join: box-000001 with 4 slots",
    ]
    assert applied.commit == remote.tip


def test_a_completion_that_was_given_up_and_lands_later_moves_all_its_refs_once(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    bench.take_in(plan(base=bench.base(readme="hello")), task("p", "a"))
    (claimed,) = bench.claim()
    bench.work(claimed)
    operation = bench.completion(claimed)
    remote.hold("pre-receive")
    answer = beside(lambda: bench.store.apply(operation))
    until(remote.held, "the push is in the server's hook")
    assert remote.operations()[-1].startswith("work:")
    proxy.drop()
    until(lambda: remote.held() == 2, "the same commits are sent again")
    remote.release(1)
    until(lambda: "complete" in remote.operations()[-2], "the first one lands")
    remote.release()

    answer.result(30)

    done = bench.task("p.a")
    assert done.result is not None
    assert remote.refs[plan_branch("p")] == done.result.integration_commit
    assert [line.split(":")[0] for line in remote.operations()[-2:]] == [
        "complete",
        "close",
    ]


# Answers that do not come, or lie


def test_a_push_whose_hook_never_ends_after_the_update_was_applied_once(
    bench: FarBench, remote: FarRemote
) -> None:
    bench.set_deadline(1.0)
    remote.hold("post-receive")

    applied = bench.enter(1)

    assert applied.commit == remote.tip
    assert remote.joins(1) == 1


def test_a_hook_that_never_ends_holds_nobody_longer_than_two_deadlines(
    bench: FarBench, remote: FarRemote
) -> None:
    bench.set_deadline(1.0)
    remote.hold("pre-receive")
    answers = [beside(partial(bench.enter, n)) for n in range(1, 6)]

    errors = [answer.exception(30) for answer in answers]

    assert {type(error) for error in errors} <= {OutcomeUnknown, ContentionError}
    assert remote.operations()[-1].startswith("join: box-000000")
    remote.release()
    told = {n for n, error in enumerate(errors, 1) if isinstance(error, OutcomeUnknown)}
    until(lambda: len(remote.operations()) > 2, "what was held lands")
    bench.set_deadline(DEADLINE_S)
    bench.enter(9)
    landed = {n for n in range(1, 6) if remote.joins(n)}
    assert landed <= told
    assert len(remote.operations()) == 3 + len(landed)


def test_an_operation_that_another_thread_has_under_way_is_in_doubt() -> None:
    # A caller whose deadline passes meanwhile must not be told that it is not done.
    ticket = Ticket(Join(Stamp("1", WHEN), agent()), 1)
    with pytest.raises(OutcomeUnknown):
        ticket.result()


def test_a_success_line_counts_although_git_ends_with_an_error(
    bench: FarBench, remote: FarRemote, proxy: Proxy
) -> None:
    # receive-pack has told of the update, and dies before it says goodbye.
    remote.hook("post-receive", "kill -9 $PPID")
    said = subprocess.run(
        [
            *("git", f"--git-dir={remote.path}", "push", "--porcelain", remote.url),
            f"{remote.tip}:refs/heads/proof",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode != 0
    assert f"*\t{remote.tip}:refs/heads/proof" in said.stdout
    before = proxy.connections

    bench.enter(1)

    assert remote.joins(1) == 1
    assert proxy.connections == before + 1


def test_a_hook_that_fails_after_the_update_changes_nothing(
    bench: FarBench, remote: FarRemote
) -> None:
    remote.hook("post-receive", "echo broken >&2; exit 1")

    assert bench.enter(1).commit == remote.tip


# Refusals


def test_a_refusal_is_told_once_in_its_own_words_and_tried_once(
    bench: FarBench, remote: FarRemote, tmp_path: Path
) -> None:
    tried = tmp_path / "tried"
    remote.hook(
        "pre-receive",
        f"echo >> {tried}; printf 'not \\033[31mon\\tFridays\\033[0m\\n' >&2; exit 1",
    )
    before = remote.tip

    with pytest.raises(PushRefused) as caught:
        bench.enter(1)

    assert str(caught.value).count("Fridays") == 1
    assert str(caught.value).isprintable()
    assert "pre-receive hook declined" in str(caught.value)
    assert tried.read_text() == "\n"
    assert remote.tip == before
    remote.unhook("pre-receive")
    bench.enter(1)


def test_a_refused_branch_costs_only_the_operation_that_needs_it(
    bench: FarBench, remote: FarRemote
) -> None:
    base = bench.base(readme="hello")
    remote.hook("update", '[ "$1" != refs/heads/percy/plan/p ]')
    remote.hold("pre-receive")
    first = beside(lambda: bench.enter(1))
    until(remote.held, "a push is under way")
    # What is asked for meanwhile travels together behind it.
    second = beside(lambda: bench.enter(2))
    third = beside(lambda: bench.take_in(plan(base=base), task("p", "a")))
    fourth = beside(lambda: bench.enter(3))
    until(lambda: len(bench.store._queue) == 3, "three wait in line")
    remote.unhook("pre-receive")
    remote.release()

    for answer in (first, second, fourth):
        assert answer.exception(30) is None
    assert isinstance(third.exception(30), PushRefused)
    assert "percy/plan/p" in str(third.exception())
    assert plan_branch("p") not in remote.refs
    assert [remote.joins(n) for n in (1, 2, 3)] == [1, 1, 1]
    assert not any("take-in" in line for line in remote.operations())


@pytest.mark.timeout(120)
def test_the_command_line_shows_once_why_the_remote_refused(tmp_path: Path) -> None:
    user = new_user(tmp_path)
    user.commit_plan("p.yaml", PLAN)
    write_hook(
        user.remote, "pre-receive", "printf 'no\\033[2J pushes today\\n' >&2; exit 1"
    )

    done = user.percyd("plan", "submit", ".percy/plans/p.yaml", code=1)

    assert (done.out + done.err).count("pushes today") == 1
    assert "\x1b" not in done.out + done.err
    assert user.refs("refs/heads/percy/plan") == {}
    (user.remote / "hooks/pre-receive").unlink()
    user.percyd("plan", "submit", ".percy/plans/p.yaml")
    assert check(user.remote) == []
