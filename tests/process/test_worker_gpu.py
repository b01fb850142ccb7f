"""The GPU of a worker: leased at its start, reported in its heartbeats, left when lost or used by others."""

import os
import signal

import pytest
import redis

from jdq.worker.process.devices import Gpu
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.worker_heartbeat import WorkerHeartbeat
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import GpuUse
from tests.process.conftest import SPEC, listed
from tests.waiting import until

GPUS = [Gpu(uuid=f"GPU-{n}", name=f"H{n}", index=n, card=f"GPU-{n}") for n in (1, 2)]


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
