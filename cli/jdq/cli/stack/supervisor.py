"""The supervisor: one background process that starts, restarts and stops the server and the workers.

Run as ``python -m jdq.cli.stack.supervisor --gpu-workers N --cpu-workers N`` by `jdq up`.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

import click
import redis
from kombu.exceptions import OperationalError

from jdq.cli.stack.child import Child
from jdq.cli.stack.errors import StackError
from jdq.cli.stack.server import find_server, prepare_socket, server_command
from jdq.cli.stack.state import Locked, ProcessId, StackState, living, make_private, read_state, stack_lock, write_state
from jdq.cli.stack.worker import worker_command
from jdq.store.store import open_store
from jdq.worker.config import Config, read_config
from jdq.worker.encoder.options import automatic_precision, device_kind
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.connection import connect
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.precision import settle_precision
from jdq.worker.queue.tickets import send_tickets

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0  # a worker releases its lease within a heartbeat and a batch
SERVER = "redis"


class Supervisor:
    """Starts, watches and stops the local stack."""

    def __init__(self, config: Config, *, gpu_workers: int, cpu_workers: int) -> None:
        self._config = config
        self._counts = {"gpu": gpu_workers, "cpu": cpu_workers}
        self._stopping = False
        self._leaving = False
        self._children: list[Child] = []
        self._released: set[int] = set()
        self._jobbook = JobBook(connect(config))
        self._app = celery_app(config)
        self._left = living(read_state(config.run_folder))
        self._taken_over: list[str] = []
        self._phase = "starting"
        self._written = True

    def run(self) -> None:
        """Runs until SIGTERM or SIGINT; SIGHUP leaves the children running, for the next supervisor."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._leave)
        try:
            self._start()
            self._write("ready", f"took over {', '.join(self._taken_over)}" if self._taken_over else "")
            while not self._stopping:
                self._watch_on()
                time.sleep(0.2)
        except (StackError, OSError) as error:
            self._end_children()
            self._write("failed", str(error))
        finally:
            if not self._leaving:
                self._end_children()

    def _leave(self, *_: object) -> None:
        """Ends without the children, which the next supervisor takes over."""
        self._leaving = self._stopping = True

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start(self) -> None:
        """Starts the server and the workers, except those that a dead supervisor left running."""
        server = self._add(SERVER, self._server_command())
        client = connect(self._config)
        self._await(lambda: _answers(client), server)
        began = time.time() - 1.0
        wanted = [(queue, number) for queue, count in self._counts.items() for number in range(1, count + 1)]
        workers = [
            self._add(f"{queue}-{number}", worker_command(queue, f"{queue}-{number}")) for queue, number in wanted
        ]
        self._end_left(*self._left)  # surplus workers
        for child in workers:
            if child.name not in self._taken_over:
                self._await(lambda child=child: _present(self._jobbook, child, began), child)
        if devices := [worker.device for worker in self._jobbook.workers() if worker.queue == "gpu"]:
            store = open_store(self._config.store)
            settle_precision(self._jobbook, store, automatic_precision(device_kind(devices)))

    def _server_command(self) -> list[str]:
        socket = Path(self._config.broker_url.removeprefix("redis+socket://"))
        program = find_server()
        data = self._config.home / program.family
        make_private(data)
        if not socket.exists():
            self._end_left(SERVER)  # nobody can connect to it any more; its data is in the append-only file
        if SERVER not in self._left:
            prepare_socket(socket)
        (self._config.run_folder / "socket").write_text(str(socket), encoding="utf-8")
        return server_command(program, data=data, socket=socket)

    def _add(self, name: str, command: list[str]) -> Child:
        environment = {**os.environ, "JDQ_HOME": str(self._config.home), "JDQ_STORE": str(self._config.store)}
        if name.startswith("gpu-"):
            # Workers on the CPU share its cores; more threads than cores would slow down all of them.
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // max(1, self._counts["gpu"]))))
        # The server's data is private. With whom workers share their store is up to the user.
        umask = 0o077 if name == SERVER else -1
        child = Child(name, command, self._config.logs / f"{name}.log", environment, umask=umask)
        if known := self._left.pop(name, None):
            child.adopt(known)
            self._taken_over.append(name)
        else:
            child.start()
        self._children.append(child)
        self._write(self._phase)
        return child

    def _end_left(self, *names: str) -> None:
        """Ends leftover processes that are not needed."""
        group = [Child(name, [], self._config.logs / f"{name}.log", {}) for name in names if name in self._left]
        for child in group:
            child.adopt(self._left.pop(child.name))
        self._end(group)

    def _await(self, ready: object, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._stopping and not ready():  # type: ignore[operator]
            if child.exited:
                raise StackError(f"{child.name} did not start; its log {child.log} ends:\n{child.last_lines()}")
            if time.monotonic() > deadline:
                raise StackError(f"{child.name} does not answer after {START_TIMEOUT_S:g} s; see its log {child.log}")
            time.sleep(0.1)

    def _watch_on(self) -> None:
        """Looks after the children. A full disk ends nothing: failed writes are repeated later."""
        try:
            self._watch()
            if not self._written:
                self._write(self._phase)
        except OSError as error:
            if self._written:
                # The log may be on the same disk.
                with suppress(OSError):
                    click.echo(f"supervisor: {error}; it continues, and will try again", err=True)
            self._written = False

    def _watch(self) -> None:
        for child in self._children:
            if not child.exited:
                continue
            ended = child.id
            if child.restart_when_due():
                self._write(self._phase)
            if ended and ended.pid not in self._released:
                self._released.add(ended.pid)
                self._release(child, "expired", child.exit_text)

    def _release(self, child: Child, what: Literal["drain", "expired"], reason: str) -> None:
        """Returns the chunks that an ended worker still holds, so that another can take them now."""
        pid = child.id.pid if child.id else None
        if child.name == SERVER or pid is None:
            return
        try:
            for worker in self._jobbook.workers():
                if worker.host == self._config.host and worker.pid == pid:
                    send_tickets(self._app, self._jobbook.end_worker(worker.name, what, reason), repair=True)
        except (redis.RedisError, OperationalError):
            return  # the lease expires

    def _end_children(self) -> None:
        """Ends the workers first, then the server: a worker releases its lease there."""
        self._end(self._children[1:])
        self._end(self._children[:1])
        self._children = []

    def _end(self, group: list[Child]) -> None:
        for child in group:
            child.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for child in group:
            child.end(deadline)
        for child in group:
            self._release(child, "drain", f"{child.name} was stopped")

    def _write(self, phase: str, message: str = "") -> None:
        self._phase = phase
        running = {child.name: child.id for child in self._children if child.id and not child.exited}
        write_state(
            self._config.run_folder,
            StackState(
                phase=phase,  # type: ignore[arg-type]
                message=message,
                gpu_workers=self._counts["gpu"],
                cpu_workers=self._counts["cpu"],
                supervisor=ProcessId.of(os.getpid()),
                children=self._left | running,
            ),
        )
        self._written = True


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def _present(jobbook: JobBook, child: Child, since: float) -> bool:
    """True once this start of the worker has registered with the ledger."""
    return any(
        worker.name.startswith(f"{child.name}@")
        and worker.started >= since
        and worker.state not in ("starting", "dead")
        for worker in jobbook.workers()
    )


@click.command()
@click.option("--gpu-workers", type=int, required=True, help="Number of workers of the gpu queue.")
@click.option("--cpu-workers", type=int, required=True, help="Number of workers of the cpu queue.")
def supervise(gpu_workers: int, cpu_workers: int) -> None:
    """Run the local stack until SIGTERM or SIGINT."""
    config = read_config()
    for folder in (config.run_folder, config.logs):
        make_private(folder)
    try:
        with stack_lock(config.run_folder, wait_s=2):
            Supervisor(config, gpu_workers=gpu_workers, cpu_workers=cpu_workers).run()
    except Locked:
        return  # another `jdq up` was faster


if __name__ == "__main__":
    supervise()
