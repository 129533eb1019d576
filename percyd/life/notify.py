"""How the daemon tells systemd that it is up, and that it is about to end."""

from __future__ import annotations

import socket
from collections.abc import MutableMapping
from contextlib import suppress

#: No program of a task may speak for the daemon.
_SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
READY = "READY=1"
STOPPING = "STOPPING=1"


class ServiceManager:
    """systemd, if it has started us: sd_notify(3) is one datagram."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address, *_ = [environ.pop(name, "") for name in _SYSTEMD]
        # "@" stands for the null byte of an abstract address.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def tell(self, words: str) -> None:
        """Say how it stands; nobody there to hear it is no error."""
        if self._address:
            with (
                suppress(OSError),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
            ):
                end.sendto(words.encode(), self._address)
