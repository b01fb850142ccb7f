"""The worker heartbeat: what it reports, how a worker stops, and the chunks that it returns."""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis

from jdq.worker.process.worker_heartbeat import STOP_SIGNAL, WorkerHeartbeat
from jdq.worker.queue.contract import PROTOCOL
from jdq.worker.queue.jobbook import JobBook
from tests.process.conftest import SPEC, Sent, ignore, listed
from tests.waiting import until


def test_a_worker_is_starting_until_it_is_ready_and_then_describes_itself(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis
) -> None:
    heartbeat.start()
    assert listed(jobbook).state == "starting"
    assert until(lambda: client.hgetall("jdq:workers:queue")) == {"w": ""}
    heartbeat.ready(ignore, ignore)
    assert client.hgetall("jdq:workers:queue") == {"w": "cpu"}
    worker = listed(jobbook)
    assert (worker.state, worker.device, worker.pid, worker.queue) == ("idle", "cpu", os.getpid(), "cpu")
    assert (worker.host, worker.protocol) == (heartbeat._runtime.config.host, PROTOCOL)
    assert worker.version != "-"
    assert 0 <= time.time() - worker.started < 60
    until(lambda: listed(jobbook).last_seen > worker.last_seen)
    assert (heartbeat.daemon, heartbeat.name) == (True, "worker-heartbeat")


def test_an_order_to_stop_reaches_the_ledger_immediately_and_once(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis
) -> None:
    heartbeat._runtime.config = msgspec.structs.replace(heartbeat._runtime.config, heartbeat_s=600)
    heartbeat.start()
    until(lambda: client.exists("jdq:reclaim"))  # the last that it does before it waits
    time.sleep(0.1)
    heartbeat.stop()
    until(lambda: client.sismember("jdq:workers:drain", "w"), within_s=20)
    heartbeat.deregister()
    assert not heartbeat.is_alive()
    assert jobbook.workers() == []
    assert not client.exists("jdq:workers:drain")


def test_an_order_to_stop_that_the_ledger_does_not_take_reaches_the_process_by_a_signal(
    heartbeat: WorkerHeartbeat, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[int] = []
    refusals = [redis.ConnectionError("away")]
    drain = heartbeat._runtime.ledger.drain

    def refuses_once() -> None:
        for error in refusals:
            refusals.clear()
            raise error
        drain()

    monkeypatch.setattr(heartbeat._runtime.ledger, "drain", refuses_once)
    heartbeat.ready(signalled.append, ignore)
    heartbeat.start()
    heartbeat.stop()
    assert heartbeat._runtime._ending.is_set()
    until(lambda: client.sismember("jdq:workers:drain", "w"), within_s=20)
    assert signalled == [STOP_SIGNAL]


def test_what_an_earlier_worker_of_the_name_left_is_removed_at_the_start(
    heartbeat: WorkerHeartbeat, jobbook: JobBook
) -> None:
    ledger = heartbeat._runtime.ledger
    ledger.quarantine("of yesterday")
    ledger.drain()
    heartbeat.start()
    assert (listed(jobbook).state, listed(jobbook).reason) == ("starting", None)


def test_the_death_of_the_process_returns_its_chunks_with_repairing_tickets(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    job = jobbook.create(SPEC)[0]
    assert heartbeat._runtime.ledger.next(job)
    heartbeat.child_died(os.getpid() + 1, "killed")
    assert (sent, caplog.messages) == ([([], True)], [])
    heartbeat.child_died(os.getpid(), "killed")
    [order] = sent[1][0]
    assert (order.job, sent[1][1]) == (job, True)
    assert caplog.messages == [f"returned 1 chunks of process {os.getpid()}: killed"]
    assert [(event["what"], event["reason"]) for event in jobbook.job(job).log] == [("death", "killed")]


def test_expired_leases_are_reclaimed_and_repaired(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    job = jobbook.create(SPEC)[0]
    assert heartbeat._runtime.ledger.next(job)
    client.zadd(f"jdq:job:{job}:leases", {"0": 1})
    client.hset("jdq:reclaim", "at", round(1000 * time.time()) - 10_000)
    heartbeat.ready(ignore, ignore)
    heartbeat.start()
    until(lambda: jobbook.job(job).log)
    until(lambda: any(orders for orders, _ in sent))
    assert {order.job for orders, _ in sent for order in orders} == {job}
    assert {repair for _, repair in sent} == {True}
    assert "reclaimed 1 chunks of workers that stopped sending heartbeats" in caplog.messages


def test_the_thread_goes_on_while_the_ledger_does_not_answer_and_ends_with_any_other_error(
    heartbeat: WorkerHeartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(error: Exception) -> Callable[[], Any]:
        def call() -> Any:
            raise error

        return call

    assert heartbeat._try(ignore)
    assert not heartbeat._try(fails(redis.ConnectionError("refused")))
    assert not heartbeat._try(fails(msgspec.ValidationError("a wrong reply")))
    assert caplog.messages == ["the ledger does not answer: refused", "the ledger does not answer: a wrong reply"]
    with pytest.raises(ZeroDivisionError):
        heartbeat._try(lambda: 1 / 0)


def test_a_heartbeat_that_breaks_ends_its_worker(
    heartbeat: WorkerHeartbeat, signals: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "_run", lambda: None)
    heartbeat.run()
    assert signals == [(os.getpid(), signal.SIGTERM)]
    heartbeat._gone.set()
    heartbeat.run()
    assert len(signals) == 1
