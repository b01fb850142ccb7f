"""The device on which this process computes if it is not a worker."""

from jdq.worker.config import Config
from jdq.worker.process.nvml import DriverFault, gpus


def local_device(config: Config) -> str:
    """The configured device, else a GPU that PyTorch can use, else the CPU."""
    if config.device != "auto":
        return config.device
    try:
        if config.gpus == "none" or not gpus():
            return "cpu"
    except DriverFault:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
