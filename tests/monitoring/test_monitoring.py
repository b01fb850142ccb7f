"""Health and metrics, as they read a real ledger."""

import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
import redis
from prometheus_client import CollectorRegistry, generate_latest

from jdq.worker.programs.health import Unhealthy, health_of
from jdq.worker.programs.prometheus_exporter import LedgerCollector
from jdq.worker.programs.store_sizes import StoreSizes
from jdq.worker.queue.contract import Queue, TrainHead
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger, Outcome
from tests.queue.ledgers import taken
from tests.waiting import until

SPEC = TrainHead(dataset="d", version="v")
WORKER = "cpu-worker-1@host"


def ledger_of(client: redis.Redis, worker: str, queue: Queue = "cpu", **more: object) -> Ledger:
    """The ledger of a worker that has registered."""
    ledger = Ledger(client, worker=worker, queue=queue, lease_s=60, reclaim_s=0)
    ledger.heartbeat({"pid": 1, "host": "host", "queue": queue, "device": "cpu", "started": 0, **more})
    return ledger


def fall_silent(client: redis.Redis, worker: str) -> None:
    """Makes its last heartbeat an old one."""
    client.zadd("jdq:workers:seen", {worker: 1000.0})


def commands_of(client: redis.Redis) -> int:
    """How many commands the server has processed."""
    return int(client.info("stats")["total_commands_processed"])


def scrape(client: redis.Redis) -> dict[str, float]:
    """What Prometheus would read: sample -> value."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(client))
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
    assert after["jdq_device_seconds_total"] == 0.02
    assert after[f'jdq_worker_tokens_per_second{{worker="{WORKER}"}}'] == 2000
    assert after[f'jdq_worker_texts_total{{worker="{WORKER}"}}'] == 3
    assert after[f'jdq_worker_tokens_total{{worker="{WORKER}"}}'] == 40
    assert after['jdq_jobs_ended_total{kind="train-head",state="succeeded"}'] == 1
    assert 'jdq_jobs{kind="train-head",state="running"}' not in after
    assert after['jdq_chunks{queue="cpu",state="leased"}'] == 0


def test_metrics_have_the_times_of_each_kind_of_job(client: redis.Redis) -> None:
    ledger, jobbook = ledger_of(client, WORKER), JobBook(client)
    job, _ = jobbook.create(SPEC)
    ledger.commit(taken(ledger, job), Outcome())
    client.hset("jdq:totals", mapping={"wait_ms:train-head": 2500, "run_ms:train-head": 7000, "chunk_ms:train-head": 9})
    found = scrape(client)
    for name, seconds in (("job_wait", 2.5), ("job_run", 7), ("chunk", 0.009)):
        assert found[f'jdq_{name}_seconds_sum{{kind="train-head"}}'] == seconds
        assert found[f'jdq_{name}_seconds_count{{kind="train-head"}}'] == 1


def test_metrics_count_the_failures_of_chunks_by_cause_from_0_on(client: redis.Redis) -> None:
    ledger, jobbook = ledger_of(client, WORKER), JobBook(client)
    before = scrape(client)
    first, _ = jobbook.create(SPEC)
    second, _ = jobbook.create(SPEC)
    ledger.release_after_fault(taken(ledger, first), "OSError: a cable")
    ledger.release(taken(ledger, second), "the worker is stopping")
    after = scrape(client)
    grown = {name: after[name] for name in before if "failures" in name and after[name] != before[name]}
    assert grown == {'jdq_chunk_failures_total{cause="fault"}': 1}
    assert before['jdq_chunk_failures_total{cause="expired"}'] == 0


def test_metrics_have_the_gpus_that_workers_lease_and_the_jobs_on_them(client: redis.Redis) -> None:
    use = {"uuid": "GPU-1", "percent": 40, "used": 5, "total": 8, "power_w": 312.5}
    slice_use = {"uuid": "MIG-1", "used": 1, "total": 2}
    for name, gpu in (("a@h", use), ("b@h", slice_use), ("gone@h", use | {"uuid": "GPU-2"})):
        ledger_of(client, name, "gpu", gpu=gpu)
    fall_silent(client, "gone@h")
    client.hset("jdq:workers:busy", "a@h", "job-1")
    found = {name: value for name, value in scrape(client).items() if name.startswith("jdq_gpu_")}
    assert found == {
        'jdq_gpu_utilization_ratio{uuid="GPU-1"}': 0.4,
        'jdq_gpu_memory_used_bytes{uuid="GPU-1"}': 5,
        'jdq_gpu_memory_used_bytes{uuid="MIG-1"}': 1,
        'jdq_gpu_memory_total_bytes{uuid="GPU-1"}': 8,
        'jdq_gpu_memory_total_bytes{uuid="MIG-1"}': 2,
        'jdq_gpu_power_watts{uuid="GPU-1"}': 312.5,
        'jdq_gpu_job_info{job_id="job-1",uuid="GPU-1",worker="a@h"}': 1,
        'jdq_gpu_job_info{job_id="",uuid="MIG-1",worker="b@h"}': 1,
    }


def test_metrics_name_the_versions_and_the_servers_memory(client: redis.Redis) -> None:
    ledger_of(client, WORKER, version="0.9", protocol=7)
    found = scrape(client)
    info = f'host="host",protocol="7",queue="cpu",version="0.9",worker="{WORKER}"'
    assert found[f'jdq_worker_info{{device="cpu",{info}}}'] == 1
    assert found[f'jdq_info{{version="{version("jdq")}"}}'] == 1
    server = client.info()
    assert found[f'jdq_redis_info{{version="{server["redis_version"]}"}}'] == 1
    assert found["jdq_redis_memory_used_bytes"] > 0
    client.config_set("maxmemory", 2**30)
    assert scrape(client)["jdq_redis_memory_max_bytes"] == 2**30
    client.config_set("maxmemory", 0)


def test_a_scrape_reads_no_job_that_has_ended(client: redis.Redis) -> None:
    ledger, jobbook = ledger_of(client, WORKER), JobBook(client)
    for _ in range(3):
        job, _ = jobbook.create(SPEC)
        ledger.commit(taken(ledger, job), Outcome())
    before = commands_of(client)
    scrape(client)
    few = commands_of(client) - before
    for _ in range(30):
        job, _ = jobbook.create(SPEC)
        ledger.commit(taken(ledger, job), Outcome())
    before = commands_of(client)
    scrape(client)
    assert commands_of(client) - before == few


def test_without_redis_the_only_metrics_are_ledger_up_and_the_version() -> None:
    nobody = redis.Redis(unix_socket_path="/nonexistent/r.sock", decode_responses=True)
    assert scrape(nobody) == {"jdq_ledger_up": 0, f'jdq_info{{version="{version("jdq")}"}}': 1}


def test_the_stores_size_is_known_once_it_is_measured(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "shard.h5").write_bytes(bytes(100_000))
    sizes = StoreSizes(tmp_path)
    assert list(sizes.collect()) == []
    sizes.measure()
    used, free = (family.samples[0].value for family in sizes.collect())
    assert 100_000 <= used < 120_000
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


def test_a_store_that_is_not_visible_has_no_size(tmp_path: Path) -> None:
    sizes = StoreSizes(tmp_path / "store")
    (tmp_path / "store").mkdir()
    sizes.measure()
    (tmp_path / "store").rmdir()
    sizes.measure()
    assert list(sizes.collect()) == []


def test_the_store_is_measured_in_a_thread(tmp_path: Path) -> None:
    sizes = StoreSizes(tmp_path)
    sizes.start()
    until(lambda: list(sizes.collect()))
