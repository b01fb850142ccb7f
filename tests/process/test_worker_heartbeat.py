"""The worker heartbeat: what it reports, when it quarantines and recovers its worker, and what it returns."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis

from jdq.worker.config import read_config
from jdq.worker.process import worker_heartbeat
from jdq.worker.process.devices import Gpu
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.self_test import Recovery, SelfTest
from jdq.worker.process.worker_heartbeat import STOP_SIGNAL, WorkerHeartbeat
from jdq.worker.queue.contract import PROTOCOL, TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import GpuUse, Worker
from jdq.worker.queue.scripts import TicketOrder
from tests.process.test_watching import in_place
from tests.redis_server import RedisServer
from tests.waiting import until

SPEC = TrainHead(dataset="d", version="v")
GPUS = [Gpu(uuid=f"GPU-{n}", name=f"H{n}", index=n, card=f"GPU-{n}") for n in (1, 2)]
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
    assert heartbeat._runtime._ends
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


def test_a_worker_is_given_a_free_gpu_and_returns_it_when_it_ends(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis
) -> None:
    client.set("jdq:gpu:GPU-1", "other")
    heartbeat.start()
    assert heartbeat.lease_gpu(GPUS) == GPUS[1]
    until(lambda: listed(jobbook).device == "cuda H2 GPU-2")
    heartbeat.deregister()
    assert not client.exists("jdq:gpu:GPU-2")
    assert client.get("jdq:gpu:GPU-1") == "other"


def test_heartbeats_report_the_use_of_the_leased_gpu(heartbeat: WorkerHeartbeat, jobbook: JobBook) -> None:
    heartbeat._send()
    assert listed(jobbook).gpu is None
    heartbeat.lease_gpu(GPUS, use_of=lambda gpu: GpuUse(uuid=gpu.uuid, percent=40, power_w=312.5))
    heartbeat._send()
    assert listed(jobbook).gpu == GpuUse(uuid="GPU-1", percent=40, power_w=312.5)


def test_a_worker_waits_while_all_gpus_are_taken_and_says_so_once(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set("jdq:gpu:GPU-1", "other", px=600)
    heartbeat.start()
    assert heartbeat.lease_gpu(GPUS[:1]) == GPUS[0]
    assert caplog.messages == ["this worker waits for a GPU: all 1 GPUs are taken"]
    until(lambda: listed(jobbook).state == "starting")


def test_a_worker_that_lost_its_gpu_ends(
    heartbeat: WorkerHeartbeat, client: redis.Redis, signals: list[tuple[int, int]], caplog: pytest.LogCaptureFixture
) -> None:
    heartbeat.lease_gpu(GPUS)
    heartbeat._send()
    assert signals == []
    client.set("jdq:gpu:GPU-1", "other")
    heartbeat._send()
    heartbeat._send()
    assert signals == [(os.getpid(), signal.SIGTERM)]
    assert caplog.messages == ["lost the lease of GPU GPU-1; this worker exits, to be restarted"]


def test_a_device_that_does_not_compute_quarantines_its_worker(
    heartbeat: WorkerHeartbeat,
    jobbook: JobBook,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    code = "import sys; sys.exit('cuda:99 does not compute' if 'cuda:99' in sys.argv else 0)"
    in_test = lambda device: in_place(SelfTest(device), code, device)  # noqa: E731
    monkeypatch.setattr(worker_heartbeat, "SelfTest", in_test)
    heartbeat._send()
    heartbeat.test_device("cpu")
    assert listed(jobbook).reason is None
    heartbeat.test_device("cuda:99")
    heartbeat._send()
    worker = listed(jobbook)
    assert worker.state == "sick"
    assert worker.reason == "self-test: cuda:99 does not compute"
    assert caplog.messages == [f"{worker.reason}; this worker takes no work"]


def test_a_quarantined_worker_takes_no_tickets_until_it_has_recovered(
    heartbeat: WorkerHeartbeat, jobbook: JobBook
) -> None:
    ended: list[int] = []
    takes: list[bool] = []
    heartbeat._recovery = Recovery(in_place(SelfTest("cpu"), ""), heartbeat._recover)
    heartbeat.ready(ended.append, takes.append)
    assert takes == []
    heartbeat._runtime.ledger.quarantine("wrong numbers")
    heartbeat._send()
    heartbeat._send()
    assert takes == [False]
    heartbeat.start()  # registration forgets the quarantine
    until(lambda: takes == [False, True])
    heartbeat._runtime.ledger.quarantine("wrong numbers")  # its self-test passes
    until(lambda: takes == [False, True, False, True])
    assert ended == [signal.SIGTERM]
    assert listed(jobbook).state == "idle"


def test_a_worker_recovers_by_a_test_of_its_own_device(runtime: Runtime) -> None:
    heartbeat = WorkerHeartbeat(runtime, device="cuda:9")
    assert heartbeat._recovery._recover == heartbeat._recover
    assert heartbeat._recovery._test._command[-1] == "cuda:9"


def test_a_worker_does_not_recover_while_its_process_is_busy(heartbeat: WorkerHeartbeat, jobbook: JobBook) -> None:
    ledger, ended = heartbeat._runtime.ledger, list[int]()
    heartbeat.ready(ended.append, ignore)
    job = jobbook.create(SPEC)[0]
    assert ledger.next(job)
    ledger.quarantine("wrong numbers")
    assert not heartbeat._recover()
    assert (ended, listed(jobbook).state) == ([], "sick")
    ledger.mark_idle(job)
    assert heartbeat._recover()
    assert (ended, listed(jobbook).state) == ([signal.SIGTERM], "idle")


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


def test_a_process_that_is_too_stuck_to_renew_its_leases_is_killed_and_its_worker_quarantined(
    heartbeat: WorkerHeartbeat, jobbook: JobBook, client: redis.Redis
) -> None:
    ended: list[int] = []
    heartbeat.start()
    listed(jobbook)
    heartbeat.ready(ended.append, ignore)
    time.sleep(0.5)  # longer than the bound: nothing is held, so nothing is stuck
    assert ended == []
    client.hset("jdq:workers:busy", "w", "some-job")
    until(lambda: ended)
    assert ended[0] == signal.SIGKILL
    until(lambda: str(listed(jobbook).reason).startswith("the working process has renewed no lease for 0 s"))


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


def test_a_worker_leaves_a_gpu_that_others_use_after_the_chunk_that_it_holds(
    heartbeat: WorkerHeartbeat, runtime: Runtime, jobbook: JobBook, client: redis.Redis, signals: list[tuple[int, int]]
) -> None:
    used = {"GPU-1"}

    def shortage(gpu: Gpu, *, held: bool) -> str:
        return f"others use {gpu.uuid}" if gpu.uuid in used else ""

    assert heartbeat.lease_gpu(GPUS, shortage) == GPUS[1]
    heartbeat._send()
    job, _ = jobbook.create(SPEC)
    assert runtime.ledger.next(job) is not None
    used.add("GPU-2")
    heartbeat._send()
    assert (listed(jobbook).reason, signals) == ("others use GPU-2", [])
    assert runtime.ledger.next(jobbook.create(SPEC)[0]) is None
    client.hdel("jdq:workers:busy", "w")
    heartbeat._send()
    assert signals == [(os.getpid(), signal.SIGTERM)]
