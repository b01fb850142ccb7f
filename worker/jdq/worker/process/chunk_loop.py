"""A worker's turn on one job: take chunks, work on them, commit them, until none is left or the time is up.

Three chunks are in flight at once, so that the device never waits: while one is computed, the next is read and
tokenized in one thread, and the last is written and committed in another.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import redis

from jdq.worker.process.errors import MACHINE_FAULTS, USER_ERRORS
from jdq.worker.process.lease_heartbeat import Draining, Heart, Pulse, Stopped
from jdq.worker.process.logs import working_on
from jdq.worker.queue.jobbook import TicketOrder
from jdq.worker.queue.ledger import Lease, Ledger, Outcome

log = logging.getLogger(__name__)


class ChunkWork(Protocol):
    """One chunk's work in three steps. Each step sees what the one before left on the object."""

    def prepare(self, pulse: Pulse) -> None:
        """Reads what the chunk needs; touches no device."""

    def compute(self, pulse: Pulse) -> None:
        """The work itself; checks the pulse often."""

    def publish(self, pulse: Pulse) -> Outcome:
        """Writes the outcome under names that a second publication does not change."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A chunk in flight."""

    pulse: Pulse
    work: ChunkWork


class Turn:
    """One ticket's worth of work on one job."""

    def __init__(
        self,
        ledger: Ledger,
        job: str,
        *,
        work_for: Callable[[Lease], ChunkWork],
        send: Callable[[list[TicketOrder]], None],
        time_slice_s: float,
        heartbeat_s: float,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._work_for = work_for
        self._send = send
        self._ends = time.monotonic() + time_slice_s
        self._heart = Heart(ledger, heartbeat_s=heartbeat_s)
        self._draining = False

    def run(self) -> None:
        """Works until nothing is left to take, this worker is to stop, or the turn's time is up."""
        with self._heart, ThreadPoolExecutor(2, thread_name_prefix="chunk") as aside:
            self._run(aside)
        self._send(self._ledger.idle(self._job))

    def _run(self, aside: ThreadPoolExecutor) -> None:
        publishing: Future[None] | None = None
        held = self._take()
        while held:
            # A chunk that was tried before may be what killed its worker: it runs alone, and takes no other with it.
            suspect = held.pulse.lease.attempt > 1
            if publishing and suspect:
                publishing.result()
            ahead = None if suspect else aside.submit(self._take_in_time)
            computed = self._step(held.pulse, partial(held.work.compute, held.pulse))
            if publishing:
                publishing.result()
            publishing = aside.submit(self._publish, held) if computed else None
            if publishing and suspect:
                publishing.result()
            held = ahead.result() if ahead else self._take_in_time()
        if publishing:
            publishing.result()

    def _take_in_time(self) -> _Held | None:
        """The next chunk, while the turn lasts."""
        return self._take() if time.monotonic() < self._ends else None

    def _take(self) -> _Held | None:
        """Leases chunks until one is prepared; None when there is none to take."""
        while not self._draining and (lease := self._ledger.next(self._job)):
            pulse = self._heart.hold(lease)
            work = self._work_for(lease)
            if self._step(pulse, partial(work.prepare, pulse)):
                return _Held(pulse, work)
        return None

    def _publish(self, held: _Held) -> None:
        self._step(held.pulse, partial(self._commit, held))

    def _commit(self, held: _Held) -> None:
        outcome = held.work.publish(held.pulse)
        answer, tickets = self._ledger.commit(held.pulse.lease, outcome)
        self._heart.let_go(held.pulse)
        log.info("chunk committed (%s)", answer)
        self._send(tickets)

    def _step(self, pulse: Pulse, step: Callable[[], None]) -> bool:
        """Runs one step of a chunk; False when it did not end well, after telling the ledger why.

        The border between the work and the ledger, so the one place where any error is caught.
        """
        with working_on(pulse.lease):
            try:
                pulse.check()
                step()
            except Stopped as stop:
                self._stop(pulse, stop)
            except MACHINE_FAULTS as error:
                self._retry(pulse, error)
            except USER_ERRORS as error:
                log.error("the job fails: %s", error)
                self._send(self._ledger.fail(pulse.lease, {"type": type(error).__name__, "message": str(error)}))
            except redis.RedisError:
                # The lease expires by itself, and the token keeps this process from counting after that.
                log.exception("the ledger does not answer; the chunk is given up")
            except Exception as error:  # noqa: BLE001 - a fault of the machine, whatever it is, is tried again
                self._retry(pulse, error)
            else:
                return True
            self._heart.let_go(pulse)
            return False

    def _retry(self, pulse: Pulse, error: Exception) -> None:
        log.exception("a fault; the chunk is tried again later")
        reason = "".join(traceback.format_exception_only(error)).strip()
        self._send(self._ledger.retry_later(pulse.lease, reason))

    def _stop(self, pulse: Pulse, stop: Stopped) -> None:
        log.info("stopped: %s", type(stop).__name__)
        if isinstance(stop, Draining):
            self._draining = True
            self._ledger.hand_back(pulse.lease, "the worker was told to stop")
