"""What people see: numbers, widths, colours, and hostile text that stays text."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from percyd.cli.history import render_event
from percyd.cli.plans_show import bar_cells, render_plan, render_plan_list
from percyd.cli.status import NO_AGENTS, render_status
from percyd.cli.tables import few, plain
from percyd.cli.tasks_show import render_task, render_task_list, waits_text
from percyd.core.reasons import Reason
from percyd.core.records import (
    Attempt,
    Message,
    PlanResult,
    Source,
    Task,
    TaskResult,
    Verdict,
    Why,
)
from percyd.core.snapshot import Entry, Snapshot, build
from percyd.views.show import plan_show, task_show
from percyd.views.status import cluster_status
from tests.support.state import agent, plan, task

NOW = datetime(2026, 3, 1, 12, 4, 31, tzinfo=UTC)
BOX = "box-000001"
LONG = "A title that goes on and on, as titles do when nobody stops them " * 3
HOSTILE = (
    "\x1b[31mred\x1b]0;own\x07 [bold]b[/bold] :smile: \u202egnp.exe\r\nnext\t\x9b1m"
)
INERT = (
    r"\x1b[31mred\x1b]0;own\x07 [bold]b[/bold] :smile: "
    r"\u202egnp.exe\r\nnext\t\x9b1m"
)


def held(short: str, **fields: object) -> Task:
    values = {"status": "working", "assigned_to": BOX, "claim": "c" * 32, "attempt": 2}
    return task("shop", short, **values | fields)


def why(code: Reason, message: str = "") -> Why:
    return Why(code=code, message=message)


def failed(short: str, message: str, *after: str, **fields: object) -> Task:
    reason = why(Reason.GATE_FAILED, message)
    ended = {"status": "failed", "reason": reason, "attempt": 1}
    return task("shop", short, *after, **ended | fields)


def shop(**fields: Any) -> list[Entry]:
    """A diamond on its way, with one task of every kind."""
    result = TaskResult(commit="d" * 40, verdict=Verdict(status="none"))
    return [
        plan("shop", **{"title": "Rework the shop", "status": "executing", **fields}),
        task("shop", "model", status="completed", attempt=1, result=result),
        held("api", title="The API"),
        failed("tax", "exit code 2", "model"),
        task("shop", "tone", status="input_required", reason=why(Reason.QUESTION, "?")),
        task("shop", "pdf", "tax", status="cancelled"),
        task("shop", "e2e", "api", "tone", "model", "tax", "pdf"),
        task("shop", "free"),
        task("shop", "gpu", specialization=("gpu",)),
        agent(),
    ]


def status_of(entries: list[Entry]) -> dict[str, Any]:
    return cluster_status("3f2a91c0de" * 4, NOW, build(entries))


def printed(
    render: Callable[..., None], *data: object, width: int = 80, **options: Any
) -> str:
    out = io.StringIO()
    render(Console(file=out, width=width, highlight=False, **options), *data)
    return out.getvalue()


def status_lines(
    entries: list[Entry], *warnings: str, width: int = 80, **options: Any
) -> list[str]:
    data = status_of(entries)
    return printed(render_status, data, warnings, width=width, **options).splitlines()


def line_with(lines: list[str], start: str) -> str:
    (found,) = (line for line in lines if line.strip().startswith(start))
    return found


# Status


def test_status_says_what_runs_failed_and_waits_and_why() -> None:
    text = "\n".join(status_lines(shop()))

    assert text == (
        "shop  executing  Rework the shop\n"
        "  ██▓▓××××░░░░░░░░  1/8 completed, 1 working, 1 input required, 1 failed, 2\n"
        "                    submitted, 1 blocked, 1 cancelled\n"
        "  api   working         box-000001, attempt 2  The API\n"
        "  tone  input required  question: ?\n"
        "  tax   failed          gate_failed: exit code 2\n"
        "  free  submitted       ready, waits for a free slot  Task free\n"
        "  gpu   submitted       waits for an agent with gpu  Task gpu\n"
        "  e2e   blocked         waits for api, tone and 2 more  Task e2e\n"
        "\n"
        "box-000001  working  1 of 4 slots  shop.api\n"
        "\n"
        "what it asks:  percyd task show shop.tone\n"
        "why it failed: percyd task show shop.tax\n"
        "to try again:  percyd task retry shop.tax\n"
        "\n"
        "percy/state at 3f2a91c0de, read 2026-03-01 12:04:31Z"
    )


def test_what_is_to_be_mended_comes_before_another_try() -> None:
    broken = why(Reason.GATE_BROKEN, "make: not found")
    source = Source(kind="file", path=".percy/plans/shop.yaml")
    shop_plan = plan("shop", source=source)
    entries: list[Entry] = [shop_plan, failed("tax", "", reason=broken)]

    lines = status_lines(entries)

    at = lines.index("why it failed: percyd task show shop.tax")
    assert lines[at + 1 : at + 3] == [
        "first of all:  mend verify in .percy/plans/shop.yaml, commit it",
        "to try again:  percyd task retry shop.tax",
    ]


def test_an_empty_state_says_what_to_do_next() -> None:
    lines = status_lines([])

    assert lines[0] == (
        "no plans yet: commit a plan file to .percy/plans, then run percyd serve"
    )
    assert NO_AGENTS in lines


def test_a_paused_plan_says_so_and_why() -> None:
    reason = why(Reason.PAUSED_BY_USER, "until Monday")

    lines = status_lines([plan("shop", paused=reason), task("shop", "a"), agent()])

    assert lines[0] == "shop  ready  paused  Plan shop"
    assert "  paused_by_user: until Monday" in lines
    assert "its plan is paused" in line_with(lines, "a ")


def test_a_plan_that_was_paused_and_then_cancelled_is_only_cancelled() -> None:
    both = plan("big", status="cancelled", paused=why(Reason.PAUSED_BY_USER, "later"))
    entries: list[Entry] = [both, task("big", "a", status="cancelled"), agent()]

    status = status_of(entries)
    pages = [
        printed(render_status, status),
        printed(render_plan_list, status["plans"]),
        printed(render_plan, plan_show(build(entries), "big")),
    ]

    assert pages[1] == "big  cancelled  Plan big\n"
    assert not any("paused" in page for page in pages)


def test_plans_that_are_over_take_one_line_each() -> None:
    landed = PlanResult(commit="d" * 40, landed_commit="d" * 40, landed_into="main")
    done = {"status": "completed", "attempt": 1}

    entries: list[Entry] = [
        *(plan("a", status="done", result=PlanResult()), task("a", "x", **done)),
        *(plan("b", status="done", result=landed), task("b", "x", **done)),
        *(plan("c", status="cancelled"), task("c", "x", status="cancelled")),
    ]

    lines = status_lines(entries)

    assert lines[:4] == [
        "a  done  1/1  on percy/plan/a  Plan a",
        "b  done  1/1  landed in main  Plan b",
        "c  cancelled  0/1  Plan c",
        "",
    ]
    assert printed(render_plan_list, status_of(entries)["plans"]).splitlines() == [
        "a  done       on percy/plan/a  Plan a",
        "b  done       landed in main  Plan b",
        "c  cancelled  Plan c",
    ]


def test_what_failed_gets_a_second_line_and_no_third() -> None:
    lines = status_lines([plan("shop"), failed("a", "word " * 100)])

    first, second = (line for line in lines if "word" in line)
    assert first.startswith("  a  failed  gate_failed: word")
    assert second.startswith(" " * 13 + "word")
    assert second.endswith("…")


def test_a_plan_that_failed_says_why_once_and_where_no_row_does() -> None:
    reason = why(Reason.ATTEMPTS_EXHAUSTED, "shop.a failed: exit 3")
    plan_failed = plan("shop", status="failed", reason=reason)
    lines = status_lines([plan_failed, failed("a", "exit 3")])
    assert [line for line in lines if "exit 3" in line] == [
        "  a  failed  gate_failed: exit 3"
    ]
    gone = plan("shop", status="failed", reason=why(Reason.CANCELLED, "by Tess"))
    lines = status_lines([gone, task("shop", "a", status="cancelled")])
    assert "  cancelled: by Tess" in lines


def test_what_waits_for_a_person_says_the_command() -> None:
    held = plan("p", paused=why(Reason.PAUSED_BY_USER, "later"))
    lines = status_lines([held, task("p", "a")])
    assert "to go on:      percyd plan resume p" in lines
    gone = plan("q", status="failed", reason=why(Reason.CANCELLED, "by Tess"))
    lines = status_lines([gone, task("q", "a", status="cancelled")])
    assert "to do it anew: percyd plan rerun q" in lines
    assert "to give it up: percyd plan cancel q" in lines


def test_a_plan_that_is_done_and_has_not_landed_says_how() -> None:
    entries: list[Entry] = [plan("p", status="done"), plan("q", status="done")]
    assert "to land it:    percyd plan land p" in status_lines(entries)


def test_warnings_are_shown_and_wrapped() -> None:
    lines = status_lines([], "local main is 2 commits ahead", "word " * 30)

    assert "warning: local main is 2 commits ahead" in lines
    assert max(map(len, lines)) <= 80


def test_a_waiting_landing_and_a_rest_are_said() -> None:
    turn = {"task": "shop.api", "attempt": 2, "claim": "c" * 32}
    resting = task(
        *("shop", "retry"), retries=2, attempt=2, reason=why(Reason.GATE_FAILED)
    )

    lines = status_lines([*shop(landing=turn), held("ui"), resting])

    assert "waits to land after shop.api" in line_with(lines, "ui")
    assert "rests after gate_failed, 10 s" in line_with(lines, "retry")


def test_at_most_200_rows_then_and_how_many_more() -> None:
    many = (task("shop", f"t{number:04}") for number in range(1234))

    lines = status_lines([plan("shop"), *many, agent()])

    assert sum(line.startswith("  t") for line in lines) == 199
    assert "  and 1,035 more: 1,035 submitted" in lines
    assert "  ░░░░░░░░░░░░░░░░  0/1,234 completed, 1,234 submitted" in lines


def test_agents_that_are_gone_are_counted_and_many_are_cut() -> None:
    many = [agent(f"box-{number:06x}") for number in range(2, 80)]
    gone = [agent("old-000001", status="lost"), agent("old-000002", status="left")]

    lines = status_lines([*shop(), *many, *gone])

    first = next(line for line in lines if line.startswith("box-"))
    assert first.startswith("box-000001  working  1 of 4 slots")
    assert sum(line.startswith("box-") for line in lines) == 50
    assert "and 29 more agents" in lines
    assert "2 agents offline" in lines


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    entries = [
        *shop(title=LONG),
        held("long", title=LONG),
        task("shop", "l2", title=LONG),
        failed("sad", LONG),
    ]

    lines = status_lines(entries, LONG, width=width)

    assert max(map(len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)


def test_a_wide_terminal_has_titles_in_a_column() -> None:
    lines = status_lines(shop(), width=120)

    api, free = line_with(lines, "api"), line_with(lines, "free")
    assert api.index("The API") == free.index("Task free")
    assert api.index("box-000001") == free.index("ready, waits")


def test_a_long_id_is_never_cut() -> None:
    name = "x" * 48

    lines = status_lines([plan("shop"), held(name), task("shop", "a")])

    assert line_with(lines, name).startswith(f"  {name}  working    box")
    assert line_with(lines, "a ").startswith("  a  submitted")


def test_nothing_but_text_goes_to_a_file() -> None:
    assert all(line.isprintable() for line in status_lines(shop()))


def test_a_terminal_gets_colours_unless_no_color_is_set() -> None:
    terminal: dict[str, Any] = {"force_terminal": True, "color_system": "standard"}

    coloured = "\n".join(status_lines(shop(), **terminal, _environ={}))
    without = "\n".join(status_lines(shop(), **terminal, _environ={"NO_COLOR": "1"}))

    assert "\x1b[36mworking" in coloured
    assert "\x1b[36m" not in without
    assert "\x1b[31m" not in without


def test_a_terminal_without_unicode_gets_ascii() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")

    render_status(
        Console(file=out, width=120, highlight=False), status_of(shop(title=LONG))
    )

    out.flush()
    text = raw.getvalue().decode("ascii")
    assert "####====xxxxxxxx................" in text
    assert "..." in text.splitlines()[0]


# Hostile text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, INERT),
        ("日本語 ñ 🙂 e\u0301", "日本語 ñ 🙂 e\u0301"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("a\u2028b\u2066c\ufeffd\ud800e", r"a\u2028b\u2066c\ufeffd\ud800e"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_could_act_on_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown


def hostile() -> Snapshot:
    result = TaskResult(
        branch=HOSTILE,
        commit="\x1b" * 12,
        summary=HOSTILE,
        verdict=Verdict(status="passed"),
    )
    attempt = Attempt(
        number=1,
        agent=BOX,
        claim="c" * 32,
        outcome="failed",
        reason=why(Reason.GATE_FAILED, HOSTILE),
        summary=HOSTILE,
        rescue=HOSTILE,
    )
    everything = {
        "title": HOSTILE,
        "description": HOSTILE,
        "run": HOSTILE,
        "verify": HOSTILE,
        "specialization": (HOSTILE,),
        "paths": (HOSTILE,),
        "messages": (Message(kind="say", text=HOSTILE, by=HOSTILE),),
        "attempts": (attempt,),
        "result": result,
    }
    return build(
        [
            plan(
                "shop",
                title=HOSTILE,
                description=HOSTILE,
                base=HOSTILE,
                base_branch=HOSTILE,
                verify=HOSTILE,
                paused=why(Reason.PAUSED_BY_USER, HOSTILE),
                reason=why(Reason.CANCELLED, HOSTILE),
                source={"kind": "file", "path": HOSTILE, "commit": HOSTILE},
                created_at=HOSTILE,
            ),
            held("run", **everything),
            failed("bad", HOSTILE, **everything),
            task("shop", "wait", **everything),
            task("shop", "gpu", run=None, runner=HOSTILE, title=HOSTILE),
            agent(host=HOSTILE, capabilities=(HOSTILE,)),
        ]
    )


def hostile_pages(width: int) -> dict[str, str]:
    snapshot = hostile()
    status = cluster_status("a" * 40, NOW, snapshot)
    event = {
        "commit": "\x1b" * 40,
        "operation": HOSTILE,
        "subject": HOSTILE,
        "time": HOSTILE,
    }
    pages = {
        "status": printed(render_status, status, [HOSTILE], width=width),
        "plans": printed(render_plan_list, status["plans"], width=width),
        "tasks": printed(render_task_list, status["tasks"], width=width),
        "plan": printed(render_plan, plan_show(snapshot, "shop"), width=width),
        "event": printed(render_event, event, width=width),
    }
    for name in ("run", "bad", "wait", "gpu"):
        page = printed(render_task, task_show(snapshot, f"shop.{name}"), width=width)
        pages[name] = page
    return pages


@pytest.mark.parametrize("width", [80, 200])
def test_hostile_text_does_nothing_on_any_page(width: int) -> None:
    for name, page in hostile_pages(width).items():
        assert all(line.isprintable() for line in page.split("\n")), name
        assert r"\x1b[31mred" in page, name
        assert "[bold]b[/bold] :smile:" in " ".join(page.split()), name


# The other pages


def test_the_list_of_plans_has_progress_and_status() -> None:
    entries = [*shop(), plan("later", paused=why(Reason.BUDGET)), plan("x" * 48)]
    status = status_of(entries)

    page = printed(render_plan_list, status["plans"], status["tasks"])

    assert page.splitlines() == [
        "later  paused     0/0  Plan later",
        "shop   executing  1/8  Rework the shop",
        f"{'x' * 48}  ready      0/0  Plan xxxxxxxx…",
    ]


def test_the_list_of_plans_without_their_tasks_has_no_progress() -> None:
    page = printed(render_plan_list, status_of(shop())["plans"])

    assert page == "shop  executing  Rework the shop\n"


def test_the_list_of_tasks_has_full_ids() -> None:
    lines = printed(render_task_list, status_of(shop())["tasks"]).splitlines()

    assert [line.split()[0] for line in lines] == [
        *("shop.api", "shop.e2e", "shop.free", "shop.gpu"),
        *("shop.model", "shop.pdf", "shop.tax", "shop.tone"),
    ]
    assert line_with(lines, "shop.model").split()[1:4] == ["completed", "no", "gate"]


@pytest.mark.parametrize("render", [render_plan_list, render_task_list])
def test_empty_lists_say_what_to_do_next(render: Callable[..., None]) -> None:
    assert ".percy/plans" in printed(render, [])


def test_a_plan_in_full() -> None:
    entries = shop(description="Line one.\n\n  Line two.", verify="make test")

    page = printed(render_plan, plan_show(build(entries), "shop"))

    lines = page.splitlines()
    assert "  base        main at bbbbbbbbbb" in lines
    assert "  gate        make test" in lines
    assert "  source      .percy/plans/shop.yaml" in lines
    assert lines.index("  Line one.") + 2 == lines.index("    Line two.")
    order = [line.split()[0] for line in lines[-8:]]
    assert order.index("model") < order.index("tax") < order.index("pdf")
    assert order[-1] == "e2e"


def test_a_plan_says_what_its_base_has_not() -> None:
    shown = plan_show(build([plan("shop"), task("shop", "a")]), "shop")
    words = "without the last 3 commits up to the plan: not pushed by then"
    assert words in printed(lambda c, p: render_plan(c, p, 3), shown)
    # The commit of the file itself need not be there.
    assert "without" not in printed(lambda c, p: render_plan(c, p, 1), shown)


def test_a_plan_of_many_tasks_is_cut() -> None:
    snapshot = build([plan("shop"), *(task("shop", f"t{n}") for n in range(250))])

    page = printed(render_plan, plan_show(snapshot, "shop"))

    assert page.endswith("  and 50 more; percyd task list shows them all\n")


def test_a_task_in_full() -> None:
    attempt = Attempt(
        number=1,
        agent=BOX,
        claim="c" * 32,
        outcome="failed",
        reason=why(Reason.GATE_FAILED, "exit code 2"),
        verdict=Verdict(status="failed"),
        commit="f" * 40,
        rescue="refs/percy/rescue/shop.tax/1",
    )
    question = Message(kind="question", text="Gross\nor net?", by=BOX, attempt=1)
    tax = failed(
        *("tax", "exit code 2", "model"),
        attempts=(attempt,),
        messages=(question,),
        description="Taxes.",
    )

    page = printed(render_task, task_show(build([*shop(), tax]), "shop.tax"))

    assert page == (
        "shop.tax  failed  Task tax\n"
        "  reason      gate_failed: exit code 2\n"
        "  type        implement\n"
        "  runs        true\n"
        "  after       model\n"
        "  before      e2e and pdf\n"
        "  gate        none\n"
        "\n"
        "  Taxes.\n"
        "\n"
        "messages\n"
        "  question by box-000001\n"
        "    Gross\n"
        "    or net?\n"
        "\n"
        "ended attempts\n"
        "  1  failed  by box-000001\n"
        "    reason      gate_failed: exit code 2\n"
        "    verdict     gate failed\n"
        "    commit      ffffffffff\n"
        "    kept in     refs/percy/rescue/shop.tax/1\n"
    )


def test_a_command_of_many_lines_is_shown_line_by_line_and_cut() -> None:
    run = "\n".join(["make x", "", "  make y", *(f"line {n}" for n in range(30))])
    snapshot = build([plan("shop"), task("shop", "a", run=run)])
    page = printed(render_task, task_show(snapshot, "shop.a"))
    lines = [each.rstrip() for each in page.splitlines()]
    first = lines.index("  runs        make x")
    assert lines[first + 1 : first + 3] == ["", " " * 16 + "make y"]
    assert "line 17\n" in page
    assert "and 12 more lines" in page


def test_an_event_is_a_line_that_goes_on_below_its_subject() -> None:
    event = {
        "commit": "3f2a91c0de" * 4,
        "operation": "claim",
        "subject": "claim: " + "shop.api, " * 8,
        "time": "2026-03-01T12:00:00Z",
    }

    first, *rest = printed(render_event, event).splitlines()

    assert first.startswith("3f2a91c0de  2026-03-01 12:00:00Z  claim: shop.api,")
    assert rest
    assert all(line.startswith(" " * 34 + "shop.api,") for line in rest)


# The parts


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and 1 more"),
        (["a"] * 2002, "a, a and 2,000 more"),
    ],
)
def test_names_in_a_sentence(names: list[str], said: str) -> None:
    assert few(names) == said


@pytest.mark.parametrize(
    ("blocked_by", "said"),
    [
        ([("dependency", "p.a")], "waits for a"),
        ([("dependency", "p.a"), ("paused", "p")], "waits for a"),
        ([("paths", "q.x")], "waits for the paths of q.x"),
        ([("no_agent", "any agent")], "waits for any agent"),
        ([("no_agent", "gpu")], "waits for an agent with gpu"),
        (
            [("draft", "p"), ("no_agent", "an agent with a planning runner")],
            "its plan is a draft; waits for an agent with a planning runner",
        ),
        ([("{new}", "{0} \x1b")], r"waits: {new} {0} \x1b"),
    ],
)
def test_why_a_task_waits_in_words(
    blocked_by: list[tuple[str, str]], said: str
) -> None:
    waits = [{"code": code, "what": what} for code, what in blocked_by]

    assert waits_text(waits) == said


@pytest.mark.parametrize(
    ("parts", "cells"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 0, 0, 5], [0, 0, 0, 16]),
        ([4, 0, 0, 0], [16, 0, 0, 0]),
        ([999, 0, 1, 0], [15, 0, 1, 0]),
        ([1, 1, 1, 9997], [1, 1, 1, 13]),
        ([9999, 1, 0, 0], [15, 1, 0, 0]),
        ([1, 0, 0, 3], [4, 0, 0, 12]),
    ],
)
def test_a_bar_shows_whatever_there_is(parts: list[int], cells: list[int]) -> None:
    assert bar_cells(parts, 16) == cells
