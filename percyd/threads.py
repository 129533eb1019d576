"""The port for what runs side by side: locks, conditions, threads.

Only what may wait while it is held, or be waited for, goes through here: a
deterministic simulation then decides who runs next (DESIGN 3). A lock around a few
assignments stays a plain `threading.Lock`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Protocol


class Lock(Protocol):
    """A lock that its holder may take again."""

    def __enter__(self) -> object:
        """Wait for it, and take it."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> object:
        """Give it back."""
        ...


class Condition(Lock, Protocol):
    """A lock whose holder can wait until another one notifies it."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a notification; false on time-out. Seconds."""
        ...

    def wait_for(
        self, predicate: Callable[[], bool], timeout: float | None = None
    ) -> bool:
        """Wait until the predicate holds; its last value. Seconds."""
        ...

    def notify_all(self) -> None:
        """Wake everybody who waits."""
        ...


class Thread(Protocol):
    """Something that runs beside its starter."""

    def join(self) -> None:
        """Wait for its end."""
        ...


class Threads(Protocol):
    """Where locks and threads come from."""

    def lock(self) -> Lock:
        """A new lock."""
        ...

    def condition(self, beside: Condition | None = None) -> Condition:
        """A new condition, on the lock of another one where it is given."""
        ...

    def start(self, target: Callable[[], None], name: str) -> Thread:
        """Run ``target`` beside the caller."""
        ...


class _SystemCondition(threading.Condition):
    """A `threading.Condition` that knows its lock."""

    def __init__(self, lock: threading.Lock) -> None:
        super().__init__(lock)
        self.lock = lock


class SystemThreads:
    """The operating system's threads."""

    def lock(self) -> Lock:
        """See `Threads`."""
        return threading.RLock()

    def condition(self, beside: Condition | None = None) -> Condition:
        """See `Threads`."""
        if isinstance(beside, _SystemCondition):
            return _SystemCondition(beside.lock)
        return _SystemCondition(threading.Lock())

    def start(self, target: Callable[[], None], name: str) -> Thread:
        """See `Threads`."""
        thread = threading.Thread(target=target, name=name)
        thread.start()
        return thread


SYSTEM_THREADS = SystemThreads()
