"""A remote behind a daemon and a bad network, held against the checker at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemonised import FarBench, FarRemote
from tests.support.proxy import GitDaemon, Proxy


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Proxy]]:
    """The folder that a git daemon serves, and the proxy before it."""
    folder = tmp_path_factory.mktemp("server")
    with GitDaemon(folder) as daemon, Proxy(daemon.port) as proxy:
        yield folder, proxy


@pytest.fixture
def proxy(server: tuple[Path, Proxy]) -> Proxy:
    """The network, good at first."""
    server[1].clear()
    return server[1]


@pytest.fixture
def remote(server: tuple[Path, Proxy], proxy: Proxy) -> Iterator[FarRemote]:
    """A fresh bare repository; whatever a test does to it, its history must be good."""
    folder, _ = server
    home = folder / f"{len(list(folder.iterdir()))}"
    home.mkdir()
    made = FarRemote(home, folder, proxy)
    yield made
    proxy.clear()
    made.release()
    made.close()
    assert made.problems() == []


@pytest.fixture
def bench(remote: FarRemote) -> FarBench:
    """A store on that remote, whose state branch has begun."""
    made = FarBench(remote)
    made.start()
    return made
