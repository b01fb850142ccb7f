"""Sends wake-up messages (tickets) over Celery."""

from collections.abc import Iterable
from itertools import islice

import msgspec
from celery import Celery
from kombu import Producer
from kombu.exceptions import BatchPublishError

from jdq.worker.queue.contract import Ticket
from jdq.worker.queue.scripts import TicketOrder

REPAIR_PRIORITY = 0
BATCH = 500  # tickets per round trip, because the end of a job may release thousands of others


def send_tickets(app: Celery, orders: Iterable[TicketOrder], *, repair: bool = False) -> None:
    """Puts the ordered tickets on their queues, repairs before all others. Raises kombu's OperationalError."""
    tickets = (order for order in orders for _ in range(order.count))
    with app.producer_or_acquire() as producer:
        while some := list(islice(tickets, BATCH)):
            try:
                with producer.batch(BATCH):
                    _send(app, producer, some, repair)
            except BatchPublishError:
                _send(app, producer, some, repair)  # tickets that had been sent only wake a worker in vain


def _send(app: Celery, producer: Producer, orders: list[TicketOrder], repair: bool) -> None:
    """One ticket for each of the orders."""
    for order in orders:
        app.send_task(
            Ticket.task,
            kwargs=msgspec.to_builtins(Ticket(job=order.job)),
            queue=order.queue,
            priority=REPAIR_PRIORITY if repair else order.priority,
            ignore_result=True,
            producer=producer,
            declare=[],  # sending to a queue needs no declaration of it
        )
