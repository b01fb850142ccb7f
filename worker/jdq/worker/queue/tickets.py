"""Sends wake-up messages (tickets) over Celery."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from celery import Celery

from jdq.worker.queue.contract import Ticket
from jdq.worker.queue.scripts import TicketOrder

REPAIR_PRIORITY = 0


def send_tickets(app: Celery, orders: Iterable[TicketOrder], *, repair: bool = False) -> None:
    """Puts the ordered tickets on their queues, repairs before all others. Raises kombu's OperationalError."""
    for order in orders:
        message = msgspec.to_builtins(Ticket(job=order.job))
        for _ in range(order.count):
            app.send_task(
                Ticket.task,
                kwargs=message,
                queue=order.queue,
                priority=REPAIR_PRIORITY if repair else order.priority,
                ignore_result=True,
            )
