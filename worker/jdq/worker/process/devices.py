"""Which device a worker computes on."""

import os
from dataclasses import dataclass

from jdq.worker.config import Config
from jdq.worker.queue.contract import Queue

# Set in a worker's environment, and thus in its children's, once it has leased a GPU.
LEASED = "JDQ_LEASED_GPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU or a MIG slice, by the name that CUDA_VISIBLE_DEVICES takes.

    index: the card's, as nvidia-smi counts. card: the card's UUID, which is not that of its slices.
    """

    uuid: str
    name: str
    index: int
    card: str


def device_of(config: Config, queue: Queue) -> str:
    """The torch device of a worker's queue: the GPU that it leased, else `JDQ_DEVICE` if set, else the CPU."""
    if queue == "cpu":
        return "cpu"
    if os.environ.get(LEASED):
        return "cuda"  # the only one that this process sees
    return "cpu" if config.device == "auto" else config.device


def show_only(gpu: Gpu) -> None:
    """Makes this GPU the only one visible to this process's children; call it before any of them uses CUDA."""
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu.uuid
    # Batches differ in size: memory that was freed in small segments would not fit the next large tensor.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    os.environ[LEASED] = gpu.uuid
