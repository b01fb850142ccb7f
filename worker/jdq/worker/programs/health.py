"""Whether one worker is well: ``python -m jdq.worker.programs.health NAME``, for the health checks of containers.

Asks the ledger, not Celery: a worker whose process is busy for hours is seen there all the same.
"""

from __future__ import annotations

import sys

import click
import redis

from jdq.worker.config import ConfigError, read_config
from jdq.worker.queue.connection import BrokerUnreachable, checked, connect
from jdq.worker.queue.contract import JobState
from jdq.worker.queue.jobbook import JobBook


class NotWell(Exception):
    """The worker does not answer and is not known to be busy; the message says what is known."""


def health_of(name: str, jobbook: JobBook) -> str:
    """How the worker is, in words. Raises NotWell, redis.RedisError.

    Well is a worker whose presence is fresh, waiting for a GPU included, and one that holds a chunk's lease: it
    expires unless the process that works on the chunk beats for it.
    """
    worker = next((worker for worker in jobbook.workers() if worker.name == name), None)
    if worker and worker.state != "dead":
        return f"{worker.state} on {worker.job}" if worker.job else worker.state
    held = (job.id for job in jobbook.jobs() if job.state == JobState.RUNNING and name in job.workers)
    if job := next(held, None):
        return f"silent, but its chunk of {job} is worked on"
    if worker is None:
        raise NotWell(f"no worker {name} has said that it lives")
    raise NotWell(f"worker {name} has been silent since {worker.last_seen:.0f} (seconds since 1970)")


@click.command()
@click.argument("name")
def health(name: str) -> None:
    """Prints how the worker NAME is; exit code 1 when it is not well or the ledger does not answer."""
    try:
        config = read_config()
        click.echo(health_of(name, JobBook(checked(connect(config), config))))
    except (NotWell, ConfigError, BrokerUnreachable, redis.RedisError) as error:
        click.echo(f"jdq: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    health()
