"""Prometheus metrics of jobs, chunks and workers: ``python -m jdq.worker.programs.prometheus_exporter``.

Needs ``jdq[monitoring]``.
Every scrape reads the ledger, so exporters have no state, and any number of them export the same numbers.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator

import click
import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jdq.worker.config import read_config
from jdq.worker.queue.connection import connect
from jdq.worker.queue.contract import QUEUES, JobState
from jdq.worker.queue.exit_codes import exit_on_error
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job, Worker

PORT = 9108

# Counter, the count of jobs that it sums, help text.
_COUNTERS = (
    ("jdq_texts_computed", "computed", "Texts whose features were computed."),
    ("jdq_texts_reused", "reused", "Texts whose features were in the store already."),
    ("jdq_texts_truncated", "truncated", "Texts that were truncated to the encoder's limit."),
    ("jdq_tokens_computed", "tokens", "Tokens that encoders have processed."),
)


class LedgerCollector(Collector):
    """Reads the ledger at each scrape; when it does not answer, the only metric is ``jdq_ledger_up`` 0."""

    def __init__(self, jobbook: JobBook) -> None:
        self._jobbook = jobbook

    def collect(self) -> Iterator[Metric]:
        try:
            jobs, workers = self._jobbook.jobs(), self._jobbook.workers()
        except redis.RedisError:
            yield _up(0)
            return
        yield _up(1)
        yield jobs_by_state(jobs)
        yield chunks_by_state(jobs)
        yield workers_by_state(workers)
        yield speeds(workers)
        yield from counts(jobs)


def jobs_by_state(jobs: Iterable[Job]) -> Metric:
    """``jdq_jobs{kind, state}``."""
    family = GaugeMetricFamily("jdq_jobs", "Jobs, by kind and state.", labels=["kind", "state"])
    for (kind, state), number in sorted(Counter((job.kind, str(job.state)) for job in jobs).items()):
        family.add_metric([kind, state], number)
    return family


def chunks_by_state(jobs: Iterable[Job]) -> Metric:
    """``jdq_chunks{queue, state}`` of the jobs that have not ended.

    pending: no worker has it, perhaps because its job waits for another; leased: a worker has it; delayed: it failed
    and is retried soon.
    """
    numbers: Counter[tuple[str, str]] = Counter()
    numbers.update({(queue, state): 0 for queue in QUEUES for state in ("pending", "leased", "delayed")})
    for job in jobs:
        if job.state in (JobState.QUEUED, JobState.RUNNING):
            taken = job.chunks_done + job.chunks_leased + job.chunks_delayed
            numbers[job.queue, "pending"] += max(0, job.chunks_total - taken)
            numbers[job.queue, "leased"] += job.chunks_leased
            numbers[job.queue, "delayed"] += job.chunks_delayed
    family = GaugeMetricFamily("jdq_chunks", "Chunks of jobs that have not ended.", labels=["queue", "state"])
    for (queue, state), number in sorted(numbers.items()):
        family.add_metric([queue, state], number)
    return family


def workers_by_state(workers: Iterable[Worker]) -> Metric:
    """``jdq_workers{queue, state}``; a queue without workers is 0, so that an alert can fire."""
    numbers: Counter[tuple[str, str]] = Counter()
    numbers.update({(queue, state): 0 for queue in QUEUES for state in ("idle", "busy", "sick", "dead")})
    numbers.update((worker.queue, worker.state) for worker in workers)
    family = GaugeMetricFamily("jdq_workers", "Workers, by queue and state.", labels=["queue", "state"])
    for (queue, state), number in sorted(numbers.items()):
        family.add_metric([queue, state], number)
    return family


def speeds(workers: Iterable[Worker]) -> Metric:
    """``jdq_worker_tokens_per_second{worker}`` of workers that have encoded texts: a slow one stands out."""
    text = "Tokens per second of device time of the worker's last encoded chunk."
    family = GaugeMetricFamily("jdq_worker_tokens_per_second", text, labels=["worker"])
    for worker in workers:
        if worker.tokens_per_s is not None:
            family.add_metric([worker.name], worker.tokens_per_s)
    return family


def counts(jobs: list[Job]) -> Iterator[Metric]:
    """Sums over the committed chunks of all jobs. Jobs are never deleted, so these only grow."""
    for name, count, text in _COUNTERS:
        yield CounterMetricFamily(name, text, value=sum(job.counts.get(count, 0) for job in jobs))


def _up(value: int) -> Metric:
    return GaugeMetricFamily("jdq_ledger_up", "1 when the ledger's Redis answers.", value=value)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port to listen on.")
@click.option("--address", default="0.0.0.0", show_default=True, help="Address to listen on.")
@exit_on_error()
def export(port: int, address: str) -> None:
    """Serve metrics for Prometheus at /metrics until SIGTERM or SIGINT."""
    jobbook = JobBook(connect(read_config()))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Its own registry: the default one would add this exporter's own memory and threads.
    registry = CollectorRegistry()
    registry.register(LedgerCollector(jobbook))
    start_http_server(port, address, registry)
    stop.wait()


if __name__ == "__main__":
    export()
