"""What holds for every test: it is isolated, and leaves a legal state branch behind."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gitrepo import close_hubs
from tests.support.verified import assert_verified_below

_GITCONFIG = """\
[user]
\tname = Tess Ter
\temail = tess@example.org
[init]
\tdefaultBranch = main
[protocol "file"]
\tallow = always
"""

# A suite that runs in the background of a script ignores ^C, under nohup also the end of
# its terminal, and would hand that down to every program that a test wants to interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _isolated(
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """No test sees the machine's git configuration or percyd's real state."""
    home = tmp_path_factory.mktemp("home")
    config = home / ".gitconfig"
    config.write_text(_GITCONFIG)
    for name in list(os.environ):
        if name.startswith(("GIT_", "PERCYD_", "PERCY_", "SSH_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("PERCYD_STATE_DIR", str(tmp_path / "state"))
    yield
    close_hubs()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A command that runs inside a test sets up percyd's log for its own process."""
    logger = logging.getLogger("percyd")
    level, propagates, handlers = logger.level, logger.propagate, logger.handlers[:]
    yield
    logger.setLevel(level)
    logger.propagate, logger.handlers[:] = propagates, handlers


@pytest.fixture(autouse=True)
def _verified(
    _isolated: None, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[None]:
    """Whatever a test has made percyd do, each commit of its state is a legal one."""
    yield
    if request.node.get_closest_marker("spoiled") is None:
        assert_verified_below(tmp_path)
