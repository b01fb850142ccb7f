"""Tickets and the transport that carries them."""

import base64
import json
import logging

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from jdq.worker.config import read_config
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.contract import Ticket
from jdq.worker.queue.scripts import TicketOrder
from jdq.worker.queue.tickets import send_tickets
from tests.queue.dropping_proxy import DroppingProxy
from tests.redis_server import RedisServer


@pytest.fixture
def app(server: RedisServer, client: redis.Redis) -> Celery:
    """Celery on the tests' server, which is empty."""
    return celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": server.url}))


def lists(client: redis.Redis) -> dict[str, int]:
    """The lengths of kombu's lists: one per queue and step of priorities."""
    names = [str(name) for name in client.keys("*pu*") if client.type(name) == "list"]
    return {name.replace("\x06\x16", ":"): int(client.llen(name)) for name in names}


def test_each_ordered_ticket_is_put_on_its_queue_by_its_priority(app: Celery, client: redis.Redis) -> None:
    orders = [
        TicketOrder(job="a", queue="gpu", count=3, priority=7),
        TicketOrder(job="b", queue="cpu", count=1, priority=3),
    ]
    with app:
        send_tickets(app, orders)
    assert lists(client) == {"gpu:6": 3, "cpu:3": 1}


def test_repairs_go_before_all_others(app: Celery, client: redis.Redis) -> None:
    with app:
        send_tickets(app, [TicketOrder(job="a", queue="gpu", count=2, priority=7)], repair=True)
    assert lists(client) == {"gpu": 2}


def test_a_ticket_names_its_job_and_task_and_expects_no_result(app: Celery, client: redis.Redis) -> None:
    with app:
        send_tickets(app, [TicketOrder(job="a", queue="cpu", count=1, priority=0)])
    message = json.loads(client.lindex("cpu", 0) or "")
    assert message["headers"]["task"] == Ticket.task
    assert message["headers"]["ignore_result"] is True
    assert "'job': 'a'" in message["headers"]["kwargsrepr"]


def job_names(client: redis.Redis, queue: str) -> list[str]:
    """The jobs of the queue's messages, the oldest first."""
    bodies = [base64.b64decode(json.loads(text)["body"]) for text in client.lrange(queue, 0, -1)]
    return [json.loads(body)[1]["job"] for body in reversed(bodies)]


ORDERS = [TicketOrder(job=f"job-{n}", queue="cpu", count=1, priority=0) for n in range(1200)]


def test_thousands_of_tickets_are_sent_in_order_by_the_hundred(app: Celery, client: redis.Redis) -> None:
    before = client.info("stats")["total_reads_processed"]
    with app:
        send_tickets(app, ORDERS)
    assert client.info("stats")["total_reads_processed"] - before < 300  # of 16 KiB at most
    assert job_names(client, "cpu") == [order.job for order in ORDERS]


def test_tickets_whose_batch_was_lost_are_sent_again(proxy: DroppingProxy, client: redis.Redis) -> None:
    app = celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": f"redis+socket://{proxy.path}"}))
    proxy.command, proxy.drops = b"LPUSH", 2
    with app:
        send_tickets(app, ORDERS[:3])
    assert proxy.drops == 0
    assert set(job_names(client, "cpu")) == {"job-0", "job-1", "job-2"}


def test_a_server_that_is_away_is_an_error_of_kombu(app: Celery, client: redis.Redis) -> None:
    away = celery_app(read_config({"JDQ_HOME": "/nonexistent", "JDQ_BROKER_URL": "redis+socket:///nonexistent/r.sock"}))
    with away, pytest.raises(OperationalError):
        send_tickets(away, ORDERS[:1])


def test_an_entry_that_is_no_message_is_dropped_and_the_next_one_is_read(
    app: Celery, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.rpush("cpu", "garbage", "[]", "{}")
    got = []
    with app, app.connection() as connection, caplog.at_level(logging.ERROR):
        consumer = connection.Consumer(
            [app.amqp.queues.select_add("cpu")], callbacks=[lambda body, _: got.append(body)]
        )
        with consumer:
            for _ in range(3):
                connection.drain_events(timeout=5)
            send_tickets(app, [TicketOrder(job="a", queue="cpu", count=1, priority=0)])
            while not got:
                connection.drain_events(timeout=5)
    assert got[0][1] == {"job": "a"}
    dropped = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert len(dropped) == 3
    assert "dropped an entry of a queue that is not a message: KeyError: 'properties'" in dropped


def test_a_channel_whose_connection_broke_says_so(app: Celery) -> None:
    """kombu reaches for it once more while it connects again, and repeats only what looks like a broken connection."""
    with app, app.connection() as connection:
        channel = connection.default_channel
        channel.close()
        with pytest.raises(redis.ConnectionError, match=r"^the connection of the channel is closed$"):
            channel.queue_declare("cpu")
