"""A worker that is stopped while Redis is away."""

import signal
from pathlib import Path

import psutil
import pytest

from tests.stack.conftest import Stack, computing
from tests.stack.test_queue import slow
from tests.waiting import until

SOON_S = 30.0  # Compose kills after 60 s


@pytest.mark.parametrize("busy", [True, False])
def test_a_worker_that_is_stopped_while_redis_is_away_ends_soon(stack: Stack, tmp_path: Path, busy: bool) -> None:
    stack.run("up")
    running = {worker["queue"]: psutil.Process(worker["pid"]) for worker in stack.json("workers")}
    if busy:
        slow(stack, tmp_path)
    children = computing(running["gpu"])
    supervisor = running["gpu"].parent()
    assert supervisor
    [server] = [child for child in supervisor.children() if "server" in child.name()]
    supervisor.suspend()  # it would start another server
    server.kill()
    running["gpu"].send_signal(signal.SIGTERM)
    until(lambda: running["gpu"].status() == psutil.STATUS_ZOMBIE, within_s=SOON_S)
    until(lambda: not any(child.is_running() for child in children), within_s=5)
    supervisor.resume()
