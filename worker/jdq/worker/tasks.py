"""The one Celery task: decode the ticket, take a turn."""

from __future__ import annotations

from typing import Any

from celery import Task, shared_task, signals

from jdq.worker.contract import Ticket, decode_ticket
from jdq.worker.jobs import work_for
from jdq.worker.logs import configure_logging
from jdq.worker.runtime import runtime
from jdq.worker.turn import Turn


@signals.worker_process_init.connect
def _set_up_logging(**_: Any) -> None:
    # A spawned process starts with Celery's own format, whatever its parent has.
    configure_logging()


@shared_task(name=Ticket.task, bind=True)
def work(self: Task, **message: Any) -> None:
    """Works on a job's chunks for one turn."""
    ticket = decode_ticket(message)
    mine = runtime(self.request.hostname, self.request.delivery_info["routing_key"])
    Turn(
        mine.ledger,
        ticket.job,
        work_for=lambda lease: work_for(lease, mine),
        send=mine.send,
        turn_s=mine.config.turn_s,
        beat_s=mine.config.beat_s,
    ).run()
