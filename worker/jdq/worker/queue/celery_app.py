"""The settings of Celery, which carries the wake-up messages (tickets) and owns the processes."""

from typing import Any

from celery import Celery

from jdq.worker.config import Config
from jdq.worker.queue.transport import use_transport


def celery_app(config: Config) -> Celery:
    """A Celery app on the configured broker, with no tasks."""
    use_transport()
    app = Celery("jdq", broker=config.broker_url)
    app.conf.update(celery_settings())
    return app


def celery_settings() -> dict[str, Any]:
    """The settings of client and workers."""
    return {
        # Celery carries only tickets: recovery is up to the ledger.
        "task_acks_late": False,
        "task_default_queue": "cpu",
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        # One process per GPU; spawn, because neither CUDA nor OpenMP survives a fork.
        "worker_concurrency": 1,
        "worker_pool_start_method": "spawn",
        # A replacement child whose imports take longer than this is killed, again and again.
        "worker_proc_alive_timeout": 120,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": 60,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 10,
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
    }
