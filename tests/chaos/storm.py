"""What goes wrong, all at once, in an order and at times drawn from a seed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

from tests.chaos.stage import Stage
from tests.support.proxy import FETCHES, PACKED, PUSHES, Proxy

KILL_EVERY_S: Final = 0.3
CHANGE_EVERY_S: Final = 0.5
#: How many changes are for the better, so that there is something to be broken.
WELL: Final = 0.5
#: Longer than a lease.
STOPPED_S: Final = 4.0
REPACK_EVERY_S: Final = 1.0
#: The others are killed in the end and never come back: one in each clone is left.
SURVIVORS: Final = 4


class Storm:
    """Kills, stops, bad weather, bad hooks and a busy server, for a while."""

    def __init__(self, stage: Stage, proxy: Proxy, random: Random) -> None:
        self._stage = stage
        self._proxy = proxy
        self._random = random
        self._calm = threading.Event()
        self._stopped: dict[int, float] = {}
        self.done: Counter[str] = Counter()

    def rage(self, seconds: float) -> None:
        """Let everything go wrong for so long, then heal all of it."""
        server = threading.Thread(target=self._repack)
        server.start()
        now_s = start_s = os.times().elapsed
        change_s = start_s
        try:
            while now_s < start_s + seconds:
                self._kill()
                if now_s >= change_s:
                    self._change()
                    change_s = now_s + self._random.uniform(0.5, 1.5) * CHANGE_EVERY_S
                self._calm.wait(KILL_EVERY_S)
                self._wake(now_s - STOPPED_S)
                self._stage.keep_up()
                now_s = os.times().elapsed
        finally:
            self._calm.set()
            server.join()
            self._heal(now_s)

    def _heal(self, now_s: float) -> None:
        self._wake(now_s)
        self._hooks()
        self._proxy.clear()
        # What hangs is told so, as the network would do in the end.
        self._proxy.drop()
        for number in range(SURVIVORS, len(self._stage.fleet)):
            self._stage.give_up(number)
        self._stage.keep_up()

    def _note(self, what: str, act: Callable[[], object]) -> None:
        self.done[what] += 1
        act()

    def _kill(self) -> None:
        number = self._random.randrange(len(self._stage.fleet))
        process = self._stage.fleet[number]
        if process is not None and number not in self._stopped:
            self._note("kill", process.kill)
            process.wait()

    def _change(self) -> None:
        """Every other time all is well again; else one thing more goes wrong."""
        if self._random.random() < WELL:
            self._note("all well", self._proxy.clear)
            self._hooks()
        else:
            what, act = self._random.choice(self._faults())
            self._note(what, act)

    def _faults(self) -> list[tuple[str, Callable[[], object]]]:
        proxy = self._proxy
        calls = self._random.choice([b"", PUSHES, FETCHES, PACKED])
        many = self._random.randrange(4000)
        return [
            ("drop", proxy.drop),
            ("cut up", lambda: proxy.cut(up=many, after=calls)),
            ("cut down", lambda: proxy.cut(down=many, after=calls)),
            ("delay", lambda: proxy.delay(0.1, after=calls)),
            ("limit", lambda: proxy.limit(20_000, after=calls)),
            ("black hole", lambda: proxy.black_hole(after=calls)),
            ("half open", lambda: proxy.half_open(after=calls)),
            ("refuse", proxy.refuse),
            ("hook refuses", lambda: self._hooks("refuse")),
            ("hook hangs", lambda: self._hooks("hang")),
            ("stop", self._stop),
            ("stop", self._stop),
        ]

    def _hooks(self, *names: str) -> None:
        for name in ("refuse", "hang"):
            path = self._stage.control / name
            if name in names:
                path.touch()
            else:
                path.unlink(missing_ok=True)

    def _stop(self) -> None:
        """Stop one worker for longer than its lease."""
        number = self._random.randrange(len(self._stage.fleet))
        process = self._stage.fleet[number]
        if process is not None and process.poll() is None and len(self._stopped) < 2:
            process.send_signal(signal.SIGSTOP)
            self._stopped.setdefault(number, os.times().elapsed)

    def _wake(self, before_s: float) -> None:
        for number, since_s in list(self._stopped.items()):
            process = self._stage.fleet[number]
            if since_s <= before_s and process is not None:
                process.send_signal(signal.SIGCONT)
                del self._stopped[number]

    def _repack(self) -> None:
        """What a server does to its repositories, all the time and with no regard."""
        calls = (["gc", "-q"], ["repack", "-adkq"], ["pack-refs", "--all", "--prune"])
        random = Random(0)
        while not self._calm.wait(REPACK_EVERY_S):
            command = random.choice(calls)
            self.done[f"git {command[0]}"] += 1
            # It may lose to a push, and say so.
            subprocess.run(
                ["git", "-C", str(self._stage.remote), *command],
                env=self._stage.env,
                capture_output=True,
                check=False,
            )
