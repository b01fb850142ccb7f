"""Prometheus metrics of jobs, chunks and workers: ``python -m jdq.worker.programs.prometheus_exporter``.

Needs ``jdq[monitoring]``.
Every scrape reads the ledger, so exporters have no state, and any number of them export the same numbers. It counts the
jobs that have not ended, and reads what the ledger has counted of the others.
"""

import signal
import threading
from collections.abc import Iterator
from importlib.metadata import version

import click
import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jdq.worker.config import read_config
from jdq.worker.programs import metrics
from jdq.worker.programs.store_sizes import StoreSizes
from jdq.worker.queue.connection import connect
from jdq.worker.queue.exit_codes import exit_on_error
from jdq.worker.queue.jobbook import JobBook

PORT = 9108


class LedgerCollector(Collector):
    """Reads the ledger at each scrape; without an answer, there are only ``jdq_info`` and ``jdq_ledger_up`` 0."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._jobbook = JobBook(client)

    def collect(self) -> Iterator[Metric]:
        yield _version()
        try:
            (groups, _), workers = self._jobbook.survey(), self._jobbook.workers()
            totals, server = self._jobbook.totals(), self._client.info()
        except redis.RedisError:
            yield _up(0)
            return
        yield _up(1)
        yield metrics.open_jobs(groups)
        yield metrics.chunks_by_state(groups)
        yield metrics.workers_by_state(workers)
        yield from metrics.totals(totals)
        yield from metrics.of_workers(workers)
        yield from metrics.of_gpus(workers)
        yield from metrics.of_redis(server)


def _version() -> Metric:
    family = GaugeMetricFamily("jdq_info", "1; version: of the exporter's jdq.", labels=["version"])
    family.add_metric([version("jdq")], 1)
    return family


def _up(value: int) -> Metric:
    return GaugeMetricFamily("jdq_ledger_up", "1 when the ledger's Redis answers.", value=value)


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="Port to listen on.")
@click.option("--address", default="0.0.0.0", show_default=True, help="Address to listen on.")
@exit_on_error()
def export(port: int, address: str) -> None:
    """Serve metrics for Prometheus at /metrics until SIGTERM or SIGINT."""
    config = read_config()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    # Its own registry: the default one would add this exporter's own memory and threads.
    registry = CollectorRegistry()
    registry.register(LedgerCollector(connect(config)))
    sizes = StoreSizes(config.store)
    registry.register(sizes)
    sizes.start()
    start_http_server(port, address, registry)
    stop.wait()


if __name__ == "__main__":
    export()
