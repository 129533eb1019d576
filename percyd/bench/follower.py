"""A process that follows the state and claims what it sees become ready.

Run by `percyd.bench.dispatch`.
"""

from __future__ import annotations

import threading

from percyd.bench.peer import Peer
from percyd.bench.records import claim
from percyd.core.schedule import pick

#: Between two looks at the remote. A real worker waits longer, or for an event.
POLL_S = 0.01


def run(peer: Peer) -> None:
    """Claim one task after the other, and say when."""
    name = peer.job["agent"]
    never = threading.Event()
    for _ in range(peer.job["claims"]):
        while True:
            snapshot = peer.store.refresh().snapshot
            if pick(snapshot, snapshot.agents[name], 1, ()):
                break
            peer.clock.wait(never, POLL_S)
        seen_s = peer.clock.boot_s()
        (task,) = claim(peer.store, name)
        at_s = peer.clock.boot_s()
        peer.say({"task": task.id, "seen_s": seen_s, "at_s": at_s})


if __name__ == "__main__":
    this = Peer()
    this.wait()
    run(this)
    this.finish({"facts": this.backend.meter.facts()})
