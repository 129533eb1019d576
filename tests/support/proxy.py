"""A bad network before a real server: ``git daemon``, and a TCP proxy that spoils it.

The proxy knows nothing of git but the bytes that pass. Every mode holds for the
connections that there are and for those that come, and can be changed at any time. With
``after=b"..."`` a mode begins, connection by connection, once the client has sent these
bytes: `PUSHES` and `FETCHES` pick one kind of call, `PACKED` the moment when a push has
said what it wants.

    with GitDaemon(folder) as daemon, Proxy(daemon.port) as proxy:
        hub = Hub.open(path, Remote(proxy.url("remote.git")))
        proxy.half_open(after=PACKED)   # the next push lands, nobody hears of it
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
PUSHES = b"git-receive-pack"
FETCHES = b"git-upload-pack"
PACKED = b"PACK"

_TRIGGERS = (PUSHES, FETCHES, PACKED)
_CHUNK = 65536
_START_S = 10.0
#: How many pieces a second a limited rate is sent in.
_TICKS = 20


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to the bytes. ``up`` is from the client, ``down`` to the client.

    ``cut_up`` and ``cut_down``: the connection ends after so many bytes that way.
    ``lose_up`` and ``lose_down``: what goes that way is read and forgotten.
    """

    delay_s: float = 0
    rate: int | None = None
    cut_up: int | None = None
    cut_down: int | None = None
    lose_up: bool = False
    lose_down: bool = False
    after: bytes = b""


CLEAR = Weather()


class _Link:
    """One connection: both sockets, and how far it has come."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.ended = threading.Event()
        self.client_done = threading.Event()
        #: Triggers that the client has sent, and its last bytes: one may come in two.
        self.seen: set[bytes] = set()
        self.tail = b""
        #: What holds here, and what has passed since it does.
        self.weather = CLEAR
        self.up = 0
        self.down = 0
        #: Bytes were lost that way: what comes later is of no use to anybody.
        self.deaf = False
        self.mute = False

    def end(self) -> None:
        """End both sides at once."""
        self.ended.set()
        self.client_done.set()
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def split(self, data: bytes, trigger: bytes) -> list[bytes]:
        """What the client has sent, cut where a trigger ends that is seen first here."""
        if not trigger or trigger in self.seen:
            return [data]
        text = self.tail + data
        at = text.find(trigger)
        if at < 0:
            return [data]
        here = max(0, at + len(trigger) - len(self.tail))
        return [data[:here], data[here:]]

    def note(self, data: bytes, triggers: Sequence[bytes]) -> None:
        """Remember what has passed from the client."""
        text = self.tail + data
        self.seen.update(trigger for trigger in triggers if trigger in text)
        self.tail = text[-64:]

    def under(self, weather: Weather) -> Weather:
        """The weather here: none before its trigger has passed."""
        if weather.after and weather.after not in self.seen:
            weather = CLEAR
        if weather != self.weather:
            self.weather, self.up, self.down = weather, 0, 0
        return weather


class Proxy:
    """Stands on a port of its own before a server on another."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._guard = threading.Lock()
        self._weather = Weather()
        self._links: set[_Link] = set()
        self._threads: list[threading.Thread] = []
        #: Connections taken so far, refused ones not counted.
        self.connections = 0
        self.port = 0
        self._listener: socket.socket | None = None
        #: Holds the port while nobody listens on it.
        self._place: socket.socket | None = None
        self._open()

    def url(self, path: str) -> str:
        """Where a repository below the daemon's folder is found through this proxy."""
        return f"git://{HOST}:{self.port}/{path}"

    def clear(self) -> None:
        """Let everything pass, as at the start."""
        self.set(Weather())

    def delay(
        self, delay_s: float, rate: int | None = None, after: bytes = b""
    ) -> None:
        """Hold every piece back for a while; at most ``rate`` bytes a second."""
        self.set(Weather(delay_s=delay_s, rate=rate, after=after))

    def limit(self, rate: int, after: bytes = b"") -> None:
        """Let at most so many bytes a second pass, each way and connection."""
        self.set(Weather(rate=rate, after=after))

    def cut(
        self, *, up: int | None = None, down: int | None = None, after: bytes = b""
    ) -> None:
        """End a connection after so many bytes from, or to, the client."""
        self.set(Weather(cut_up=up, cut_down=down, after=after))

    def black_hole(self, after: bytes = b"") -> None:
        """Take connections and bytes, pass nothing on and never answer."""
        self.set(Weather(lose_up=True, lose_down=True, after=after))

    def half_open(self, after: bytes = b"") -> None:
        """Pass on what the client sends, and swallow what the server answers."""
        self.set(Weather(lose_down=True, after=after))

    def refuse(self) -> None:
        """Close the port, and every connection: the server is down."""
        with self._guard:
            listener, self._listener = self._listener, None
        if listener is not None:
            # A thread sleeps in accept(): only this wakes it.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self._place = self._bind()
        self.drop()

    def set(self, weather: Weather) -> None:
        """Change the weather; a closed port opens again."""
        with self._guard:
            self._weather = weather
        if self._listener is None:
            self._open()

    def drop(self) -> None:
        """End every connection that there is now."""
        with self._guard:
            links = list(self._links)
        for link in links:
            link.end()

    def close(self) -> None:
        """End everything, and wait for the threads."""
        self.refuse()
        if self._place is not None:
            self._place.close()
        for thread in list(self._threads):
            thread.join(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        listener = self._place or self._bind()
        self._place = None
        listener.listen(128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._run(self._accept, listener)

    def _bind(self) -> socket.socket:
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((HOST, self.port))
        return one

    def _run(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        with self._guard:
            self._threads = [t for t in self._threads if t.is_alive()]
            thread.start()
            self._threads.append(thread)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection((HOST, self._server_port), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            link = _Link(client, server)
            with self._guard:
                self._links.add(link)
                gone = self._listener is not listener
            if gone:
                link.end()
            self._run(self._serve, link)

    def _serve(self, link: _Link) -> None:
        """Pump both ways until both sides have said all, then let go of both."""
        down = threading.Thread(target=self._pump_down, args=(link,), daemon=True)
        down.start()
        self._pump_up(link)
        link.client_done.set()
        down.join()
        with self._guard:
            self._links.discard(link)
        link.client.close()
        link.server.close()

    def _pump_up(self, link: _Link) -> None:
        while data := _read(link.client):
            for part in link.split(data, self._weather.after):
                weather = link.under(self._weather)
                link.deaf |= weather.lose_up
                link.up += len(part)
                keep = _keep(part, weather.cut_up, link.up)
                if not link.deaf and not self._send(link, weather, keep, link.server):
                    return
                if weather.cut_up is not None and link.up >= weather.cut_up:
                    link.end()
                    return
                link.note(part, (*_TRIGGERS, self._weather.after))
        _say_end(link.server)

    def _pump_down(self, link: _Link) -> None:
        while data := _read(link.server):
            weather = link.under(self._weather)
            link.mute |= weather.lose_down
            link.down += len(data)
            keep = _keep(data, weather.cut_down, link.down)
            if not link.mute and not self._send(link, weather, keep, link.client):
                # The client has gone; the server may go on, and is listened to.
                link.mute = True
            if weather.cut_down is not None and link.down >= weather.cut_down:
                link.end()
                return
        if link.mute or link.under(self._weather).lose_down:
            # The client does not even learn that the server has ended.
            link.client_done.wait()
        link.end()

    def _send(
        self, link: _Link, weather: Weather, data: bytes, target: socket.socket
    ) -> bool:
        """Send on, as slowly as the weather wants; false if nobody is there."""
        if weather.delay_s:
            link.ended.wait(weather.delay_s)
        size = max(1, weather.rate // _TICKS) if weather.rate else _CHUNK
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            try:
                target.sendall(piece)
            except OSError:
                return False
            if weather.rate:
                link.ended.wait(len(piece) / weather.rate)
        return True


class GitDaemon:
    """``git daemon`` on a free port of this machine, for the repositories in a folder.

    Everybody may push. It is the leader of its process group; what it has started, a
    hook that never ends too, ends with it. With a folder for traces each process of git
    that it starts writes down there what it does (``GIT_TRACE2_EVENT``).
    """

    def __init__(self, folder: Path, traces: Path | None = None) -> None:
        self.folder = folder
        self._environ = _environ()
        if traces is not None:
            self._environ["GIT_TRACE2_EVENT"] = str(traces)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def url(self, path: str) -> str:
        """Where a repository below the folder is found."""
        return f"git://{HOST}:{self.port}/{path}"

    @property
    def pid(self) -> int:
        """The daemon's process, and its group."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, again on the same port if it had one."""
        for _ in range(5):
            port = self.port or _free_port()
            if self._try(port):
                self.port = port
                return
        raise AssertionError("git daemon did not start")

    def stop(self) -> None:
        """End it, and everything that it serves just now."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _try(self, port: int) -> bool:
        self._process = subprocess.Popen(
            [
                *("git", "daemon", "--reuseaddr", f"--listen={HOST}", f"--port={port}"),
                *("--export-all", "--enable=receive-pack", "--max-connections=0"),
                *("--informative-errors", f"--base-path={self.folder}"),
                str(self.folder),
            ],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        pause = threading.Event()
        for _ in range(int(_START_S / 0.01)):
            if self._process.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), 1).close()
                return self._process.poll() is None
            pause.wait(0.01)
        self.stop()
        return False


def _environ() -> dict[str, str]:
    """A server that knows nothing of the configuration of whoever runs the tests."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("GIT_")}
    own = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    return inherited | own


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


def _keep(data: bytes, limit: int | None, passed: int) -> bytes:
    """The part of ``data`` below a limit, if it ends at ``passed``."""
    return data if limit is None else data[: max(0, limit - passed + len(data))]


def _read(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


def _say_end(target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
