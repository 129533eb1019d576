"""What is on this machine: percyd's hub, runners, dead agents and what they left."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

from percyd.doctor.check import Check, fine, problem, warning
from percyd.errors import StateRefused
from percyd.home import FileLock
from percyd.life.seat import find_daemon
from percyd.repo.worktrees import SlotClone
from percyd.runners.base import Runner, available, last_line
from percyd.runners.registry import registry
from percyd.session import Percyd
from percyd.settings import COMMAND
from percyd.work.supervise import Bounds, Command, Ending, SystemProcesses

#: What a program may take to say its version: some are slow to start.
_VERSION_BOUNDS = Bounds(timeout_s=20, idle_s=20, log_bytes=0, grace_s=1)
_HOW_TO_RESCUE = "percyd serve and percyd worker see to it when they start here"


def hub(percyd: Percyd) -> Iterator[Check]:
    """Can everything be read that percyd knows of the state?"""
    damage = percyd.hub.damage()
    if damage is None:
        yield fine("hub", str(percyd.home.hub))
        return
    yield problem(
        "hub",
        f"percyd's own copy of percy/state is damaged: {damage}",
        "end what percyd runs here and put its copy aside, another is made: "
        f"{percyd.store.backend.ways.anew()}",
        StateRefused.exit_code,
    )


def runners(percyd: Percyd) -> Iterator[Check]:
    """Are the programs of the configured runners there?"""
    config = percyd.effective.config
    found = registry(config)
    if config.runner is not None and config.runner not in found:
        yield warning(
            "runners",
            f"the default runner {config.runner} has no [runners.{config.runner}]",
            "add it to .percy/config.toml: its tasks wait for ever without it",
        )
    if not found:
        yield fine("runners", "none is configured: only tasks with `run` are done")
    for name, runner in sorted(found.items()):
        if available(runner, percyd.environ.get("PATH")):
            yield _version(name, runner, percyd)
        else:
            yield warning(
                "runners",
                f"{name}: {runner.program} is not on PATH here",
                "install it, or leave its tasks to another machine",
            )


def _version(name: str, runner: Runner, percyd: Percyd) -> Check:
    """What an agent says of itself; other programs need not know ``--version``."""
    if runner.type == COMMAND:
        return fine("runners", f"{name}: {runner.program}")
    command = Command((runner.program, "--version"), Path.cwd(), percyd.environ)
    with SystemProcesses(percyd.clock) as processes:
        done = processes.run(command, _VERSION_BOUNDS, None, threading.Event())
    said = last_line(done.tail) or done.message
    if done.ending is not Ending.EXITED or done.code:
        return warning(
            "runners",
            f"{name}: {runner.program} --version does not work: {said}",
            "see whether it starts by hand",
        )
    return fine("runners", f"{name}: {runner.program}, {said}")


def daemon(percyd: Percyd) -> Iterator[Check]:
    """Does ``percyd serve`` run in this clone?"""
    found = find_daemon(percyd.home)
    if found is None:
        yield fine("daemon", "none runs in this clone; percyd serve starts one")
    else:
        yield fine("daemon", f"percyd serve runs as process {found.pid}")


def agents(percyd: Percyd) -> Iterator[Check]:
    """Which agents of this clone have died without a word?"""
    try:
        state = percyd.last_known()
    except StateRefused:
        return  # said by `hub`, with what to do
    alive, gone = percyd.own_agents(state.snapshot) if state else ([], [])
    for agent in gone:
        yield warning(
            "agents",
            f"the process of {agent.id} is gone, and its tasks are still its own",
            _HOW_TO_RESCUE,
        )
    yield fine("agents", f"{len(alive)} of this clone at work")


def slots(percyd: Percyd) -> Iterator[Check]:
    """Is there work in the slots that nobody has rescued?"""
    folders = sorted(percyd.home.slots.glob("[0-9]*"))
    for folder in folders:
        lock = FileLock(percyd.home.lock(f"slot-{folder.name}"))
        if lock.holder() is not None:
            continue
        for left in SlotClone(folder, percyd.hub).worktrees():
            yield warning(
                "slots",
                f"a dead process has left {shlex.quote(str(left))}",
                _HOW_TO_RESCUE,
            )
    yield fine("slots", f"{len(folders)} made")
