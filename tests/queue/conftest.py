"""A Redis of the tests' own, ledgers on it, and a clock for its scripts that the test sets."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import redis

from jdq.worker.queue import scripts
from jdq.worker.queue.contract import Queue
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger
from tests.queue.dropping_proxy import DroppingProxy
from tests.queue.ledgers import OwnQueue
from tests.redis_server import RedisServer


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


@pytest.fixture
def queue(client: redis.Redis, jobbook: JobBook, ledger_of: Callable[..., Ledger]) -> OwnQueue:
    return OwnQueue(client, jobbook, ledger_of)


@pytest.fixture
def proxy(server: RedisServer, client: redis.Redis) -> DroppingProxy:
    """A proxy before the server, whose database is empty."""
    # Another path for each test, because kombu keeps connections by URL; a short one, because a socket's must be.
    return DroppingProxy(server.folder / f"{secrets.token_hex(4)}.sock", server.socket)


CLOCK = "test:clock"
SERVER_TIME = "local time = redis.call('TIME')\nlocal now = time[1] * 1000 + math.floor(time[2] / 1000)\n"


@cache
def source_on_test_clock(name: str) -> str:
    """The script, with the time that the test sets instead of the server's."""
    source = real_source(name)
    assert SERVER_TIME in source
    return source.replace(SERVER_TIME, f"local now = tonumber(redis.call('GET', '{CLOCK}'))\n")


real_source = scripts._source


@dataclass(frozen=True)
class Clock:
    """The scripts' clock, in milliseconds."""

    client: redis.Redis

    def pass_s(self, seconds: float) -> None:
        """Time passes; a negative number sets the clock back."""
        self.client.incrby(CLOCK, round(seconds * 1000))


@pytest.fixture
def clock(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Does not advance by itself; a reclaim has just run, so that leases can expire."""
    monkeypatch.setattr(scripts, "_source", source_on_test_clock)
    now = round(time.time() * 1000)
    client.set(CLOCK, now)
    client.hset("jdq:reclaim", "at", now)
    return Clock(client)
