"""A Redis of the tests' own, and ledgers on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from jdq.worker.contract import Queue, TrainHead
from jdq.worker.ledger.jobbook import JobBook
from jdq.worker.ledger.ledger import Ledger
from tests.redis_server import RedisServer

SPEC = TrainHead(dataset="d", version="v")


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """One server for all tests; a socket's path must be short, so not pytest's own folder."""
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        server = RedisServer(Path(folder)).start()
        yield server
        server.kill()


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    """An empty database."""
    client = server.client()
    client.flushall()
    return client


@pytest.fixture
def jobbook(client: redis.Redis) -> JobBook:
    """The client's side."""
    return JobBook(client)


@pytest.fixture
def ledger_of(client: redis.Redis) -> Callable[..., Ledger]:
    """A worker's side, by the worker's name."""

    def make(worker: str, *, queue: Queue = "cpu", lease_s: float = 60.0) -> Ledger:
        # reap_s 0: every reap in a test counts, none is left to another worker.
        return Ledger(client, worker=worker, queue=queue, lease_s=lease_s, reap_s=0.0)

    return make
