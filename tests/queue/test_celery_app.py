"""Celery's settings: with others it loses tickets, runs work twice or restarts children for ever."""

from __future__ import annotations

import pytest
from celery import Celery

from jdq.worker.config import read_config
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.transport import Transport

URL = "redis+socket:///nonexistent/r.sock"


@pytest.fixture
def app() -> Celery:
    return celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": URL}))


def test_it_talks_to_the_configured_server_by_our_transport(app: Celery) -> None:
    assert app.main == "jdq"
    with app.connection() as connection:
        assert connection.as_uri() == URL
    for url in ("redis://h/0", "rediss://h/0"):
        with celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": url})).connection() as connection:
            assert connection.get_transport_cls() is Transport


def test_only_json_is_sent_and_accepted_and_no_result_is_kept(app: Celery) -> None:
    assert (app.conf.task_serializer, app.conf.accept_content) == ("json", ["json"])
    assert (app.conf.result_backend, app.conf.task_ignore_result) == (None, True)


def test_a_ticket_is_no_promise_of_work(app: Celery) -> None:
    """The ledger recovers work; Celery must neither repeat a ticket nor revoke the running task."""
    assert app.conf.task_acks_late is False
    assert app.conf.worker_cancel_long_running_tasks_on_connection_loss is False
    assert (app.conf.task_default_queue, app.conf.task_default_priority) == ("cpu", 5)
    assert app.conf.task_create_missing_queues is True


def test_a_worker_is_one_spawned_process_that_takes_one_ticket_at_a_time(app: Celery) -> None:
    assert (app.conf.worker_pool, app.conf.worker_pool_start_method) == ("prefork", "spawn")
    assert app.conf.worker_concurrency == 1
    assert (app.conf.worker_prefetch_multiplier, app.conf.worker_disable_prefetch) == (1, True)
    assert app.conf.worker_proc_alive_timeout == 120
    assert (app.conf.worker_send_task_events, app.conf.worker_hijack_root_logger) == (False, False)


def test_a_worker_waits_for_the_server_for_ever_and_notices_soon_that_it_is_away(app: Celery) -> None:
    assert app.conf.broker_connection_retry_on_startup is True
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_transport_options == {
        "visibility_timeout": 60,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 10,
        "socket_timeout": 15,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "queue_order_strategy": "priority",
    }
