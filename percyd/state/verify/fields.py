"""Which fields of a record each operation may change (FORMAT 3)."""

from __future__ import annotations

from collections.abc import Mapping

from percyd.core.edges import Op
from percyd.core.operations.reconcile import PLAN_FIELDS, TASK_FIELDS
from percyd.core.records import Record

Fields = frozenset[str]


def _words(text: str) -> Fields:
    return frozenset(text.split())


_CLAIM = _words("assigned_to claim")
_ENDED = _CLAIM | _words("reason retries attempts")
_RESULT = _CLAIM | _words("reason result attempts")

_ALWAYS = _words("status updated_at")
#: Besides `_ALWAYS`; an operation that is not here changes no task that is there.
TASK: Mapping[str, Fields] = {
    Op.CLAIM: _CLAIM | _words("attempt base reason"),
    Op.WORK: _words("base"),
    Op.RELEASE: _ENDED,
    Op.REQUEUE: _ENDED,
    Op.LEAVE: _ENDED,
    Op.LOST: _ENDED,
    Op.FAIL: _ENDED,
    Op.CANCEL: _CLAIM | _words("reason attempts"),
    Op.COMPLETE: _RESULT,
    Op.PLAN_TASKS: _RESULT,
    Op.ASK: _CLAIM | _words("reason attempts messages"),
    Op.ANSWER: _words("reason messages retries"),
    Op.APPROVE: _words("reason messages retries approved"),
    Op.REJECT: _words("reason messages approved"),
    Op.RESOLVE: _words("reason"),
    Op.RETRY: frozenset(TASK_FIELDS) | _words("reason result approved retries"),
    Op.RECONCILE: frozenset(TASK_FIELDS) | _words("reason"),
    Op.SAY: _words("messages"),
}

_TURN = _words("landing planning")
#: Besides ``updated_at``.
PLAN: Mapping[str, Fields] = {
    Op.CLAIM: _words("status planning"),
    Op.TURN: _words("landing"),
    Op.RELEASE: _TURN,
    Op.REQUEUE: _TURN,
    Op.LEAVE: _TURN,
    Op.LOST: _TURN,
    Op.FAIL: _TURN,
    Op.COMPLETE: _TURN,
    Op.PLAN_TASKS: _TURN,
    Op.ASK: _TURN,
    Op.CANCEL: _TURN | _words("status reason"),
    Op.START: _words("status"),
    Op.PAUSE: _words("paused"),
    Op.RESUME: _words("paused"),
    Op.CLOSE: _words("status reason result"),
    Op.RETRY: _words("status reason result"),
    Op.LAND: _words("status reason result"),
    Op.RECONCILE: frozenset(PLAN_FIELDS) | _words("status source"),
}
AGENT: Mapping[str, Fields] = {op: _words("status") for op in (Op.LEAVE, Op.LOST)}


def changed(old: Record, new: Record) -> list[str]:
    """The names of the fields that differ."""
    before, after = old.__dict__, new.__dict__
    return [
        key
        for key, value in after.items()
        if before[key] is not value and before[key] != value
    ]


def wrongly_changed(
    table: Mapping[str, Fields], op: str, names: list[str]
) -> list[str]:
    """Those of the changed fields that the operation may not change."""
    allowed = table.get(op)
    if allowed is None:
        return names
    extra: Fields = frozenset(("updated_at",)) if table is PLAN else _ALWAYS
    return [name for name in names if name not in allowed and name not in extra]


def forgotten(old: Record, new: Record) -> list[str]:
    """The unknown keys that were not preserved."""
    if not old.model_extra:
        return []
    return sorted(old.model_extra.keys() - (new.model_extra or {}).keys())
