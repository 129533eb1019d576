"""When agents were last seen to beat, by somebody who keeps watching."""

from __future__ import annotations

from collections.abc import Mapping


class Seen:
    """Remembers since when each heartbeat has had its value.

    Only a value that has changed under our eyes tells anything: heartbeats carry no
    time, and the first look says nothing of how old they are.
    """

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._moved_s: dict[str, float] = {}

    def note(self, beats: Mapping[str, str], now_s: float) -> None:
        """Take in where the heartbeats stand, by agent."""
        for agent, value in beats.items():
            if self._values.get(agent, value) != value:
                self._moved_s[agent] = now_s
        self._values = dict(beats)

    def ages(self, now_s: float) -> dict[str, float]:
        """Seconds since the agents' last beats, of those that are known."""
        return {
            agent: round(now_s - moved_s, 1)
            for agent, moved_s in self._moved_s.items()
            if agent in self._values
        }
