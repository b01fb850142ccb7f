"""A worker's heartbeat on a Redis of the tests' own, and what it sends."""

import os
from collections.abc import Iterator

import msgspec
import pytest
import redis

from jdq.worker.config import read_config
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.self_test import Recovery, SelfTest
from jdq.worker.process.worker_heartbeat import WorkerHeartbeat
from jdq.worker.queue.contract import TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Worker
from jdq.worker.queue.scripts import TicketOrder
from tests.process.test_watching import in_place
from tests.redis_server import RedisServer
from tests.waiting import until

SPEC = TrainHead(dataset="d", version="v")


Sent = list[tuple[list[TicketOrder], bool]]


@pytest.fixture
def jobbook(client: redis.Redis) -> JobBook:
    return JobBook(client)


@pytest.fixture
def runtime(server: RedisServer, client: redis.Redis) -> Runtime:
    """Of the worker `w`, with a heartbeat every 20 ms."""
    config = read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": server.url})
    config = msgspec.structs.replace(config, heartbeat_s=0.02, reclaim_s=0.05, stall_s=0.3)
    return Runtime(config, worker="w", queue="cpu")


@pytest.fixture
def sent(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Sent:
    """The tickets that the worker sends."""
    sent: Sent = []
    monkeypatch.setattr(runtime, "send", lambda orders, repair=False: sent.append((orders, repair)))
    return sent


@pytest.fixture
def heartbeat(runtime: Runtime, sent: Sent) -> Iterator[WorkerHeartbeat]:
    """Not started; its device fails each self-test."""
    heartbeat = WorkerHeartbeat(runtime, device="cpu")
    heartbeat._recovery = Recovery(in_place(SelfTest("cpu"), "raise SystemExit('broken')"), heartbeat._recover)
    yield heartbeat
    if heartbeat.is_alive():
        heartbeat.deregister()
    if (test := heartbeat._recovery._test).runs:
        until(lambda: test.finding() is not None)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the main process would send to itself."""
    signals: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append((pid, number)))
    return signals


def listed(jobbook: JobBook) -> Worker:
    [worker] = until(jobbook.workers)
    return worker


def ignore(*_: object) -> None:
    """What a test does not look at."""
