"""A process that claims: one agent of many. Run by `percyd.bench.claims`."""

from __future__ import annotations

from percyd.bench.peer import Peer
from percyd.bench.records import claim_of
from percyd.bench.values import Json


def run(peer: Peer) -> Json:
    """Claim until no slot is free or no task is ready; what it came to."""
    agent, free = peer.job["agent"], peer.job["slots"]
    won: list[Json] = []
    told: dict[str, str | None] = {}
    while free:
        applied = peer.store.apply(claim_of(peer.store, agent, free))
        at_s = peer.clock.boot_s()
        if applied.decision is None:
            # The state that the answer rests on says who was faster.
            held = applied.snapshot.held_tasks()
            told = {task.id: task.assigned_to for task in held}
            break
        tasks = applied.decision.tasks
        won += [{"task": t.id, "claim": t.claim, "at_s": at_s} for t in tasks]
        free -= len(tasks)
    return {
        "agent": agent,
        "won": won,
        "told": told,
        "at_s": at_s,
        "facts": peer.backend.meter.facts(),
    }


if __name__ == "__main__":
    this = Peer()
    this.wait()
    this.finish(run(this))
