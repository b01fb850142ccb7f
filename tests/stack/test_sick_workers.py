"""A worker whose device does not compute, beside a good one: it takes nothing, says why, and comes back by itself."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fake_nvml.host import card
from tests.stack.conftest import SHORT, Stack, computing, gpu_workers_of, stack_in
from tests.stack.test_gpus import with_gpus
from tests.stack.test_queue import submitted
from tests.waiting import until

WORKER = [sys.executable, "-m", "celery", "-A", "jdq.worker.app", "worker", "-Q", "gpu", "-n", "good@%h"]


@pytest.fixture(scope="module")
def sick_stack() -> Iterator[Stack]:
    """A stack whose gpu worker has leased a GPU that does not exist."""
    pytest.importorskip("torch")
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        stack = stack_in(folder, **SHORT)
        cuda = with_gpus(stack, Path(folder), [card("a")], GPUS_ARE_LISTED="but do not compute")
        assert "takes no work: self-test: cuda does not compute" in cuda.run("up").stderr
        yield stack
        stack.run("down")


@pytest.fixture(scope="module")
def good(sick_stack: Stack) -> Iterator[psutil.Process]:
    """A gpu worker on the CPU, beside the stack's own."""
    environment = sick_stack.environment | {"JDQ_DEVICE": "cpu"}
    with subprocess.Popen(WORKER, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until(lambda: worker(sick_stack, "good")["state"] == "idle")
        yield psutil.Process(process.pid)
        process.terminate()


def worker(stack: Stack, name: str) -> dict[str, str]:
    found = [each for each in stack.json("workers") if each["name"].startswith(f"{name}@")]
    return found[0] if found else {"state": "none"}


def test_a_worker_whose_device_does_not_compute_takes_nothing_and_looks_sick(
    sick_stack: Stack, good: psutil.Process, tmp_path: Path
) -> None:
    sick = worker(sick_stack, "gpu-1")
    assert sick["state"] == "sick"
    assert "gpu-1" in sick_stack.run("workers").stdout
    health = [sys.executable, "-m", "jdq.worker.programs.health", sick["name"]]
    assert subprocess.run(health, env=sick_stack.environment, capture_output=True, check=False).returncode == 1
    job = submitted(sick_stack, tmp_path, "table", [f"text {n}" for n in range(500)])
    sick_stack.run("watch", job)
    assert sick_stack.json("status", job)["attempts"] == []
    lines = sick_stack.run("logs", job).stdout
    assert "good@" in lines
    assert "gpu-1@" not in lines


def test_a_quarantined_worker_whose_device_computes_comes_back_with_a_fresh_process(
    sick_stack: Stack, good: psutil.Process, tmp_path: Path
) -> None:
    [child] = computing(good)
    script = (
        "from jdq.worker.process.runtime import Runtime; from jdq.worker.config import read_config; import sys; "
        "Runtime(read_config(), worker=sys.argv[1], queue='gpu').ledger.quarantine('for a test')"
    )
    name = worker(sick_stack, "good")["name"]
    subprocess.run([sys.executable, "-c", script, name], env=sick_stack.environment, check=True)
    assert worker(sick_stack, "good")["state"] == "sick"
    until(lambda: worker(sick_stack, "good")["state"] == "idle")
    until(lambda: not child.is_running())
    job = submitted(sick_stack, tmp_path, "other", [f"other {n}" for n in range(500)])
    sick_stack.run("watch", job)


@pytest.mark.parametrize("victim", ["child", "worker"])
def test_the_chunk_of_a_killed_process_is_taken_again_within_seconds(stack: Stack, tmp_path: Path, victim: str) -> None:
    long = Stack(stack.home, stack.settings | {"JDQ_LEASE_S": "60", "JDQ_HEARTBEAT_S": "2", "JDQ_RECLAIM_S": "5"})
    long.run("up", "--gpu-workers", "2")
    job = submitted(long, tmp_path, "table", [f"text {n} [slow]" for n in range(500)])
    [name, *_] = gpu_workers_of(long, job)
    [holder] = [each for each in long.json("workers") if each["name"] == name]
    process = psutil.Process(int(holder["pid"]))
    if victim == "child":
        [process] = computing(process)
    os.kill(process.pid, signal.SIGKILL)
    found = until(lambda: long.json("status", job)["attempts"], within_s=10, why="the death is known")
    assert "SIGKILL" in found[0]["reason"]
    long.run("watch", job)
    assert long.json("status", job)["wall_s"] < 50


@pytest.mark.parametrize("sickness", ["hangs", "locks"])
def test_a_worker_that_hangs_is_quarantined_and_its_chunk_done_by_another(
    stack: Stack, tmp_path: Path, sickness: str
) -> None:
    hasty = Stack(stack.home, stack.settings | {"JDQ_STALL_S": "4"})
    hasty.run("up", "--gpu-workers", "2")
    name = worker(hasty, "gpu-1")["name"]
    (stack.home / "sick").mkdir()
    (stack.home / "sick" / name).write_text(sickness, encoding="utf-8")
    job = submitted(hasty, tmp_path, "table", [f"text {n} [slow]" for n in range(500)])
    found = until(lambda: hasty.json("status", job)["attempts"], within_s=30, why="the hanging chunk is given up")
    assert found[0]["worker"] == name
    until(lambda: worker(hasty, "gpu-1")["state"] == "sick", within_s=30, why="the worker is quarantined")
    (stack.home / "sick" / name).unlink()
    hasty.run("watch", job)
    until(lambda: worker(hasty, "gpu-1")["state"] == "idle", within_s=40, why="it is sound again")


def test_a_cancel_frees_a_worker_within_seconds_also_where_its_work_cannot_look(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    name = worker(stack, "gpu-1")["name"]
    (stack.home / "sick").mkdir()
    (stack.home / "sick" / name).write_text("hangs", encoding="utf-8")
    job = submitted(stack, tmp_path, "table", [f"text {n}" for n in range(500)])
    until((stack.home / "sick" / "hanging").exists)
    (stack.home / "sick" / name).unlink()
    stack.run("cancel", job)
    other = submitted(stack, tmp_path, "other", [f"another text {n}" for n in range(50)])
    until(lambda: stack.json("status", other)["state"] == "succeeded", within_s=25)
    assert worker(stack, "gpu-1")["state"] == "idle"


def test_down_releases_a_chunk_whose_work_cannot_look(stack: Stack, tmp_path: Path) -> None:
    stack.run("up")
    name = worker(stack, "gpu-1")["name"]
    (stack.home / "sick").mkdir()
    (stack.home / "sick" / name).write_text("hangs", encoding="utf-8")
    job = submitted(stack, tmp_path, "table", [f"text {n}" for n in range(500)])
    until((stack.home / "sick" / "hanging").exists)
    stack.run("down")
    (stack.home / "sick" / name).unlink()
    stack.run("up")
    stack.run("watch", job)
    attempts = stack.json("status", job)["attempts"]
    assert {attempt["what"] for attempt in attempts} == {"drain"}
    assert "the work did not stop" in attempts[0]["reason"]
