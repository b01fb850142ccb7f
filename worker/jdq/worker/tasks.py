"""The only Celery task: decode the wake-up message (ticket) and work on its job."""

import os
import signal
from contextlib import suppress
from typing import Any

import redis
from celery import Task, shared_task, signals

from jdq.worker.config import read_config
from jdq.worker.jobs import work_for
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.devices import device_of
from jdq.worker.process.logs import WORKER_NAME, configure_logging, stream_job_lines
from jdq.worker.process.runtime import runtime
from jdq.worker.process.worker_heartbeat import STOP_SIGNAL
from jdq.worker.queue.connection import connect
from jdq.worker.queue.contract import Ticket, decode_ticket
from jdq.worker.queue.ledger import clear_busy


@signals.worker_process_init.connect
def _begin(**_: Any) -> None:
    """A spawned process starts with Celery's own log format, and may replace one that died while it worked."""
    config = read_config()
    worker = os.environ.get(WORKER_NAME, "-")
    configure_logging(worker, config.log_format)
    client = connect(config)
    stream_job_lines(worker, client)
    with suppress(redis.RedisError):
        clear_busy(client, worker)


@shared_task(name=Ticket.task, bind=True)
def work(self: Task, **message: Any) -> None:
    """Works on a job's chunks for one time slice."""
    ticket = decode_ticket(message)
    mine = runtime(self.request.hostname, self.request.delivery_info["routing_key"])
    loop = ChunkLoop(
        mine.ledger,
        ticket.job,
        work_for=lambda lease: work_for(lease, mine),
        send=mine.send,
        time_slice_s=mine.config.time_slice_s,
        heartbeat_s=mine.config.heartbeat_s,
        stall_s=mine.config.stall_s,
        on_cpu=device_of(mine.config, mine.queue) == "cpu",
    )

    def stop(*_: object) -> None:
        mine.end()
        loop.stop()

    signal.signal(STOP_SIGNAL, stop)
    loop.run()
