"""What every attempt of one worker shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from percyd.clock import Clock
from percyd.home import Home
from percyd.parking import Parking
from percyd.repo.hub import Hub
from percyd.repo.values import Identity
from percyd.runners.base import Runner
from percyd.state.store import StateStore
from percyd.work.gate import Verdicts
from percyd.work.prompt import Prompts
from percyd.work.supervise import Processes
from percyd.work.upload import Pace


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every attempt of one worker needs."""

    store: StateStore
    hub: Hub
    home: Home
    clock: Clock
    processes: Processes
    runners: Mapping[str, Runner]
    environ: Mapping[str, str]
    author: Identity | None
    grace_s: float
    parking: Parking
    prompts: Prompts = field(default_factory=Prompts)
    #: Of the trees that attempts began with, for all of them.
    base_verdicts: Verdicts = field(default_factory=Verdicts)
    pace: Pace = field(default_factory=Pace)
