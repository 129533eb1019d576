"""Replay one seed, or look for one that fails: ``python -m tests.sim SEED [SEED]``."""

from __future__ import annotations

import logging
import sys
import time

from tests.sim.world import World


def main(args: list[str]) -> int:
    """One seed: its log and its violations. Two: the range, and who fails."""
    first, last = int(args[0]), int(args[-1])
    bad = 0
    logging.disable(logging.CRITICAL)
    started_s = time.process_time()
    for seed in range(first, last + 1):
        world = World(seed)
        found = world.run()
        if first == last:
            print(*world.network.log, sep="\n")
        if found:
            bad += 1
            print(f"seed {seed}:", *found, sep="\n  ")
    spent_s = time.process_time() - started_s
    count = last - first + 1
    print(f"{count} seeds, {bad} fail, {spent_s:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
