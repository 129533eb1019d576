"""The history of the state branch as events, read from real commits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from percyd.core.refs import Oid
from percyd.errors import GitError, UnknownIdError
from percyd.repo.objects import write_commits
from percyd.repo.runner import Git
from percyd.repo.values import NewCommit
from percyd.state.codec import message
from percyd.views.history import Event, events
from tests.support import gitrepo

WHEN = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
BOX = "box-000001"

Trailers = tuple[tuple[str, str], ...]


def about(plan: str | None, *tasks: str, agent: str | None = None) -> Trailers:
    lines = [("Percy-Plan", plan)] if plan else []
    for name in tasks:
        lines += [("Percy-Task", name), ("Percy-Attempt", "2")]
    return (*lines, *([("Percy-Agent", agent)] if agent else []))


HISTORY: list[tuple[str, str, Trailers]] = [
    ("init", "shop, format 1", ()),
    ("join", f"{BOX} with 2 slots", about(None, agent=BOX)),
    ("take-in", "api, 2 tasks", about("api")),
    ("take-in", "api2, 1 task", about("api2")),
    ("claim", f"api.a by {BOX}, attempt 2", about("api", "api.a", agent=BOX)),
    ("claim", "api.b, api2.a", about(None, "api.b", "api2.a", agent=BOX)),
    ("resolve", "api.ab", about("api", "api.ab")),
]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(gitrepo.make_bare(tmp_path / "state.git"))


def write(git: Git) -> list[Oid]:
    commits = [
        NewCommit(
            message(operation, subject, f"{number:032x}", trailers),
            WHEN + timedelta(seconds=number),
            {"percy.json": str(number).encode()},
        )
        for number, (operation, subject, trailers) in enumerate(HISTORY)
    ]
    return write_commits(git, None, commits)


def by_hand(git: Git, text: str, *parents: Oid) -> Oid:
    tree = gitrepo.git(git.git_dir, "mktree", stdin="")
    links = [part for parent in parents for part in ("-p", parent)]
    return gitrepo.git(git.git_dir, "commit-tree", *links, tree, stdin=text)


def operations(found: list[Event]) -> list[str | None]:
    return [event.operation for event in found]


def test_events_come_newest_first_and_hold_what_the_trailers_say(git: Git) -> None:
    oids = write(git)

    found = list(events(git, oids[-1]))

    assert [event.commit for event in found] == oids[::-1]
    assert found[1] == Event(
        commit=oids[5],
        operation="claim",
        subject="claim: api.b, api2.a",
        time=WHEN + timedelta(seconds=5),
        op_id=f"{5:032x}",
        plan=None,
        tasks=("api.b", "api2.a"),
        attempts=(2, 2),
        agent=BOX,
    )


def test_an_event_as_json(git: Git) -> None:
    oids = write(git)

    assert next(events(git, oids[4])).as_json() == {
        "commit": oids[4],
        "operation": "claim",
        "subject": f"claim: api.a by {BOX}, attempt 2",
        "time": "2026-03-01T12:00:04Z",
        "op_id": f"{4:032x}",
        "plan": "api",
        "tasks": ["api.a"],
        "attempts": [2],
        "agent": BOX,
    }


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        ({"plan": "api"}, [6, 5, 4, 2]),
        ({"plan": "api2"}, [5, 3]),
        ({"plan": "ap"}, []),
        ({"task": "api.a"}, [4]),
        ({"task": "api.b"}, [5]),
        ({"plan": "api2", "task": "api.b"}, [5]),
        ({"plan": "api", "limit": 2}, [6, 5]),
        ({"limit": 3}, [6, 5, 4]),
        ({"limit": 3, "oldest_first": True}, [4, 5, 6]),
        ({"limit": 0}, []),
    ],
)
def test_events_can_be_chosen(
    git: Git, chosen: dict[str, object], numbers: list[int]
) -> None:
    oids = write(git)

    found = [event.commit for event in events(git, oids[-1], **chosen)]  # type: ignore[arg-type]

    assert found == [oids[number] for number in numbers]


def test_only_what_came_after_a_commit(git: Git) -> None:
    oids = write(git)

    found = list(events(git, oids[-1], after=oids[4], oldest_first=True))

    assert operations(found) == ["claim", "resolve"]
    assert list(events(git, oids[-1], after=oids[-1])) == []


def test_a_commit_made_by_hand_is_an_event_without_an_operation(git: Git) -> None:
    oids = write(git)
    text = "oops\n\nPercy-Attempt: many\nPercy-Attempt: 9999999999999999999999\n"
    tip = by_hand(git, text, oids[-1])

    event = next(events(git, tip))

    assert (event.operation, event.op_id, event.subject) == (None, None, "oops")
    assert event.attempts == (0, 0)


def test_a_side_branch_is_not_part_of_the_log(git: Git) -> None:
    oids = write(git)
    side = by_hand(git, "side\n")
    tip = by_hand(git, "merge\n", oids[-1], side)

    found = [event.commit for event in events(git, tip)]

    assert found == [tip, *oids[::-1]]


def test_a_message_of_any_kind_stays_one_event(git: Git) -> None:
    oids = write(git)
    tip = by_hand(git, "a \x1b[31m \u202e\n\n\n\nb\n\x01\n", oids[-1])

    found = list(events(git, tip))

    assert found[0].subject == "a \x1b[31m \u202e"
    assert len(found) == len(oids) + 1


@pytest.mark.parametrize("name", ["", "a|b", ".*", "A", "a\n"])
def test_what_is_no_id_is_refused(git: Git, name: str) -> None:
    oids = write(git)

    with pytest.raises(UnknownIdError):
        next(events(git, oids[-1], plan=name))
    with pytest.raises(UnknownIdError):
        next(events(git, oids[-1], task=f"api.{name}"))


def test_a_tip_that_is_not_there_is_an_error(git: Git) -> None:
    with pytest.raises(GitError):
        next(events(git, gitrepo.NOWHERE))
