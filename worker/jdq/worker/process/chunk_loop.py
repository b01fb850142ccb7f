"""A worker's time on one job: lease chunks, work on them, commit them, until none is left or the time slice ends.

While one chunk is computed, the next is read and tokenized in one thread, and the previous one is written and committed
in another. If the device still has to wait for the next chunk, two are prepared at a time.
"""

import faulthandler
import logging
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import redis

from jdq.worker.process.chunk_work import ChunkWork
from jdq.worker.process.errors import MACHINE_FAULTS, USER_ERRORS, NothingFinite, WorkerSick
from jdq.worker.process.lease_heartbeat import Draining, HeldLease, LeaseHeartbeat, Preempted, StopWork
from jdq.worker.process.logs import working_on
from jdq.worker.process.progress_watch import ProgressWatch
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import TicketOrder

log = logging.getLogger(__name__)

T = TypeVar("T")
Publish = Callable[[], Outcome]

# Chunks leased ahead once the device has waited for one. Not before, because another worker could take them, and an
# urgent job waits for them. A chunk that the device waited for takes it less time than its preparation.
MOST_AHEAD = 2


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A leased and prepared chunk. compute: returns what is left to do, which is to publish it."""

    held: HeldLease
    compute: Callable[[], Publish]

    @property
    def suspect(self) -> bool:
        """Whether it was tried before, so that it may have killed its worker."""
        return self.held.lease.attempt > 1


class ChunkLoop:
    """Works on one job's chunks for one ticket.

    stall_s, on_cpu: see ProgressWatch.
    """

    def __init__(
        self,
        ledger: Ledger,
        job: str,
        *,
        work_for: Callable[[Lease], ChunkWork[Any, Any]],
        send: Callable[[list[TicketOrder]], None],
        time_slice_s: float,
        heartbeat_s: float,
        stall_s: float,
        on_cpu: bool,
    ) -> None:
        self._ledger = ledger
        self._job = job
        self._work_for = work_for
        self._send = send
        self._ends = time.monotonic() + time_slice_s
        self._watch = ProgressWatch(stall_s, interval_s=heartbeat_s, on_cpu=on_cpu)
        self._heartbeat = LeaseHeartbeat(
            ledger,
            heartbeat_s=heartbeat_s,
            watch=self._watch,
            hangs=self._give_up,
            ignores_stop=self._end_unstoppable,
        )
        self._draining = False
        self._most_ahead = 1
        self._leases_ahead = False

    def run(self) -> None:
        """Works until no chunk is left to take, this worker must stop, or the time slice ends."""
        with self._heartbeat, ThreadPoolExecutor(MOST_AHEAD + 1, thread_name_prefix="chunk") as threads:
            self._run(threads)
        self._send(self._ledger.mark_idle(self._job))

    def stop(self) -> None:
        """Takes no more chunks, and releases those that it has. For signal handlers."""
        self._draining = True
        self._heartbeat.drain()

    def _run(self, threads: ThreadPoolExecutor) -> None:
        publishing: Future[None] | None = None
        ahead: deque[Future[_Chunk | None]] = deque()
        while chunk := self._next(ahead):
            # A suspect chunk is computed by itself, so that no other is lost with it.
            if publishing and chunk.suspect:
                publishing.result()
            while len(ahead) < self._most_ahead and self._leases_ahead and (held := self._lease()):
                ahead.append(threads.submit(self._prepared, held))
            publish = self._step(chunk.held, chunk.compute)
            if publishing:
                publishing.result()
            publishing = threads.submit(self._publish, chunk.held, publish) if publish else None
            if publishing and chunk.suspect:
                publishing.result()
        if publishing:
            publishing.result()

    def _next(self, ahead: deque[Future[_Chunk | None]]) -> _Chunk | None:
        """The first of the chunks ahead that could be prepared, or a new one; None when there is none to take."""
        while ahead:
            if not ahead[0].done():
                self._most_ahead = MOST_AHEAD
            if chunk := ahead.popleft().result():
                return chunk
        while held := self._lease():
            if chunk := self._prepared(held):
                return chunk
        return None

    def _lease(self) -> HeldLease | None:
        """A lease on the next chunk, unless there is none, this worker must stop, or the time slice has ended."""
        if self._draining or time.monotonic() >= self._ends or (lease := self._ledger.next(self._job)) is None:
            return None
        # Beside a job's last chunk it would be another job's chunk, which might have to wait for a complete fine-tune.
        self._leases_ahead = lease.more and lease.attempt == 1
        return self._heartbeat.hold(lease)

    def _prepared(self, held: HeldLease) -> _Chunk | None:
        return self._step(held, lambda: self._prepare(held))

    def _prepare(self, held: HeldLease) -> _Chunk:
        work = self._work_for(held.lease)
        prepared = work.prepare()
        return _Chunk(held, lambda: partial(work.publish, work.compute(prepared, held)))

    def _publish(self, held: HeldLease, publish: Publish) -> None:
        self._step(held, lambda: self._commit(held, publish()))

    def _commit(self, held: HeldLease, outcome: Outcome) -> None:
        committed = self._ledger.commit(held.lease, outcome)
        self._heartbeat.forget(held)
        measured = _measured(outcome.counts, held.held_s)
        text = ", ".join(f"{value} {name}" for name, value in measured.items())
        log.info("chunk committed (%s): %s", committed.answer, text, extra={"measured": measured})
        self._send(committed.tickets)

    def _step(self, held: HeldLease, step: Callable[[], T]) -> T | None:
        """Runs one step of a chunk; None when it failed, after reporting why to the ledger.

        This is the border between the work and the ledger, and the only place where any error is caught.
        """
        with working_on(held.lease), held.working():
            try:
                held.check()
                return step()
            except StopWork as stop:
                self._stop(held, stop)
            except NothingFinite as error:
                self._ledger.quarantine(str(error))
                self._retry(held, error)
            except WorkerSick as error:
                log.error("this worker is quarantined: %s", error)
                self._ledger.quarantine(reason := str(error))
                self._tell(lambda: self._ledger.release(held.lease, reason))
            except MACHINE_FAULTS as error:
                self._retry(held, error)
            except USER_ERRORS as error:
                log.error("the job fails: %s", error)
                facts = {"type": type(error).__name__, "message": str(error)}
                self._tell(lambda: self._ledger.fail(held.lease, facts))
            except redis.ResponseError as error:
                self._retry(held, error)  # the ledger rejected it
            except redis.RedisError:
                # The lease expires by itself; after that, the fencing token keeps this process from committing.
                log.exception("the ledger does not answer; the chunk is given up")
            except Exception as error:  # noqa: BLE001 - a fault of the machine, whatever it is, is tried again
                self._retry(held, error)
            self._heartbeat.forget(held)
            return None

    def _give_up(self, leases: list[HeldLease]) -> None:
        """Quarantines this worker, because its work hangs; called by the heartbeat's thread."""
        reason = f"no progress for {self._watch.silent_s:.0f} s"
        log.critical("%s; this process ends, and its worker is quarantined", reason)
        faulthandler.dump_traceback(2)  # stderr, whatever Celery has made of sys.stderr
        self._end_process(leases, reason, hangs=True)

    def _end_unstoppable(self, leases: list[HeldLease]) -> None:
        """Called by the heartbeat's thread if work does not stop."""
        log.warning("the work does not stop; this process ends")
        self._end_process(leases, "its process ended, because the work did not stop", hangs=False)

    def _end_process(self, leases: list[HeldLease], reason: str, *, hangs: bool) -> None:
        """Returns the chunks, so that others take them, and ends this process with everything that runs in it."""
        try:
            if hangs:
                self._ledger.quarantine(reason)
            for held in leases:
                release = self._ledger.release_after_fault if hangs and held.in_work else self._ledger.release
                self._send(release(held.lease, reason))
        finally:
            os._exit(1)  # a lease that could not be returned expires

    def _retry(self, held: HeldLease, error: Exception) -> None:
        log.exception("a fault; the chunk will be retried")
        reason = "".join(traceback.format_exception_only(error)).strip()
        self._tell(lambda: self._ledger.release_after_fault(held.lease, reason))

    def _tell(self, report: Callable[[], list[TicketOrder]]) -> None:
        """Reports the end of an attempt; if the ledger does not accept it, the lease expires."""
        try:
            self._send(report())
        except redis.RedisError:
            log.exception("the ledger rejects the report; the chunk is given up")

    def _stop(self, held: HeldLease, stop: StopWork) -> None:
        log.info("stopped: %s", type(stop).__name__)
        if isinstance(stop, Preempted):
            self._tell(lambda: self._ledger.release(held.lease, "it made room for an urgent job"))
        elif isinstance(stop, Draining):
            self._draining = True
            self._tell(lambda: self._ledger.release(held.lease, "the worker is stopping"))


def _measured(counts: Mapping[str, int], seconds: float) -> dict[str, float]:
    """What a log line says about a committed chunk: texts, tokens and tokens_per_s, if its encoder computed any."""
    texts, tokens, device_ms = (counts.get(name, 0) for name in ("computed", "tokens", "device_ms"))
    measured: dict[str, float] = {"texts": texts, "tokens": tokens} if texts or tokens else {}
    speed = {"tokens_per_s": 1000 * tokens // device_ms} if tokens and device_ms else {}
    return measured | speed | {"seconds": round(seconds, 3)}
