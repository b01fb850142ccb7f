"""A Redis of the tests' own, and ledgers on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from jdq.worker.queue.contract import Queue, TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger

SPEC = TrainHead(dataset="d", version="v")


@pytest.fixture
def jobbook(client: redis.Redis) -> JobBook:
    """The client's side."""
    return JobBook(client)


@pytest.fixture
def ledger_of(client: redis.Redis) -> Callable[..., Ledger]:
    """A worker's side, by the worker's name."""

    def make(worker: str, *, queue: Queue = "cpu", lease_s: float = 60.0) -> Ledger:
        # reclaim_s 0: every reclaim in a test counts, none is left to another worker.
        return Ledger(client, worker=worker, queue=queue, lease_s=lease_s, reclaim_s=0.0)

    return make
