"""`jdq worker`: one worker in the foreground, and the options of Celery that every worker has."""

import os
import sys

import click

from jdq.worker.config import read_config
from jdq.worker.queue.contract import QUEUES


def worker_command(queue: str, name: str, *, task_events: bool = False) -> list[str]:
    """The command line of a worker. name: `NAME`, to which Celery adds the host, or `NAME@HOST`."""
    full = name if "@" in name else f"{name}@%h"
    options = ["-Q", queue, "-n", full, "--without-gossip", "--without-mingle", "--loglevel", "INFO"]
    events = ["-E"] if task_events else []
    return [sys.executable, "-m", "celery", "--quiet", "-A", "jdq.worker.app", "worker", *options, *events]


@click.command()
@click.argument("queue", type=click.Choice(QUEUES))
@click.option("--name", help="Name of the worker, unique on its host; NAME@HOST to name both.  [default: QUEUE-PID]")
@click.option(
    "--task-events", is_flag=True, envvar="JDQ_TASK_EVENTS", help="Send events for Flower's list of tasks; slower."
)
def worker(queue: str, name: str | None, task_events: bool) -> None:
    """Run one worker of QUEUE in the foreground.

    For systemd, Slurm, Apptainer or podman; `jdq up` starts this machine's workers by itself. It needs JDQ_BROKER_URL
    and JDQ_STORE, unless `jdq up` runs here, and logs to stderr. On SIGTERM it returns its chunks to the queue, after
    saving the checkpoint of a fine-tune, and ends.

    \b
    jdq worker gpu --name gpu-1
    """
    read_config()  # in Celery, a wrong setting would be the last line of a traceback
    command = worker_command(queue, name or f"{queue}-{os.getpid()}", task_events=task_events)
    os.execv(command[0], command)
