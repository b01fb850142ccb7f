"""The child watch: a thread of a worker's main process that sees a working process die, and reports the reason."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

log = logging.getLogger(__name__)

LIKELY_CAUSES = {
    "SIGKILL": " (out of memory?)",
    "SIGBUS": " (a mapped file was truncated, or its disk failed: jdq store verify)",
}
# Exit codes of a process that was told to stop: by Celery, or by a signal to the whole group before it was ready.
STOPPED = (0, signal.SIGTERM, -signal.SIGTERM)
INTERVAL_S = 0.05  # checking costs one system call per child


class Child(Protocol):
    """A process of Celery's pool."""

    @property
    def pid(self) -> int: ...

    @property
    def exitcode(self) -> int | None:
        """None while it runs; minus the number of the signal that killed it."""


class ChildWatch(threading.Thread):
    """Calls `died(pid, reason)` once for each child that has ended, within a tenth of a second."""

    def __init__(self, children: Callable[[], Iterable[Child]], died: Callable[[int, str], object]) -> None:
        super().__init__(name="child-watch", daemon=True)
        self._children = children
        self._died = died
        self._running: dict[int, Child] = {}
        self._ended: dict[int, Child] = {}
        self._closed = threading.Event()

    def run(self) -> None:
        while not self._closed.wait(INTERVAL_S):
            self.look()

    def look(self) -> None:
        """Checks once. Remembers children, because the pool may forget one that has ended, or list it for a while."""
        children = list(self._children())
        self._running.update((child.pid, child) for child in children if self._ended.get(child.pid) is not child)
        ended = {pid: code for pid, child in self._running.items() if (code := child.exitcode) is not None}
        for pid, code in ended.items():
            self._ended[pid] = self._running.pop(pid)
            if code not in STOPPED:
                log.error("working process %d: %s", pid, reason_of(code))
            self._died(pid, reason_of(code))

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()


def reason_of(exit_code: int) -> str:
    """Why a process ended, in words."""
    if exit_code >= 0:
        return f"its process ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    return f"its process was killed by {name}" + LIKELY_CAUSES.get(name, "")
