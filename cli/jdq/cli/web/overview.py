"""The first page: what runs now, the workers and their GPUs, and the queues over the last hour."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import redis

from jdq.cli.client import Client
from jdq.cli.jobs.overview import (
    WORKER_COLUMNS,
    Overview,
    Throughput,
    queue_text,
    worker_row,
)
from jdq.cli.output import size
from jdq.cli.web.jobs import table
from jdq.worker.queue.connection import BrokerUnreachable
from jdq.worker.queue.contract import QUEUES, Queue

if TYPE_CHECKING:
    from starlette.requests import Request

    from jdq.worker.queue.records import Worker

SAMPLE_S = 5.0
SAMPLES = 720
# The share of time that the observer may spend on counting the open jobs.
READING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values over the last hour. points: of an SVG polyline in a box of 100 x 100, the latest at the right."""

    title: str
    now: str
    most: str
    points: str


class Observer:
    """Reads the queues every few seconds, as long as the server runs, and remembers an hour."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._throughput = Throughput(SAMPLES)
        self._pending: dict[Queue, deque[float]] = {queue: deque(maxlen=SAMPLES) for queue in QUEUES}
        self._now: dict[Queue, str] = dict.fromkeys(QUEUES, "")
        self.problem = ""

    def start(self) -> None:
        """Starts observing in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and closes the connection."""
        self._stopped.set()
        self._thread.join()
        self._client.close()

    def charts(self) -> list[Chart]:
        """Pending chunks of each queue, and throughput."""
        depths = [chart(f"{queue} queue", self._now[queue], list(self._pending[queue])) for queue in QUEUES]
        rates = list(self._throughput.history)
        return [*depths, chart("Throughput", f"{rates[-1] if rates else 0:,.0f} tokens/s", rates)]

    def observe(self, at: float) -> None:
        """Reads once, at this moment in seconds. Raises BrokerUnreachable, RedisError."""
        jobbook = self._client.jobbook
        (groups, live_tokens), workers = jobbook.survey(), jobbook.workers()
        for queue, values in self._pending.items():
            mine = [group for group in groups if group.queue == queue]
            pending, leased = sum(of.pending + of.delayed for of in mine), sum(of.leased for of in mine)
            values.append(pending)
            self._now[queue] = queue_text(queue, pending, leased, workers)
        # Jobs that end between two readings are in the totals.
        self._throughput.add(at, jobbook.totals().get("tokens", 0) + live_tokens)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            began = time.monotonic()
            try:
                self.observe(began)
                self.problem = ""
            except (BrokerUnreachable, redis.RedisError) as error:
                self.problem = str(error)
            pause = max(SAMPLE_S, (time.monotonic() - began) / READING)


def chart(title: str, now: str, values: Sequence[float]) -> Chart:
    """The chart of these values, read every SAMPLE_S seconds."""
    most = max(values, default=0.0)
    right = 100 - 100 * (len(values) - 1) / (SAMPLES - 1)
    points = [
        f"{right + 100 * n / (SAMPLES - 1):.2f},{97 - 94 * value / (most or 1):.1f}" for n, value in enumerate(values)
    ]
    return Chart(title=title, now=now, most=f"{most:,.0f}", points=" ".join(points))


def overview(client: Client, request: Request) -> dict[str, Any]:
    """What the workers are doing, and the last hour."""
    observer: Observer = request.app.state.observer
    workers = client.jobbook.workers()
    running = client.jobbook.read(sorted({worker.job for worker in workers if worker.job}))
    known = Overview(jobs=running, workers=workers, use=_use(workers))
    return {
        "title": "Overview",
        **table(running),
        "problem": observer.problem,
        "charts": observer.charts(),
        "worker_columns": WORKER_COLUMNS,
        "workers": [(worker, worker_row(worker, known)) for worker in workers],
    }


def _use(workers: Iterable[Worker]) -> dict[str, str]:
    """How fast each worker was, and how its GPU is used, by its name."""
    return {worker.name: ", ".join(_parts(worker)) for worker in workers}


def _parts(worker: Worker) -> list[str]:
    parts = [] if worker.tokens_per_s is None else [f"{worker.tokens_per_s:,} tokens/s"]
    if gpu := worker.gpu:
        parts += [f"{gpu.percent} % GPU"] if gpu.percent is not None else []
        parts += [f"{size(gpu.used)} of {size(gpu.total)}"] if gpu.used is not None and gpu.total is not None else []
        parts += [f"{gpu.power_w:.0f} W"] if gpu.power_w is not None else []
    return parts
