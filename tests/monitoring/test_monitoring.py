"""Health and metrics, as they read a real ledger."""

from __future__ import annotations

import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest

from jdq.worker.programs.health import Unhealthy, health_of
from jdq.worker.programs.prometheus_exporter import LedgerCollector
from jdq.worker.queue.contract import Queue, TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome

SPEC = TrainHead(dataset="d", version="v")
WORKER = "cpu-worker-1@host"


def ledger_of(client: redis.Redis, worker: str, queue: Queue = "cpu") -> Ledger:
    """The ledger of a worker that has registered."""
    ledger = Ledger(client, worker=worker, queue=queue, lease_s=60, reclaim_s=0)
    ledger.heartbeat({"pid": 1, "host": "host", "queue": queue, "device": "cpu", "started": 0})
    return ledger


def fall_silent(client: redis.Redis, worker: str) -> None:
    """Makes its last heartbeat an old one."""
    client.zadd("jdq:workers:seen", {worker: 1000.0})


def scrape(client: redis.Redis) -> dict[str, float]:
    """What Prometheus would read: sample -> value."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(JobBook(client)))
    lines = generate_latest(registry).decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_a_worker_with_a_recent_heartbeat_is_healthy(client: redis.Redis) -> None:
    ledger_of(client, WORKER)
    assert health_of(WORKER, JobBook(client)) == "idle"


def test_a_worker_that_has_not_registered_is_unhealthy(client: redis.Redis) -> None:
    ledger_of(client, "another@host")
    with pytest.raises(Unhealthy, match="no worker cpu-worker-1@host"):
        health_of(WORKER, JobBook(client))


def test_a_silent_worker_is_healthy_while_it_holds_a_lease(client: redis.Redis) -> None:
    ledger, jobbook = ledger_of(client, WORKER), JobBook(client)
    job, _ = jobbook.create(SPEC)
    lease = ledger.next(job)
    fall_silent(client, WORKER)
    assert job in health_of(WORKER, jobbook)

    assert lease is not None
    ledger.commit(lease, Outcome())
    with pytest.raises(Unhealthy, match="silent since 1 "):
        health_of(WORKER, jobbook)


def test_metrics_count_jobs_chunks_and_workers(client: redis.Redis) -> None:
    ledger, jobbook = ledger_of(client, WORKER), JobBook(client)
    ledger_of(client, "gone@host", "gpu")
    fall_silent(client, "gone@host")
    first, _ = jobbook.create(SPEC)
    jobbook.create(SPEC)
    lease = ledger.next(first)
    assert lease is not None

    running = scrape(client)
    assert running['jdq_jobs{kind="train-head",state="running"}'] == 1
    assert running['jdq_jobs{kind="train-head",state="queued"}'] == 1
    assert running['jdq_chunks{queue="cpu",state="leased"}'] == 1
    assert running['jdq_chunks{queue="cpu",state="pending"}'] == 1
    assert running['jdq_workers{queue="cpu",state="busy"}'] == 1
    assert running['jdq_workers{queue="gpu",state="dead"}'] == 1
    assert running['jdq_workers{queue="gpu",state="idle"}'] == 0

    ledger.commit(lease, Outcome(counts={"computed": 3, "tokens": 40, "device_ms": 20}))
    after = scrape(client)
    assert after["jdq_texts_computed_total"] == 3
    assert after["jdq_tokens_computed_total"] == 40
    assert after[f'jdq_worker_tokens_per_second{{worker="{WORKER}"}}'] == 2000
    assert after['jdq_jobs{kind="train-head",state="succeeded"}'] == 1
    assert after['jdq_chunks{queue="cpu",state="leased"}'] == 0


def test_without_redis_the_only_metric_is_ledger_up() -> None:
    nobody = redis.Redis(unix_socket_path="/nonexistent/r.sock", decode_responses=True)
    assert scrape(nobody) == {"jdq_ledger_up": 0}
