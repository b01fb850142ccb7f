"""The heart of a working process: a thread that keeps its leases alive and learns when to stop."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import redis

from jdq.worker.queue.ledger import Lease, Ledger

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The work on a chunk must end now."""


class LeaseLost(Stopped):
    """Another worker has the chunk: whatever this one still does must not count."""


class JobEnded(Stopped):
    """The job was cancelled."""


class Draining(Stopped):
    """This worker was told to stop; the chunk goes back."""


_STOPS: dict[str, type[Stopped]] = {"lost": LeaseLost, "cancelled": JobEnded, "drain": Draining}


class Pulse:
    """One chunk's side of the heart: the work reports how far it is, and hears when to stop."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.verdict = "ok"
        self.live: dict[str, Any] = {}

    def check(self) -> None:
        """Raises a Stopped when the work must end. Call it between forward passes: it costs nothing."""
        if stop := _STOPS.get(self.verdict):
            raise stop(self.lease.job)

    def after_batch(self, texts: int, tokens: int) -> None:
        """Counts a forward pass's texts and tokens for those who watch, then checks."""
        self.live["texts"] = self.live.get("texts", 0) + texts
        self.live["tokens"] = self.live.get("tokens", 0) + tokens
        self.check()

    def report(self, **facts: Any) -> None:
        """Sets what those who watch see (epoch, step, loss), then checks."""
        self.live = {**self.live, **facts}
        self.check()


class Heart:
    """Beats for every lease that this process holds, until it is closed. A context manager."""

    def __init__(self, ledger: Ledger, *, heartbeat_s: float) -> None:
        self._ledger = ledger
        self._beat_s = heartbeat_s
        self._pulses: list[Pulse] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._parent = os.getppid()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def hold(self, lease: Lease) -> Pulse:
        """Starts to beat for a lease."""
        pulse = Pulse(lease)
        with self._lock:
            self._pulses.append(pulse)
        return pulse

    def let_go(self, pulse: Pulse) -> None:
        """Stops beating for a lease that is committed, handed back or lost."""
        with self._lock:
            if pulse in self._pulses:
                self._pulses.remove(pulse)

    def _run(self) -> None:
        while not self._closed.wait(self._beat_s):
            self._beat()

    def _beat(self) -> None:
        with self._lock:
            pulses = list(self._pulses)
        if os.getppid() != self._parent:
            # The worker's main process is dead: nobody would restart or stop this child, so it ends by itself.
            for pulse in pulses:
                pulse.verdict = "drain"
            return
        if not pulses:
            return
        try:
            verdicts = self._ledger.beat([(pulse.lease, pulse.live or None) for pulse in pulses])
        except redis.RedisError as error:
            # The work goes on: the token decides at the commit whether it still counts.
            log.warning("no beat: %s", error)
            return
        for pulse, verdict in zip(pulses, verdicts, strict=True):
            pulse.verdict = verdict
