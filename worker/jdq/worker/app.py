"""The Celery app of the workers: ``celery -A jdq.worker.app worker -Q gpu``.

The environment is read when this module is imported, because this is a worker's entry point.
"""

import os
import signal
from contextlib import suppress
from typing import Any

from celery import signals

from jdq.store.location import share_with_group
from jdq.worker.config import read_config
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.child_watch import Child, ChildWatch
from jdq.worker.process.devices import device_of, show_only
from jdq.worker.process.logs import WORKER_NAME, configure_logging, silence_other_lines
from jdq.worker.process.readiness import NotReady, check_readiness, check_server
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.worker_heartbeat import WorkerHeartbeat
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.contract import QUEUES

app = celery_app(read_config())
app.conf.include = ["jdq.worker.tasks"]

_heartbeats: list[WorkerHeartbeat] = []


@signals.celeryd_init.connect
def _name(sender: str, **_: Any) -> None:
    os.environ[WORKER_NAME] = sender
    _set_up_logging()  # Celery's first warnings come before it sets up logging itself


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(os.environ.get(WORKER_NAME, "-"), read_config().log_format)


@signals.worker_init.connect
def _register(sender: Any, **_: Any) -> None:
    """Runs before the pool starts: its process inherits the environment, and with it the GPU."""
    config = read_config()
    share_with_group(config.store)
    queues = [queue for queue in QUEUES if queue in sender.app.amqp.queues.consume_from]
    if len(queues) != 1:
        raise SystemExit(f"jdq: a worker serves one queue\n  try: -Q {' or -Q '.join(QUEUES)}")
    try:
        check_readiness(config)
        check_server(config)
        # Not at the top: Flower imports this module in an image without nvidia-ml-py.
        from jdq.worker.process.gpu_choice import MemoryLeft, reported_use, usable_gpus

        usable = usable_gpus(config, os.environ) if queues[0] == "gpu" else []
    except NotReady as error:
        raise SystemExit(f"jdq: {error}") from None
    runtime = Runtime(config, worker=sender.hostname, queue=queues[0])
    heartbeat = WorkerHeartbeat(runtime, device=device_of(config, queues[0]))
    heartbeat.start()
    Archiver(runtime).start()
    _heartbeats.append(heartbeat)
    if usable:
        show_only(heartbeat.lease_gpu(usable, MemoryLeft(config.gpu_min_free_gib).shortage, reported_use))
    if (device := device_of(config, queues[0])) != "cpu":
        heartbeat.test_device(device)


@signals.celeryd_after_setup.connect
def _log_only(**_: Any) -> None:
    silence_other_lines()


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    pool = sender.pool._pool
    # How long a dead process's ticket stays in the pool; billiard waits 10 s for a result, and there is none.
    pool.lost_worker_timeout = 0.1

    served = list(sender.app.amqp.queues.consume_from)

    def children() -> list[Child]:
        return list(pool._pool)

    def end_child(number: signal.Signals) -> None:
        for child in children():
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

    def take_tickets(wanted: bool) -> None:
        change = sender.add_task_queue if wanted else sender.cancel_task_queue
        for queue in served:
            sender.call_soon(change, queue)

    for heartbeat in _heartbeats:
        ChildWatch(children, heartbeat.child_died).start()
        heartbeat.ready(end_child, take_tickets)


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    for heartbeat in _heartbeats:
        heartbeat.stop()


@signals.worker_shutdown.connect
def _deregister(**_: Any) -> None:
    for heartbeat in _heartbeats:
        heartbeat.deregister()
