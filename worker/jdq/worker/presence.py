"""A worker's presence: a thread of its main process that says it lives, and that reaps.

It runs beside the process that does the work, so a worker that is busy for hours is seen all the same.
"""

from __future__ import annotations

import logging
import os
import threading
import time

import redis
from kombu.exceptions import OperationalError

from jdq.worker.runtime import Runtime

log = logging.getLogger(__name__)


class Presence(threading.Thread):
    """Tells the ledger every `beat_s` that this worker lives, and reaps every `reap_s`."""

    def __init__(self, runtime: Runtime, *, device: str) -> None:
        super().__init__(name="presence", daemon=True)
        self._runtime = runtime
        self._stopping = threading.Event()
        self._gone = threading.Event()
        self._description = {
            "pid": os.getpid(),
            "host": runtime.config.host,
            "queue": runtime.queue,
            "device": device,
            "started": time.time(),
        }

    def run(self) -> None:
        self._say(self._runtime.ledger.arrived)
        reaped = 0.0
        told = False
        while not self._gone.is_set():
            self._say(lambda: self._runtime.ledger.seen(self._description))
            if self._stopping.is_set() and not told:
                told = self._say(self._runtime.ledger.drain)
            if time.monotonic() - reaped >= self._runtime.config.reap_s:
                reaped = time.monotonic()
                self._say(self._reap)
            self._wait(told)

    def stop(self) -> None:
        """Has the working process hand back its chunk: this worker is to end."""
        self._stopping.set()

    def leave(self) -> None:
        """Ends the thread and takes the worker off the list."""
        self._gone.set()
        self.join(timeout=5)
        self._say(self._runtime.ledger.left)

    def _wait(self, told: bool) -> None:
        # Told to stop, the news must reach the working process at once, not a beat later.
        waker = self._gone if told else self._stopping
        waker.wait(self._runtime.config.beat_s)

    def _reap(self) -> None:
        taken, tickets = self._runtime.ledger.reap()
        if taken:
            log.warning("took back %d chunks of workers that fell silent", taken)
        self._runtime.send(tickets, repair=True)

    def _say(self, what: object) -> bool:
        try:
            what()  # type: ignore[operator]
        except (redis.RedisError, OperationalError) as error:
            log.warning("the ledger does not answer: %s", error)
            return False
        return True
