"""Each gpu worker leases its own GPU; tested with a list of GPUs that the driver's tool prints."""

from __future__ import annotations

import os
from pathlib import Path

from tests.stack.conftest import FAULTY, Stack
from tests.waiting import until

UUIDS = ("GPU-aaaa", "GPU-bbbb")


def with_gpus(stack: Stack, folder: Path) -> Stack:
    """The stack on a host whose nvidia-smi lists two GPUs."""
    tool = folder / "nvidia-smi"
    tool.write_text("#!/bin/sh\n" + "".join(f"echo '{uuid}, NVIDIA Test'\n" for uuid in UUIDS))
    tool.chmod(0o755)
    settings = FAULTY | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "GPUS_ARE_LISTED": "1"}
    return Stack(stack.home, stack.settings | settings)


def test_workers_take_one_gpu_each_and_the_third_waits_for_one(stack: Stack, tmp_path: Path) -> None:
    host = with_gpus(stack, tmp_path)
    said = host.run("up", "--gpu-workers", "3", "--cpu-workers", "0").stderr
    assert "waits: all 2 GPUs are taken" in said
    workers = host.json("workers")
    assert sorted(w["state"] for w in workers) == ["idle", "idle", "waiting"]
    taken = {w["device"].split()[-1]: w for w in workers if w["state"] == "idle"}
    assert set(taken) == set(UUIDS)
    [waiting] = [w for w in workers if w["state"] == "waiting"]

    # The process that computes sees its own GPU and no other.
    for uuid, worker in taken.items():
        assert f"CUDA_VISIBLE_DEVICES={uuid}".encode() in children_environment(worker["pid"])

    stopped = taken["GPU-bbbb"]
    os.kill(stopped["pid"], 15)
    until(lambda: waiting["name"] in {w["name"] for w in host.json("workers") if w["state"] == "idle"})
    devices = [w["device"].split()[-1] for w in host.json("workers") if w["state"] == "idle"]
    assert len(devices) == len(set(devices))


def test_a_device_that_is_given_needs_no_lease(stack: Stack, tmp_path: Path) -> None:
    host = with_gpus(stack, tmp_path)
    forced = Stack(host.home, {**host.settings, "JDQ_DEVICE": "cpu"})
    forced.run("up", "--gpu-workers", "3", "--cpu-workers", "0")
    assert [w["device"] for w in forced.json("workers")] == ["cpu"] * 3


def children_environment(pid: int) -> bytes:
    """The environments of a process's descendants."""
    import psutil

    children = psutil.Process(pid).children(recursive=True)
    return b"\0".join(Path(f"/proc/{child.pid}/environ").read_bytes() for child in children)
