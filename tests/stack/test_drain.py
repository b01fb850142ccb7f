"""`jdq workers drain`: a worker finishes its chunk, takes no other, and stays so until it is resumed."""

import os
import signal
from pathlib import Path
from typing import Any

from tests.stack.conftest import Stack
from tests.stack.test_queue import slow
from tests.waiting import until


def gpu_worker(stack: Stack) -> dict[str, Any]:
    """The one that runs."""
    [worker] = [worker for worker in stack.json("workers") if worker["queue"] == "gpu" and worker["state"] != "dead"]
    return dict(worker)


def test_a_drained_worker_finishes_its_chunk_and_stays_drained_over_a_restart(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    name = gpu_worker(stack)["name"]
    job = slow(stack, tmp_path)
    stack.run("workers", "drain", name, "--wait")
    status = stack.json("status", job)
    assert (status["state"], status["attempts"]) == ("running", [])  # no chunk was interrupted
    assert gpu_worker(stack)["state"] == "drained"

    before = gpu_worker(stack)["pid"]
    os.kill(before, signal.SIGTERM)
    until(lambda: [w for w in stack.json("workers") if w["name"] == name and w["pid"] != before])
    until(lambda: gpu_worker(stack)["state"] == "drained")
    assert stack.json("status", job)["chunks_done"] == status["chunks_done"]

    stack.run("workers", "resume", "--host", gpu_worker(stack)["host"])
    stack.run("watch", job)
    assert stack.json("status", job)["state"] == "succeeded"

    host = name.partition("@")[2]
    assert "no worker nobody; there are: cpu-1@" in stack.run("workers", "drain", "nobody", code=2).stderr
    assert "no worker is on nowhere" in stack.run("workers", "drain", "--host", "nowhere", code=2).stderr
    assert "give names of workers, or --host, or --all" in stack.run("workers", "drain", code=2).stderr
    assert "give names" in stack.run("workers", "resume", "--all", "--host", "x", code=2).stderr
    assert f"drained: cpu-1@{host}, cpu-2@{host}, {name}" in stack.run("workers", "drain", "--all").stderr
    assert f", {name}" in stack.run("workers", "resume", "--all").stderr
    assert "none was drained" in stack.run("workers", "resume", name).stderr
