"""`jdq up`, `down`, `workers`: the local stack and whoever works."""

from __future__ import annotations

import click

from jdq.cli.client import Client
from jdq.cli.output import clock, json_option, print_json, print_table


@click.command()
@click.option(
    "--gpu-workers", type=click.IntRange(min=0), default=1, show_default=True, help="Workers of the gpu queue."
)
@click.option(
    "--cpu-workers", type=click.IntRange(min=0), default=1, show_default=True, help="Workers of the cpu queue."
)
def up(gpu_workers: int, cpu_workers: int) -> None:
    """Start Redis and workers on this machine, in the background.

    Logs are in $JDQ_HOME/logs. A second `up` changes nothing. Without a GPU the gpu queue is served on the CPU.
    """
    from jdq.cli.stack.control import bring_up

    client = Client()
    state, started = bring_up(client.config, gpu_workers=gpu_workers, cpu_workers=cpu_workers)
    running = f"{state.gpu_workers} gpu and {state.cpu_workers} cpu workers, logs in {client.config.logs}"
    click.echo(f"up: {running}" if started else f"it runs already: {running}", err=True)
    if not started and (state.gpu_workers, state.cpu_workers) != (gpu_workers, cpu_workers):
        click.echo("to change the number of workers: jdq down, then jdq up", err=True)
    for worker in client.jobbook.workers():
        if worker.queue == "gpu" and worker.device == "cpu":
            click.echo(f"{worker.name}: no GPU here, the gpu queue is served on the CPU", err=True)
        elif worker.state == "waiting":
            click.echo(f"{worker.name} {worker.device}", err=True)


@click.command()
def down() -> None:
    """Stop what `jdq up` started; jobs and features stay."""
    from jdq.cli.stack.control import bring_down

    stopped = bring_down(Client().config)
    click.echo("down" if stopped else "nothing was running", err=True)


@click.command()
@json_option
def workers(as_json: bool) -> None:
    """List the workers, and what each works on."""
    from dataclasses import asdict

    found = Client().jobbook.workers()
    if as_json:
        print_json([asdict(worker) for worker in found])
        return
    rows = [[w.name, w.state, w.queue, w.device, w.host, str(w.pid), w.job or "-", clock(w.last_seen)] for w in found]
    print_table(["worker", "state", "queue", "device", "host", "pid", "job", "last seen"], rows)


COMMANDS = (up, down, workers)
