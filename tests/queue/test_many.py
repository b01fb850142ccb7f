"""The ledger with thousands of jobs and hundreds of workers."""

from __future__ import annotations

import time
from collections.abc import Callable

import redis

from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.conftest import SPEC, Clock
from tests.queue.test_ledger import taken

LedgerOf = Callable[..., Ledger]


def test_releasing_many_jobs_beside_many_workers_does_not_block_the_server(
    jobbook: JobBook, ledger_of: LedgerOf
) -> None:
    for number in range(400):
        ledger_of(f"w{number}").heartbeat({"queue": "cpu"})
    first, _ = jobbook.create(SPEC)
    for _ in range(1000):
        jobbook.create(SPEC, after=[first])
    ledger = ledger_of("w0")
    lease = taken(ledger, first)
    began = time.perf_counter()
    assert len(ledger.commit(lease, Outcome()).tickets) == 1000
    assert time.perf_counter() - began < 0.5  # 1.1 s where workers are counted for each job


def test_a_worker_that_is_seen_but_takes_nothing_collects_no_tickets(
    jobbook: JobBook, ledger_of: LedgerOf, clock: Clock, client: redis.Redis
) -> None:
    ledger = ledger_of("stuck")
    jobbook.create(SPEC)
    sent = 0
    for _ in range(0, 3600, 5):
        clock.pass_s(5)
        ledger.heartbeat({"queue": "cpu"})
        for order in ledger.reclaim_expired()[1]:
            sent += order.count
            client.lpush("cpu", *["ticket"] * order.count)  # as kombu does with priority 0
    assert sent <= 12
