"""`jdq up`, `down`, `workers`: the local stack, and the workers of any stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.output import json_option, moment, print_json, print_table, say
from jdq.worker.queue.exit_codes import plain

if TYPE_CHECKING:
    from jdq.worker.queue.records import Worker

COUNT = click.IntRange(min=0)


@click.command(short_help="Start Redis and workers on this machine.")
@click.option("--gpu-workers", type=COUNT, help="Number of workers of the gpu queue.  [default: 1, or as they run]")
@click.option("--cpu-workers", type=COUNT, help="Number of workers of the cpu queue.  [default: 1, or as they run]")
def up(gpu_workers: int | None, cpu_workers: int | None) -> None:
    """Start Redis and workers on this machine, or change the number of workers.

    They run in the background and log to $JDQ_HOME/logs. While they run, other numbers start or stop workers; jobs
    continue. If only their supervisor died, `jdq up` starts another one, which takes over the processes that still run.
    Without a GPU, the workers of the gpu queue run on the CPU.
    """
    from jdq.cli.stack.control import bring_up

    client = Client()
    state, done = bring_up(client.config, gpu_workers=gpu_workers, cpu_workers=cpu_workers)
    if done == "started" and state.message:
        say(f"{state.message}, which the supervisor that ended had left running", err=True)
    running = f"{state.gpu_workers} gpu and {state.cpu_workers} cpu workers, logs in {client.config.logs}"
    say(f"{'already running' if done == 'running' else 'up'}: {running}", err=True)
    for worker in client.jobbook.workers():
        if worker.queue == "gpu" and worker.device == "cpu":
            say(f"{worker.name}: no GPU on this machine; it runs on the CPU", err=True)
        elif worker.state == "sick":
            say(f"{worker.name} takes no work: {worker.reason or ''}", err=True)
        elif worker.state == "waiting":
            say(f"{worker.name} {worker.device}", err=True)


@click.command()
def down() -> None:
    """Stop what `jdq up` started.

    Jobs and features are kept.
    """
    from jdq.cli.stack.control import bring_down

    stopped = bring_down(Client().config)
    say("down" if stopped else "nothing was running", err=True)


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the workers and their jobs."""
    from dataclasses import asdict

    from jdq.worker.queue.contract import PROTOCOL

    jobbook = Client().jobbook
    known = jobbook.workers()
    if as_json:
        print_json([asdict(worker) for worker in known])
        return
    columns = ["worker", "state", "queue", "device", "host", "pid", "version", "tokens/s", "job", "last seen"]
    print_table(columns, [_row(worker) for worker in known])
    for worker in known:
        if worker.reason is not None:
            say(f"{worker.name} is sick: {plain(worker.reason)}")
        if worker.protocol != PROTOCOL:
            say(f"{worker.name} has protocol {worker.protocol}, this jdq {PROTOCOL}; install the same jdq")
    if precision := jobbook.precision():
        say(f"precision auto: {precision}")


def _row(worker: Worker) -> list[str]:
    speed = "-" if worker.tokens_per_s is None else f"{worker.tokens_per_s:,}"
    of_process = [worker.name, worker.state, worker.queue, worker.device, worker.host, str(worker.pid), worker.version]
    return [*of_process, speed, worker.job or "-", moment(worker.last_seen)]
