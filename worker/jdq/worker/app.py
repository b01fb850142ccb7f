"""The Celery app of the workers: ``celery -A jdq.worker.app worker -Q gpu``.

The environment is read when this module is imported, which is a worker's entry.
"""

from __future__ import annotations

import os
from typing import Any

from celery import signals

from jdq.worker.config import read_config
from jdq.worker.process.devices import device_of, gpus, show_only
from jdq.worker.process.logs import WORKER_NAME, configure_logging
from jdq.worker.process.readiness import NotReady, check_readiness
from jdq.worker.process.runtime import Runtime
from jdq.worker.process.worker_heartbeat import Presence
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.contract import QUEUES

app = celery_app(read_config())
app.conf.include = ["jdq.worker.tasks"]

_presence: list[Presence] = []


@signals.celeryd_init.connect
def _name(sender: str, **_: Any) -> None:
    os.environ[WORKER_NAME] = sender


@signals.setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    configure_logging(os.environ.get(WORKER_NAME, "-"), read_config().log_format)


@signals.worker_init.connect
def _arrive(sender: Any, **_: Any) -> None:
    """Before the pool starts: its process inherits the environment, and with it the GPU."""
    config = read_config()
    queues = [queue for queue in QUEUES if queue in sender.app.amqp.queues.consume_from]
    if len(queues) != 1:
        raise SystemExit(f"jdq: a worker serves one queue\n  try: -Q {' or -Q '.join(QUEUES)}")
    try:
        check_readiness(config)
    except NotReady as error:
        raise SystemExit(f"jdq: {error}") from None
    runtime = Runtime(config, worker=sender.hostname, queue=queues[0])
    presence = Presence(runtime, device=device_of(config, queues[0]))
    presence.start()
    _presence.append(presence)
    if queues[0] == "gpu" and config.device == "auto" and (found := gpus()):
        show_only(presence.take_gpu(found))


@signals.worker_ready.connect
def _begin(**_: Any) -> None:
    for presence in _presence:
        presence.ready()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    for presence in _presence:
        presence.stop()


@signals.worker_shutdown.connect
def _leave(**_: Any) -> None:
    for presence in _presence:
        presence.leave()
