"""Starting and stopping the local stack from a command."""

import contextlib
import signal
import subprocess
import sys
import time
from typing import Literal

import psutil
import redis

from jdq.cli.stack.errors import StackError
from jdq.cli.stack.state import (
    ProcessId,
    StackState,
    is_locked,
    living,
    make_private,
    one_at_a_time,
    private_file,
    read_state,
    write_state,
)
from jdq.cli.stack.supervisor import SERVER, START_TIMEOUT_S, STOP_TIMEOUT_S
from jdq.worker.config import Config
from jdq.worker.queue.connection import connect
from jdq.worker.queue.jobbook import JobBook

GPU_WORKERS, CPU_WORKERS = 1, 2  # so that the plan of an extraction need not wait for a head


def bring_up(
    config: Config, *, gpu_workers: int | None = None, cpu_workers: int | None = None
) -> tuple[StackState, Literal["started", "scaled", "running"]]:
    """Starts the stack, or changes the number of its workers, and waits until every worker has registered.

    None is the default, or as many as are running. Raises StackError with the reason when it does not start.
    """
    if not config.embedded:
        raise StackError(
            "JDQ_BROKER_URL is set, so jobs go to that Redis and there is no local stack to start\n"
            "  try: celery -A jdq.worker.app worker -Q gpu    (and one with -Q cpu), or unset JDQ_BROKER_URL"
        )
    config.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (config.run_folder, config.logs):
        make_private(folder)  # before the lock and the log, which are in it
    wanted = (
        GPU_WORKERS if gpu_workers is None else gpu_workers,
        CPU_WORKERS if cpu_workers is None else cpu_workers,
    )
    with one_at_a_time(config.run_folder):
        process = None if is_locked(config.run_folder) else _start(config, *wanted)
    state = _await_ready(config, process)
    if process is not None:
        return state, "started"
    running = (state.gpu_workers, state.cpu_workers)
    wanted = (running[0] if gpu_workers is None else gpu_workers, running[1] if cpu_workers is None else cpu_workers)
    if wanted == running:
        return state, "running"
    with one_at_a_time(config.run_folder):
        return _await_ready(config, _replaced(config, state, *wanted)), "scaled"


def _replaced(config: Config, state: StackState, gpu_workers: int, cpu_workers: int) -> subprocess.Popen[bytes]:
    """Starts another supervisor, which takes over the running workers and starts or ends others."""
    if supervisor := state.supervisor.process():
        supervisor.send_signal(signal.SIGHUP)
        psutil.wait_procs([supervisor], timeout=STOP_TIMEOUT_S)
    return _start(config, gpu_workers, cpu_workers)


def _start(config: Config, gpu_workers: int, cpu_workers: int) -> subprocess.Popen[bytes]:
    """Starts the supervisor, which takes over what a dead one left; waits until it holds the lock or has ended."""
    left = living(read_state(config.run_folder))
    with open(config.logs / "supervisor.log", "ab", opener=private_file) as log:
        counts = ["--gpu-workers", str(gpu_workers), "--cpu-workers", str(cpu_workers)]
        process = subprocess.Popen(
            [sys.executable, "-m", "jdq.cli.stack.supervisor", *counts],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    # From here on `jdq down` finds it, even if this command is interrupted.
    supervisor = ProcessId.of(process.pid)
    starting = StackState(
        phase="starting", gpu_workers=gpu_workers, cpu_workers=cpu_workers, supervisor=supervisor, children=left
    )
    write_state(config.run_folder, starting)
    while process.poll() is None and not is_locked(config.run_folder):
        time.sleep(0.05)
    return process


def bring_down(config: Config) -> bool:
    """Stops the stack and waits until none of its processes is left; False if nothing was running."""
    state = read_state(config.run_folder)
    supervisor = state.supervisor.process() if state else None
    if supervisor:
        supervisor.terminate()
        psutil.wait_procs([supervisor], timeout=3 * STOP_TIMEOUT_S)
    leftovers = _end_leftovers(config)
    (config.run_folder / "socket").unlink(missing_ok=True)
    (config.run_folder / "stack.json").unlink(missing_ok=True)
    return bool(supervisor) or leftovers


def _await_ready(config: Config, process: subprocess.Popen[bytes] | None = None) -> StackState:
    deadline = time.monotonic() + 2 * START_TIMEOUT_S
    while time.monotonic() < deadline:
        state = read_state(config.run_folder)
        if state and state.phase == "ready":
            return state
        if state and state.phase == "failed":
            raise StackError(f"the stack did not start: {state.message}")
        if process and process.poll() is not None and not is_locked(config.run_folder):
            raise StackError(f"the supervisor ended immediately; see {config.logs / 'supervisor.log'}")
        time.sleep(0.05)
    raise StackError(f"the stack did not become ready; see {config.logs}\n  try: jdq down, then jdq up")


def _end_leftovers(config: Config) -> bool:
    """Ends the processes that a killed supervisor left behind; True if there were any.

    Workers get SIGTERM first, so that they release their chunks; those of a worker that must be killed are released.
    """
    state = read_state(config.run_folder)
    if state is None:
        return False
    workers = [known.process() for name, known in state.children.items() if name != SERVER]
    running = [process for process in workers if process]
    for worker in running:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.terminate()
    _, stubborn = psutil.wait_procs(running, timeout=STOP_TIMEOUT_S)
    # A worker's children first, because they could not be found after their parent's death.
    _kill([child for worker in stubborn for child in worker.children(recursive=True)] + stubborn)
    _release(config, [worker.pid for worker in stubborn])
    left = [process for known in (state.supervisor, *state.children.values()) if (process := known.process())]
    _kill(left)
    return bool(stubborn or left)


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)


def _release(config: Config, pids: list[int]) -> None:
    """Returns the chunks of workers that were killed, if the server still runs."""
    jobbook = JobBook(connect(config))
    with contextlib.suppress(redis.RedisError):
        for worker in jobbook.workers() if pids else ():
            if worker.host == config.host and worker.pid in pids:
                jobbook.end_worker(worker.name, "drain", "jdq down")
