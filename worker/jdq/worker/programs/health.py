"""Whether a worker is healthy: ``python -m jdq.worker.programs.health NAME``, for the health checks of containers.

Asks the ledger, not Celery, because a worker whose process is busy for hours still renews its lease there.
"""

import click

from jdq.worker.config import read_config
from jdq.worker.queue.connection import checked, connect
from jdq.worker.queue.exit_codes import ExitCode, exit_on_error
from jdq.worker.queue.jobbook import JobBook


class Unhealthy(Exception):
    """The worker is quarantined, or sends no heartbeat and holds no lease; the message says what is known."""


def health_of(name: str, jobbook: JobBook) -> str:
    """The worker's state, in words. Raises Unhealthy, redis.RedisError.

    A worker is healthy if it has a recent heartbeat, even while it waits for a GPU, or if it holds a chunk's lease,
    which expires unless the process that works on the chunk renews it.
    """
    worker = next((worker for worker in jobbook.workers() if worker.name == name), None)
    if worker and worker.state == "sick":
        raise Unhealthy(f"worker {name} is sick: {worker.reason}")
    if worker and worker.state != "dead":
        return f"{worker.state} on {worker.job}" if worker.job else worker.state
    leased = (job.id for job in jobbook.open_jobs() if name in job.workers)
    if job := next(leased, None):
        return f"silent, but it holds the lease of a chunk of {job}"
    if worker is None:
        raise Unhealthy(f"no worker {name} has registered")
    raise Unhealthy(f"worker {name} has been silent since {worker.last_seen:.0f} (seconds since 1970)")


@click.command()
@click.argument("name")
@exit_on_error({Unhealthy: ExitCode.FAILED})
def health(name: str) -> None:
    """Print the state of the worker NAME. Exit codes: 1 unhealthy, 2 wrong configuration, 3 no Redis."""
    config = read_config()
    click.echo(health_of(name, JobBook(checked(connect(config), config))))


if __name__ == "__main__":
    health()
