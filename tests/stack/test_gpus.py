"""Each gpu worker leases its own GPU; tested with a fake NVML, which lists GPUs that do not exist."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fake_nvml.host import FOLDER, card, mig_card, write_host
from tests.stack.conftest import Stack
from tests.stack.test_queue import submitted
from tests.waiting import until

UUIDS = ("GPU-aaaaaaaa-0000", "GPU-bbbbbbbb-0000")


def with_gpus(stack: Stack, folder: Path, gpus: Sequence[dict[str, Any]], **settings: str) -> Stack:
    """The stack on a host with these GPUs."""
    listed = {"FAKE_NVML": str(write_host(folder / "nvml.json", gpus)), "GPUS_ARE_LISTED": "sound"}
    path = {"PYTHONPATH": os.pathsep.join([stack.settings["PYTHONPATH"], str(FOLDER)])}
    return Stack(stack.home, stack.settings | path | listed | settings)


def gpu_states(host: Stack) -> dict[str, str]:
    """State by the last word of the device."""
    return {worker["device"].split()[-1]: worker["state"] for worker in host.json("workers")}


def test_workers_take_one_gpu_each_and_the_third_waits_for_one(stack: Stack, tmp_path: Path) -> None:
    host = with_gpus(stack, tmp_path, [card("a"), card("b")])
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

    stopped = taken[UUIDS[1]]
    os.kill(stopped["pid"], 15)
    until(lambda: waiting["name"] in {w["name"] for w in host.json("workers") if w["state"] == "idle"})
    devices = [w["device"].split()[-1] for w in host.json("workers") if w["state"] == "idle"]
    assert len(devices) == len(set(devices))


def test_a_device_that_is_given_needs_no_lease(stack: Stack, tmp_path: Path) -> None:
    host = with_gpus(stack, tmp_path, [card("a"), card("b")])
    forced = Stack(host.home, {**host.settings, "JDQ_DEVICE": "cpu"})
    forced.run("up", "--gpu-workers", "3", "--cpu-workers", "0")
    assert [w["device"] for w in forced.json("workers")] == ["cpu"] * 3


def test_each_slice_of_a_card_serves_a_worker_and_a_device_by_number_is_leased_too(
    stack: Stack, tmp_path: Path
) -> None:
    host = with_gpus(stack, tmp_path, [mig_card("a", 2)], JDQ_DEVICE="cuda:1")
    said = host.run("up", "--gpu-workers", "2", "--cpu-workers", "0").stderr
    assert "waits: all 1 GPUs are taken" in said
    [leased] = [worker for worker in host.json("workers") if worker["state"] == "idle"]
    assert leased["device"] == "cuda NVIDIA H100 MIG 1g.10gb MIG-aaaaaaaa-1"
    host.run("down")
    both = Stack(host.home, host.settings | {"JDQ_DEVICE": "auto"})
    both.run("up", "--gpu-workers", "2", "--cpu-workers", "0")
    assert gpu_states(both) == {"MIG-aaaaaaaa-0": "idle", "MIG-aaaaaaaa-1": "idle"}


def test_a_gpu_is_given_up_at_the_next_chunk_when_a_stranger_comes(stack: Stack, tmp_path: Path) -> None:
    free, stranger = card("a", free_gib=80), card("b", free_gib=10, processes={"1": 70})
    host = with_gpus(stack, tmp_path, [free, stranger], JDQ_GPU_MIN_FREE_GIB="40")
    host.run("up", "--gpu-workers", "1", "--cpu-workers", "1")
    assert gpu_states(host)[UUIDS[0]] == "idle"
    [worker] = [each for each in host.json("workers") if each["queue"] == "gpu"]
    job = submitted(host, tmp_path, "table", [f"[slow] text {n}" for n in range(1500)])
    until(lambda: host.json("status", job)["chunks_done"] > 1)
    # What the worker's own process computes with is its own; somebody else's is not.
    write_host(tmp_path / "nvml.json", [card("a", free_gib=10, processes={worker["pid"]: 5, "1": 65}), card("b")])
    until(lambda: gpu_states(host).get(UUIDS[1]) in ("idle", "busy"))
    assert "others leave 15.0 GiB, JDQ_GPU_MIN_FREE_GIB is 40" in (host.home / "logs" / "gpu-1.log").read_text()
    host.run("watch", job)
    assert host.json("status", job)["attempts"] == []  # each chunk that it held was finished


def test_a_gpu_installation_whose_driver_fails_says_so_and_does_not_start(stack: Stack, tmp_path: Path) -> None:
    host = with_gpus(stack, tmp_path, [])
    write_host(tmp_path / "nvml.json", error="DriverNotLoaded")
    said = host.run("up", code=3).stderr
    assert "NVIDIA's driver does not answer: DriverNotLoaded" in said
    assert "to compute on the CPU: JDQ_GPUS=none" in said
    Stack(host.home, host.settings | {"JDQ_GPUS": "none"}).run("up", "--cpu-workers", "0")


def children_environment(pid: int) -> bytes:
    """The environments of a process's descendants."""
    import psutil

    children = psutil.Process(pid).children(recursive=True)
    return b"\0".join(Path(f"/proc/{child.pid}/environ").read_bytes() for child in children)
