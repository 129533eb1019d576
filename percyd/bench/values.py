"""What a benchmark says: numbers with their spread, beside raw git."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Spread:
    """A number that was measured several times."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def as_json(self) -> Json:
        """For ``--json``."""
        return {
            "median": round(self.median, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "count": self.count,
        }


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio that should not be exceeded, and what it came to."""

    of: str
    value: float
    at_most: float

    @property
    def met(self) -> bool:
        """Whether the median keeps to it."""
        return self.value <= self.at_most

    def as_json(self) -> Json:
        """For ``--json``."""
        return {
            "of": self.of,
            "value": round(self.value, 4),
            "at_most": round(self.at_most, 4),
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: what was measured and what raw git took beside it, in ms."""

    ms: float
    raw_ms: float

    @property
    def times_raw(self) -> float:
        """The ratio of the two."""
        return self.ms / self.raw_ms


@dataclass(frozen=True, slots=True)
class Row:
    """One case of a benchmark.

    ``unit`` is what was measured, ``raw_unit`` what it is divided by. ``facts`` are
    counts and the times of single phases, summed or as medians as their names say.
    """

    case: str
    unit: str
    raw_unit: str
    samples: Sequence[Sample]
    target: Target | None = None
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def measured(self) -> Spread:
        """Milliseconds."""
        return Spread.of([sample.ms for sample in self.samples])

    @property
    def raw(self) -> Spread:
        """Milliseconds of raw git, measured beside it."""
        return Spread.of([sample.raw_ms for sample in self.samples])

    @property
    def times_raw(self) -> Spread:
        """The ratio, round by round."""
        return Spread.of([sample.times_raw for sample in self.samples])

    def as_json(self) -> Json:
        """For ``--json``."""
        return {
            "case": self.case,
            "unit": self.unit,
            "raw_unit": self.raw_unit,
            "measured_ms": self.measured.as_json(),
            "raw_ms": self.raw.as_json(),
            "times_raw": self.times_raw.as_json(),
            "target": self.target.as_json() if self.target else None,
            "facts": {name: round(value, 4) for name, value in self.facts.items()},
        }


@dataclass(frozen=True, slots=True)
class Section:
    """One benchmark with all its cases."""

    name: str
    title: str
    rows: Sequence[Row]
    #: The load of the machine before and after: the average of the last minute.
    load: tuple[float, float]

    def as_json(self) -> Json:
        """For ``--json``."""
        return {
            "name": self.name,
            "title": self.title,
            "load": [round(value, 2) for value in self.load],
            "rows": [row.as_json() for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured, and where."""

    git: str
    python: str
    cpus: int
    quick: bool
    sections: Sequence[Section]

    def as_json(self) -> Json:
        """For ``--json``."""
        return {
            "git": self.git,
            "python": self.python,
            "cpus": self.cpus,
            "quick": self.quick,
            "benchmarks": [section.as_json() for section in self.sections],
        }


def mean_facts(counted: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each fact over several rounds; one that is absent counts as zero."""
    names = sorted({name for facts in counted for name in facts})
    return {
        name: sum(facts.get(name, 0.0) for facts in counted) / len(counted)
        for name in names
    }
