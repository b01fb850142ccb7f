"""A worker's presence: a thread of its main process that says it lives, holds its GPU, and reaps.

It runs beside the process that does the work, so a worker that is busy for hours is seen all the same.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import redis
from kombu.exceptions import OperationalError

from jdq.worker.process.devices import Gpu
from jdq.worker.process.runtime import Runtime

log = logging.getLogger(__name__)


class Presence(threading.Thread):
    """Tells the ledger every `heartbeat_s` that this worker lives, and reaps every `reclaim_s`."""

    def __init__(self, runtime: Runtime, *, device: str) -> None:
        super().__init__(name="presence", daemon=True)
        self._runtime = runtime
        self._device = device
        self._gpu: Gpu | None = None
        self._condition = "starting"
        self._began = time.time()
        self._stopping = threading.Event()
        self._gone = threading.Event()

    def run(self) -> None:
        self._say(self._runtime.ledger.arrived)
        reaped = 0.0
        told = False
        while not self._gone.is_set():
            self._say(self._seen)
            if self._stopping.is_set() and not told:
                told = self._say(self._runtime.ledger.drain)
            if time.monotonic() - reaped >= self._runtime.config.reclaim_s:
                reaped = time.monotonic()
                self._say(self._reap)
            # Told to stop, the news must reach the working process at once, not a beat later.
            (self._gone if told else self._stopping).wait(self._runtime.config.heartbeat_s)

    def take_gpu(self, gpus: Sequence[Gpu]) -> Gpu:
        """Leases one of the GPUs for as long as this thread lives; waits, and says so, while all are taken."""
        while True:
            uuid = self._runtime.ledger.lease_gpu([gpu.uuid for gpu in gpus])
            if uuid is not None:
                self._gpu = next(gpu for gpu in gpus if gpu.uuid == uuid)
                self._device = f"cuda {self._gpu.name} {uuid}"
                self._condition = "starting"
                return self._gpu
            if self._condition != "waiting":
                self._condition = "waiting"
                self._device = f"waits: all {len(gpus)} GPUs are taken"
                log.warning("all %d GPUs of this host are taken; this worker waits for one", len(gpus))
            time.sleep(self._runtime.config.heartbeat_s)

    def ready(self) -> None:
        """From now on the worker takes work."""
        self._condition = "ready"
        self._say(self._seen)

    def stop(self) -> None:
        """Has the working process hand back its chunk: this worker is to end."""
        self._stopping.set()

    def leave(self) -> None:
        """Ends the thread and takes the worker off the list."""
        self._gone.set()
        self._stopping.set()
        self.join(timeout=5)
        gpu = self._gpu
        self._say(lambda: self._runtime.ledger.left(gpu.uuid if gpu else None))

    def _seen(self) -> None:
        description = {
            "pid": os.getpid(),
            "host": self._runtime.config.host,
            "queue": self._runtime.queue,
            "device": self._device,
            "started": self._began,
            "condition": self._condition,
        }
        self._runtime.ledger.seen(description, ready=self._condition == "ready")
        if self._gpu and self._runtime.ledger.lease_gpu([self._gpu.uuid]) is None:
            # It was silent for so long that another worker has the GPU: two on one would run out of its memory.
            log.error("lost the lease of GPU %s; this worker ends, to be started again", self._gpu.uuid)
            self._gpu = None
            os.kill(os.getpid(), signal.SIGTERM)

    def _reap(self) -> None:
        taken, tickets = self._runtime.ledger.reap()
        if taken:
            log.warning("took back %d chunks of workers that fell silent", taken)
        self._runtime.send(tickets, repair=True)

    def _say(self, what: Callable[[], object]) -> bool:
        try:
            what()
        except (redis.RedisError, OperationalError) as error:
            log.warning("the ledger does not answer: %s", error)
            return False
        return True
