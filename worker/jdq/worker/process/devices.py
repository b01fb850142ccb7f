"""Which device a worker computes on."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass

from jdq.worker.config import Config
from jdq.worker.queue.contract import Queue

# Set in a worker's environment, and so in its children's, once it has leased a GPU.
LEASED = "JDQ_LEASED_GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU of this host, by the name that CUDA_VISIBLE_DEVICES takes."""

    uuid: str
    name: str


def gpus() -> list[Gpu]:
    """The NVIDIA GPUs of this host, without touching CUDA; empty if the driver's tool is absent or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=uuid,name", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(",", 1) for line in answer.splitlines() if "," in line]
    return [Gpu(uuid=uuid.strip(), name=name.strip()) for uuid, name in rows]


def device_of(config: Config, queue: Queue) -> str:
    """The torch device of a worker's queue: `JDQ_DEVICE` if set, its GPU if it leased one, else the CPU."""
    if queue == "cpu":
        return "cpu"
    if config.device != "auto":
        return config.device
    return "cuda" if os.environ.get(LEASED) else "cpu"


def show_only(gpu: Gpu) -> None:
    """Makes this GPU the only one visible to this process's children; call it before any of them touches CUDA."""
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu.uuid
    # Batches differ in size: memory that was freed in small segments would not fit the next large tensor.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    os.environ[LEASED] = gpu.uuid
