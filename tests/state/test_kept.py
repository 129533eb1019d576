"""What a reader has decoded serves the next one, and is never trusted blindly."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from percyd.core.ids import STATE_REF
from percyd.core.reasons import Reason
from percyd.core.records import (
    Agent,
    Attempt,
    FormatMarker,
    Landing,
    Message,
    Plan,
    Planning,
    PlanResult,
    Record,
    Task,
    TaskResult,
    Usage,
    Verdict,
    Why,
)
from percyd.core.snapshot import Snapshot
from percyd.errors import StateRefused
from percyd.state import reader, thaw
from percyd.state.backend import Backend, TreeFile
from percyd.state.kept import Kept
from percyd.state.memory import MemoryBackend
from percyd.views.status import cluster_status
from percyd.views.waiting import as_json
from tests.support.state import Bench, agent, plan, task

WHY = Why(code=Reason.GATE_FAILED, message="1 \u2028 failed\n")
VERDICT = Verdict(status="failed", command="make", exit_code=2, duration_s=1e-7)
USAGE = Usage(input_tokens=10**12, cost_usd=0.1)

RECORDS: list[Record] = [
    FormatMarker(format=1, project="shop", created_at="2026-01-02T03:04:05Z"),
    agent(),
    plan(),
    plan(
        paused=WHY,
        landing=Landing(task="p.a", attempt=1, claim="c"),
        planning=Planning(task="p.a"),
        result=PlanResult(commit="c" * 40),
        reason=WHY,
    ),
    task("p", "a", "b", paths=("src/**",), specialization=("gpu", "web")),
    task(
        "p",
        "a",
        status="failed",
        timeout_s=60,
        reason=WHY,
        result=TaskResult(branch="agent/x", verdict=VERDICT, usage=USAGE),
        messages=(Message(kind="say", text="hé\x00", by=None),),
        attempts=(
            Attempt(
                number=1,
                agent="box-000001",
                claim="c",
                outcome="failed",
                reason=WHY,
                verdict=VERDICT,
            ),
        ),
        of_a_newer_version={"deep": [1, None]},
    ),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_thawed_as_it_was(record: Record) -> None:
    text = record.model_dump_json()
    record = type(record).model_validate_json(text, strict=True)

    thawed = thaw.thaw(type(record), json.loads(text))

    assert thawed == record
    assert repr(thawed) == repr(record)
    assert thawed.model_extra == record.model_extra
    assert thawed.model_copy(update={"id": "q"}) == record.model_copy(
        update={"id": "q"}
    )


def test_every_record_has_a_way_to_be_thawed_and_a_shape() -> None:
    for model in (FormatMarker, Plan, Task, Agent):
        thaw._thaw_of(model)
    assert len(thaw.shape()) == 64
    assert " at 0x" not in "".join(map(thaw._form, (Plan, Task, Agent)))


@dataclass
class Reading:
    """What was read of a backend."""

    backend: MemoryBackend
    trees: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def read_tree(self, tip: str) -> Iterator[TreeFile]:
        self.trees += 1
        return self.backend.read_tree(tip)


def started() -> tuple[Bench, Any]:
    bench = Bench()
    bench.start()
    base = bench.base()
    bench.take_in(plan("p", base), task("p", "a"), task("p", "b", "a"), task("p", "c"))
    assert isinstance(bench.backend, MemoryBackend)
    return bench, Reading(bench.backend)


def tip_of(bench: Bench) -> str:
    return bench.store.refresh().tip


def everything(snapshot: Snapshot, kept: Kept | None = None) -> Any:
    """All that a reader can see of a snapshot."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    dump = kept.dump if kept else as_json
    status = cluster_status("t" * 40, now, snapshot, dump=dump)
    rest = {
        name: (state.source, state.open_count, dict(state.tired))
        for name, state in snapshot.plans.items()
    }
    held, archived = sorted(snapshot.held), sorted(snapshot.archived)
    return json.loads(json.dumps([status, rest, held, archived, str(snapshot.marker)]))


def assert_same(kept: Kept, backend: Backend, tip: str) -> None:
    found = kept.read(backend, tip)
    whole = reader.read(backend, tip)
    assert everything(found, kept) == everything(whole)
    assert everything(found) == everything(whole)


def test_what_was_read_once_is_not_read_again(tmp_path: Path) -> None:
    bench, reading = started()
    tip = tip_of(bench)
    Kept(tmp_path / "kept").read(reading, tip)

    snapshot = Kept(tmp_path / "kept").read(reading, tip)

    assert reading.trees == 1
    assert everything(snapshot) == everything(reader.read(bench.backend, tip))
    assert gc.isenabled()
    assert (tmp_path / "kept").stat().st_mode & 0o77 == 0


def test_what_was_kept_moves_to_a_newer_tip_by_what_has_changed(
    tmp_path: Path,
) -> None:
    bench, reading = started()
    Kept(tmp_path / "kept").read(reading, tip_of(bench))
    (claimed, *_) = bench.claim(2)
    bench.complete(bench.work(claimed), bench.result(claimed, a="a"))
    bench.take_in(plan("q", bench.base()), task("q", "a"))

    tip = tip_of(bench)
    Kept(tmp_path / "kept").read(reading, tip)

    assert reading.trees == 1
    assert_same(Kept(tmp_path / "kept"), bench.backend, tip)


def _cut(data: bytes) -> bytes:
    return data[:-20]


def _flipped(data: bytes) -> bytes:
    return data.replace(b'"submitted"', b'"completed"')


def _older(data: bytes) -> bytes:
    return data.replace(b'"version": 1', b'"version": 0')


def _other_shape(data: bytes) -> bytes:
    return data.replace(thaw.shape().encode(), b"0" * 64)


def _other_tip(data: bytes) -> bytes:
    header = json.loads(data.partition(b"\n")[0])
    return data.replace(header["tip"].encode(), b"f" * 40)


def _deep(data: bytes) -> bytes:
    return b"[" * 200_000


@pytest.mark.parametrize(
    "spoil",
    [_cut, _flipped, _older, _other_shape, _other_tip, _deep, lambda _: b"", bytes.hex],
)
def test_what_is_of_no_use_is_ignored_and_replaced(
    tmp_path: Path, spoil: Callable[[bytes], Any]
) -> None:
    bench, reading = started()
    tip = tip_of(bench)
    path = tmp_path / "kept"
    Kept(path).read(reading, tip)
    good = path.read_bytes()
    spoiled = spoil(good)
    path.write_bytes(spoiled if isinstance(spoiled, bytes) else spoiled.encode())
    assert path.read_bytes() != good

    assert_same(Kept(path), reading, tip)

    assert reading.trees == 3  # the first, the one after the damage, and the test's own
    assert path.read_bytes() == good


def test_a_tip_that_does_not_follow_what_was_kept_is_read_whole(tmp_path: Path) -> None:
    bench, reading = started()
    older = tip_of(bench)
    bench.claim()
    Kept(tmp_path / "kept").read(reading, tip_of(bench))

    assert_same(Kept(tmp_path / "kept"), reading, older)


def test_a_tip_that_does_not_decode_is_refused_with_the_same_words(
    tmp_path: Path,
) -> None:
    bench, _ = started()
    tip = tip_of(bench)
    path = "plans/p/plan.json"
    files = bench.remote.commits[tip].files.set(path, b"{}")
    bad = bench.remote.commit([tip], files, "by hand")
    bench.remote.refs[STATE_REF] = bad
    bench.backend.fetch_state()
    Kept(tmp_path / "kept").read(bench.backend, tip)

    said = []
    for read in (reader.read, Kept(tmp_path / "kept").read):
        with pytest.raises(StateRefused) as caught:
            read(bench.backend, bad)
        said.append(str(caught.value))

    assert said[0] == said[1]


def test_a_place_that_cannot_be_written_fails_nobody(tmp_path: Path) -> None:
    bench, _ = started()

    assert_same(Kept(tmp_path / "gone" / "kept"), bench.backend, tip_of(bench))
