"""The lease heartbeat: a thread that renews a process's leases and learns from the ledger when the work must stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis

from jdq.worker.process.progress_watch import ProgressWatch
from jdq.worker.queue.ledger import Lease, Ledger
from jdq.worker.queue.scripts import Verdict

log = logging.getLogger(__name__)


class StopWork(Exception):
    """The work on a chunk must stop now."""


class LeaseLost(StopWork):
    """Another worker has the chunk: nothing that this one still does may count."""


class JobCancelled(StopWork):
    """The user cancelled the job."""


class Draining(StopWork):
    """This worker is stopping; its chunk is released."""


class Preempted(Draining):
    """The chunk is released, and this worker continues with an urgent job."""


_STOPS: dict[Verdict, type[StopWork]] = {
    "lost": LeaseLost,
    "cancelled": JobCancelled,
    "drain": Draining,
    "preempt": Preempted,
}


# A process whose work does not check for a verdict in this time ends itself: it loads a model, or runs another library.
# Work that checks rarely, say after each step of a large network, is granted some steps, to save a checkpoint.
STOP_S = 5.0
STOP_GAPS = 3


class HeldLease:
    """A lease that the heartbeat renews: the work reports its progress here, and is told when to stop."""

    def __init__(
        self, lease: Lease, renew: Callable[[], object] = lambda: None, progress: Callable[[], object] = lambda: None
    ) -> None:
        self.lease = lease
        self._renew = renew
        self._progress = progress
        self.verdict: Verdict = "ok"
        self.live: dict[str, Any] = {}
        self.in_work = False
        self._stopping = False
        self._verdict_at = 0.0
        self._checked_at: float | None = None
        self._longest_gap_s = 0.0
        self._since = time.monotonic()

    @property
    def held_s(self) -> float:
        """Seconds since the chunk was leased."""
        return time.monotonic() - self._since

    def check(self) -> None:
        """Counts as progress; raises StopWork when the work must stop. Call it between forward passes: it is cheap."""
        self._progress()
        now = time.monotonic()
        if self._checked_at is not None:
            self._longest_gap_s = max(self._longest_gap_s, now - self._checked_at)
        self._checked_at = now
        if stop := _STOPS.get(self.verdict):
            self._stopping = True
            raise stop(self.lease.job)

    def tell(self, verdict: Verdict) -> None:
        """Sets the ledger's verdict, on which the next check acts; no verdict withdraws an order to stop."""
        if self.verdict == "ok":
            self._verdict_at = time.monotonic()
        if verdict != "ok":
            self.verdict = verdict

    @property
    def ignores_stop(self) -> bool:
        """Whether a thread works on the chunk although it must stop, and has not checked for much longer than usual."""
        if self.verdict == "ok" or not self.in_work or self._stopping:
            return False
        return time.monotonic() - self._verdict_at > max(STOP_S, STOP_GAPS * self._longest_gap_s)

    @contextmanager
    def working(self) -> Iterator[None]:
        """While a thread works on the chunk; outside this context, the chunk only waits."""
        self.in_work = True
        self._checked_at = None
        try:
            yield
        finally:
            self.in_work = False
            self._progress()

    def after_batch(self, texts: int, tokens: int) -> None:
        """Adds a forward pass's texts and tokens to the progress, then checks."""
        self.live["texts"] = self.live.get("texts", 0) + texts
        self.live["tokens"] = self.live.get("tokens", 0) + tokens
        self.check()

    def report_now(self, **facts: Any) -> None:
        """Has the ledger store these facts before the work continues, because it may kill this process."""
        self.live = {**self.live, **facts}
        self._renew()
        self.check()

    def report(self, **facts: Any) -> None:
        """Sets these facts of the progress (epoch, step, loss), then checks."""
        self.live = {**self.live, **facts}
        self.check()


class LeaseHeartbeat:
    """Renews every lease that this process holds, until it is closed. A context manager.

    watch: sees whether the work on them makes progress. hangs, ignores_stop: called with the leases held if it does
    not, and if work that must stop does not check for that.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        heartbeat_s: float,
        watch: ProgressWatch,
        hangs: Callable[[list[HeldLease]], object],
        ignores_stop: Callable[[list[HeldLease]], object],
    ) -> None:
        self._ledger = ledger
        self._heartbeat_s = heartbeat_s
        self._watch = watch
        self._hangs = hangs
        self._ignores_stop = ignores_stop
        self._held: list[HeldLease] = []
        self._draining = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._parent = os.getppid()
        self._thread = threading.Thread(target=self._run, name="lease-heartbeat", daemon=True)

    def __enter__(self) -> LeaseHeartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()

    def hold(self, lease: Lease) -> HeldLease:
        """Renews the lease from now on."""
        held = HeldLease(lease, self._renew, self._watch.progress)
        with self._lock:
            self._held.append(held)
        if self._draining:
            held.tell("drain")
        return held

    def forget(self, held: HeldLease) -> None:
        """Stops renewing a lease that is committed, released or lost."""
        with self._lock:
            if held in self._held:
                self._held.remove(held)

    def drain(self) -> None:
        """Makes the work on all chunks stop, now and later. For signal handlers: it takes no lock."""
        self._draining = True
        for held in list(self._held):
            held.tell("drain")

    def _run(self) -> None:
        try:
            while not self._closed.wait(self._heartbeat_s):
                self._renew()
                self._look()
        finally:
            if not self._closed.is_set():
                # Whatever it was: nobody renews the leases any more, so the work on them must stop.
                with self._lock:
                    for held in self._held:
                        held.tell("lost")

    def _look(self) -> None:
        with self._lock:
            leases = list(self._held)
        if not leases:
            self._watch.progress()
        if self._watch.look():
            self._hangs(leases)
        if any(held.ignores_stop for held in leases):
            self._ignores_stop(leases)

    def _renew(self) -> None:
        with self._lock:
            leases = list(self._held)
        if os.getppid() != self._parent:
            # The worker's main process is dead, so nobody would restart or stop this child, and it ends itself.
            for held in leases:
                held.tell("drain")
            return
        if not leases:
            return
        try:
            verdicts = self._ledger.renew([(held.lease, held.live or None) for held in leases])
        except redis.RedisError as error:
            # The work continues: the fencing token decides at the commit whether it still counts.
            log.warning("leases not renewed: %s", error)
            return
        for held, verdict in zip(leases, verdicts, strict=True):
            held.tell(verdict)
