"""A ledger's leases and jobs, as the tests of ledgers take and plan them."""

from __future__ import annotations

from collections.abc import Callable

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Lease, Ledger, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.queue.conftest import SPEC, Clock

LedgerOf = Callable[..., Ledger]
DONE = Outcome()
DESCRIPTION = {"queue": "cpu", "host": "h", "pid": 1, "device": "cpu", "started": 0}


def taken(ledger: Ledger, job: str) -> Lease:
    lease = ledger.next(job)
    assert lease is not None
    return lease


def planned(jobbook: JobBook, ledger: Ledger, chunks: int) -> str:
    """A job whose first chunk is committed and that has this many more on the same queue."""
    job, _ = jobbook.create(SPEC)
    ledger.commit(taken(ledger, job), Outcome(follow_up=FollowUpChunks(chunks=chunks, queue=ledger.queue)))
    return job


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
