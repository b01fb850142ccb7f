"""The metrics that the Prometheus exporter derives from the ledger: see docs/reference/metrics.md."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from jdq.worker.queue.contract import QUEUES, Spec
from jdq.worker.queue.records import GpuUse, Worker
from jdq.worker.queue.scripts import OpenJobs

# Counter, the ledger's total, how many of these are one, help text.
_TOTALS = (
    ("jdq_texts_computed", "computed", 1, "Texts whose features were computed."),
    ("jdq_texts_reused", "reused", 1, "Texts whose features were already in the store."),
    ("jdq_texts_truncated", "truncated", 1, "Texts that were truncated to the encoder's limit."),
    ("jdq_tokens_computed", "tokens", 1, "Tokens that encoders have processed."),
    ("jdq_device_seconds", "device_ms", 1000, "Seconds of device time of encoded chunks."),
)
# Summary, the ledger's name of the time, help text.
_TIMES = (
    ("jdq_job_wait_seconds", "wait", "Seconds from a job's submission to its first lease."),
    ("jdq_job_run_seconds", "run", "Seconds from the first lease to the end of jobs that succeeded."),
    ("jdq_chunk_seconds", "chunk", "Seconds from a chunk's lease to its commit."),
)
# Gauge, the field of GpuUse, how many of these are one, help text.
_GPU_GAUGES = (
    ("jdq_gpu_utilization_ratio", "percent", 100, "Share of the time in which the GPU computed, for any process."),
    ("jdq_gpu_memory_used_bytes", "used", 1, "Memory of the GPU that all processes use."),
    ("jdq_gpu_memory_total_bytes", "total", 1, "Memory of the GPU."),
    ("jdq_gpu_power_watts", "power_w", 1, "Power that the GPU draws."),
)
# Why an attempt at a chunk ended without a commit; not `drain`, because stopping a worker is no failure.
_CAUSES = ("fault", "expired", "death", "error")


def open_jobs(groups: Iterable[OpenJobs]) -> Metric:
    """``jdq_jobs{kind, state}``."""
    numbers: Counter[tuple[str, str]] = Counter()
    for group in groups:
        numbers[group.kind, group.state] += group.jobs
    family = GaugeMetricFamily("jdq_jobs", "Jobs that have not ended, by kind and state.", labels=["kind", "state"])
    for (kind, state), number in sorted(numbers.items()):
        family.add_metric([kind, state], number)
    return family


def chunks_by_state(groups: Iterable[OpenJobs]) -> Metric:
    """``jdq_chunks{queue, state}`` of the jobs that have not ended: the states of `OpenJobs`."""
    states = ("pending", "leased", "delayed")
    numbers: Counter[tuple[str, str]] = Counter()
    numbers.update({(queue, state): 0 for queue in QUEUES for state in states})
    for group in groups:
        numbers.update({(group.queue, state): getattr(group, state) for state in states})
    family = GaugeMetricFamily("jdq_chunks", "Chunks of jobs that have not ended.", labels=["queue", "state"])
    for (queue, state), number in sorted(numbers.items()):
        family.add_metric([queue, state], number)
    return family


def totals(counts: Mapping[str, int]) -> Iterator[Metric]:
    """Counters and summaries of all that the ledger has counted."""
    for name, total, per_one, text in _TOTALS:
        yield CounterMetricFamily(name, text, value=counts.get(total, 0) / per_one)
    ended = CounterMetricFamily("jdq_jobs_ended", "Jobs that ended, by kind and state.", labels=["kind", "state"])
    # From 0 on, because Prometheus sees no increase in a series that begins with 1.
    known = {(spec.kind, state): 0 for spec in get_args(Spec) for state in ("succeeded", "failed", "cancelled")}
    for labels, number in (known | {(kind, state): n for (kind, state), n in _by_labels(counts, "ended")}).items():
        ended.add_metric(labels, number)
    yield ended
    failures = CounterMetricFamily(
        "jdq_chunk_failures", "Attempts at a chunk that ended without a commit, by cause.", labels=["cause"]
    )
    for cause in _CAUSES:
        failures.add_metric([cause], counts.get(f"attempts:{cause}", 0))
    yield failures
    for name, time, text in _TIMES:
        summary = SummaryMetricFamily(name, text, labels=["kind"])
        for (kind,), number in _by_labels(counts, time):
            summary.add_metric([kind], number, counts.get(f"{time}_ms:{kind}", 0) / 1000)
        yield summary


def _by_labels(counts: Mapping[str, int], total: str) -> Iterator[tuple[list[str], int]]:
    """The labels and the number of each of the ledger's totals of this name."""
    for name, number in sorted(counts.items()):
        first, *labels = name.split(":")
        if first == total:
            yield labels, number


def workers_by_state(workers: Iterable[Worker]) -> Metric:
    """``jdq_workers{queue, state}``; a queue without workers is 0, so that an alert can fire."""
    numbers: Counter[tuple[str, str]] = Counter()
    numbers.update({(queue, state): 0 for queue in QUEUES for state in ("idle", "busy", "sick", "dead")})
    numbers.update((worker.queue, worker.state) for worker in workers)
    family = GaugeMetricFamily("jdq_workers", "Workers, by queue and state.", labels=["queue", "state"])
    for (queue, state), number in sorted(numbers.items()):
        family.add_metric([queue, state], number)
    return family


def of_workers(workers: Iterable[Worker]) -> Iterator[Metric]:
    """What each worker is, how much it has computed, and how fast."""
    text = "Tokens per second of device time of the worker's last encoded chunk."
    speeds = GaugeMetricFamily("jdq_worker_tokens_per_second", text, labels=["worker"])
    texts = CounterMetricFamily("jdq_worker_texts", "Texts that the worker has computed.", labels=["worker"])
    tokens = CounterMetricFamily("jdq_worker_tokens", "Tokens that the worker has computed.", labels=["worker"])
    names = ("worker", "queue", "host", "device", "version", "protocol")
    info = GaugeMetricFamily("jdq_worker_info", "1 for each worker that is listed.", labels=names)
    for worker in workers:
        if worker.tokens_per_s is not None:
            speeds.add_metric([worker.name], worker.tokens_per_s)
        texts.add_metric([worker.name], worker.texts)
        tokens.add_metric([worker.name], worker.tokens)
        described = (worker.name, worker.queue, worker.host, worker.device, worker.version, str(worker.protocol))
        info.add_metric(described, 1)
    return iter((speeds, texts, tokens, info))


def of_gpus(workers: Iterable[Worker]) -> Iterator[Metric]:
    """How much of each leased GPU is used, as its worker last reported, and for which job."""
    live = [(worker, worker.gpu) for worker in workers if worker.gpu and worker.state != "dead"]
    for name, field, per_one, text in _GPU_GAUGES:
        yield _gpu_gauge(name, text, [(gpu, getattr(gpu, field) / per_one) for _, gpu in live if _has(gpu, field)])
    # Not `job`, because Prometheus sets that label itself.
    jobs = GaugeMetricFamily(
        "jdq_gpu_job_info",
        "1 for each leased GPU; job_id: what its worker works on.",
        labels=["uuid", "worker", "job_id"],
    )
    for worker, gpu in live:
        jobs.add_metric([gpu.uuid, worker.name, worker.job or ""], 1)
    yield jobs


def _has(gpu: GpuUse, field: str) -> bool:
    return getattr(gpu, field) is not None


def _gpu_gauge(name: str, text: str, values: Iterable[tuple[GpuUse, float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["uuid"])
    for gpu, value in values:
        family.add_metric([gpu.uuid], value)
    return family


def of_redis(info: Mapping[str, Any]) -> Iterator[Metric]:
    """The server's version and memory, from its INFO."""
    version = GaugeMetricFamily("jdq_redis_info", "1; version: of the Redis server.", labels=["version"])
    version.add_metric([str(info["redis_version"])], 1)
    yield version
    yield GaugeMetricFamily(
        "jdq_redis_memory_used_bytes", "Memory that the Redis server uses.", value=info["used_memory"]
    )
    text = "Memory beyond which it refuses jobs; 0: no limit."
    yield GaugeMetricFamily("jdq_redis_memory_max_bytes", text, value=info.get("maxmemory", 0))
