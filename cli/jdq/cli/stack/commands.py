"""`jdq up`, `down`, `workers`: the local stack, and the workers of any stack."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import WORKER
from jdq.cli.output import counted, json_option, moment, print_json, print_table, say
from jdq.worker.queue.exit_codes import plain

if TYPE_CHECKING:
    from jdq.worker.queue.records import Worker

COUNT = click.IntRange(min=0)


@click.command()
@click.option("--gpu-workers", type=COUNT, help="Number of workers of the gpu queue.  [default: 1, or unchanged]")
@click.option("--cpu-workers", type=COUNT, help="Number of workers of the cpu queue.  [default: 2, or unchanged]")
def up(gpu_workers: int | None, cpu_workers: int | None) -> None:
    """Start Redis and workers here, or change the number of workers.

    They run in the background and log to $JDQ_HOME/logs. On a running stack, a new number starts or stops
    workers; jobs continue. If only their supervisor died, `jdq up` starts another one, which takes over the processes
    that still run.
    Without a GPU, the workers of the gpu queue run on the CPU.
    """
    from jdq.cli.stack.control import bring_up

    client = Client()
    state, done = bring_up(client.config, gpu_workers=gpu_workers, cpu_workers=cpu_workers)
    if done == "started" and state.message:
        say(f"{state.message} from a supervisor that had died", err=True)
    workers = f"{counted(state.gpu_workers, 'gpu worker')}, {counted(state.cpu_workers, 'cpu worker')}"
    running = f"{workers}, logs in {client.config.logs}"
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


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def workers(context: click.Context, as_json: bool) -> None:
    """List the workers and their jobs; drain them.

    \b
    jdq workers
    jdq workers drain --host gpu-server-1 --wait
    """
    if context.invoked_subcommand is None:
        _list(as_json)


def _list(as_json: bool) -> None:
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
            say(f"{worker.name} is {worker.state}: {plain(worker.reason)}")
        if worker.protocol != PROTOCOL:
            say(f"{worker.name} has protocol {worker.protocol}, this jdq {PROTOCOL}; install the same jdq")
    if precision := jobbook.precision():
        say(f"precision auto: {precision}")


C = TypeVar("C", bound=Callable[..., object])


def _selection(command: C) -> C:
    """The names and options that say which workers."""
    command = click.option("--all", "every", is_flag=True, help="All workers.")(command)
    command = click.option("--host", help="The workers of this host, as `jdq workers` shows it.")(command)
    return click.argument("names", type=WORKER, nargs=-1, metavar="[NAME]...")(command)


@workers.command()
@_selection
@click.option("--wait", is_flag=True, help="Return when they have finished their chunks.")
def drain(names: tuple[str, ...], host: str | None, every: bool, wait: bool) -> None:
    """Have workers finish their chunks and take no others.

    They stay drained until `jdq workers resume`, even if they are restarted under the same name.
    """
    jobbook = Client().jobbook
    chosen = _chosen(jobbook.workers(), [], names, host, every)
    jobbook.drain(chosen)
    say(f"drained: {', '.join(chosen)}", err=True)
    while wait and any(worker.job for worker in jobbook.workers() if worker.name in chosen):
        time.sleep(0.5)


@workers.command()
@_selection
def resume(names: tuple[str, ...], host: str | None, every: bool) -> None:
    """Have drained workers take chunks again."""
    jobbook = Client().jobbook
    resumed = jobbook.resume(_chosen(jobbook.workers(), jobbook.drained(), names, host, every))
    say(f"resumed: {', '.join(resumed) or 'none was drained'}", err=True)


def _chosen(
    known: list[Worker], drained: list[str], names: tuple[str, ...], host: str | None, every: bool
) -> list[str]:
    """The names of the selected workers; drained ones need not be running. Raises BadRequest."""
    if bool(names) + (host is not None) + every != 1:
        raise BadRequest("give names of workers, or --host, or --all\n  try: jdq workers")
    there = {worker.name for worker in known} | set(drained)
    if missing := [name for name in names if name not in there]:
        raise BadRequest(f"no worker {missing[0]}; there are: {', '.join(sorted(there)) or 'none'}")
    on_host = {worker.name for worker in known if worker.host == host}
    chosen = list(names) or sorted(there if every else on_host)
    if not chosen:
        raise BadRequest(f"no worker {'runs' if every else f'is on {host}'}\n  try: jdq workers")
    return chosen


def _row(worker: Worker) -> list[str]:
    speed = "-" if worker.tokens_per_s is None else f"{worker.tokens_per_s:,}"
    of_process = [worker.name, worker.state, worker.queue, worker.device, worker.host, str(worker.pid), worker.version]
    return [*of_process, speed, worker.job or "-", moment(worker.last_seen)]
