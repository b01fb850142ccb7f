"""A ledger's leases and jobs, as the tests of ledgers take and plan them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis

from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks

if TYPE_CHECKING:
    from tests.queue.conftest import Clock

SPEC = TrainHead(dataset="d", version="v")
LedgerOf = Callable[..., Ledger]
DONE = Outcome()
DESCRIPTION = {"queue": "cpu", "host": "h", "pid": 1, "device": "cpu", "started": 0}


def taken(ledger: Ledger, job: str) -> Lease:
    lease = ledger.next(job)
    assert lease is not None
    return lease


@dataclass(frozen=True)
class OwnQueue:
    """A queue of a test's own: its database, the client's side, and workers' sides."""

    client: redis.Redis
    jobbook: JobBook
    ledger: Callable[..., Ledger]  # by the worker's name

    def job(self, **options: Any) -> str:
        """A new job of one chunk. options: those of `JobBook.create`."""
        return self.jobbook.create(SPEC, **options)[0]

    def planned(self, ledger: Ledger, chunks: int, **options: Any) -> str:
        """A job whose first chunk is committed and that has this many more on the same queue."""
        job = self.job(**options)
        ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=chunks, queue=ledger.queue)))
        return job

    def worked_on(self, worker: str, chunks: int, **options: Any) -> tuple[Ledger, str]:
        """A worker's ledger, and a job that it has planned."""
        ledger = self.ledger(worker)
        return ledger, self.planned(ledger, chunks, **options)


def watched(ledger: Ledger, clock: Clock, seconds: float) -> int:
    """How many chunks were reclaimed while that much time passed, with a look at the leases every 5 s."""
    reclaimed = 0
    while seconds > 0:
        clock.pass_s(min(5, seconds))
        seconds -= 5
        reclaimed += ledger.reclaim_expired()[0]
    return reclaimed


def alive(*ledgers: Ledger) -> None:
    for ledger in ledgers:
        ledger.heartbeat(DESCRIPTION)


def fault(ledger: Ledger, lease: Lease) -> None:
    ledger.release_after_fault(lease, "RuntimeError: no CUDA")
