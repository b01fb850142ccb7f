"""What the workers on this machine use: memory, processor and GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

from jdq.cli.client import BadRequest
from jdq.cli.output import size
from jdq.cli.programs import missing_packages

if TYPE_CHECKING:
    from jdq.worker.process.devices import Gpu
    from jdq.worker.queue.records import GpuUse, Worker


class Machine:
    """Measures the time between two calls, so the object must be kept."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._processes: dict[int, psutil.Process] = {}

    def use(self, workers: Iterable[Worker]) -> dict[str, str]:
        """By name, for the live workers of this host."""
        here = [worker for worker in workers if worker.host == self._host and worker.state != "dead"]
        measured = _by_uuid() if any(worker.device.startswith("cuda") for worker in here) else {}
        return {worker.name: text for worker in here if (text := self._use(worker, measured))}

    def _use(self, worker: Worker, gpus: dict[str, str]) -> str:
        parts = []
        with contextlib.suppress(psutil.Error):
            processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
            known = [self._processes.setdefault(process.pid, process) for process in processes]
            memory = sum(process.memory_info().rss for process in known)
            parts.append(f"{sum(process.cpu_percent() for process in known):.0f} % CPU, {size(memory)}")
        if worker.device.startswith("cuda"):
            parts.append(gpus.get(worker.device.split(" ")[-1], ""))  # it ends with the UUID of the leased one
        return ", ".join(filter(None, parts))


def gpus() -> list[tuple[Gpu, str]]:
    """The GPUs and slices of GPUs of this host, and how much of each is used; none without the workers' packages.

    Raises BadRequest if NVIDIA's driver does not answer.
    """
    if missing_packages(["pynvml"]):
        return []
    from jdq.worker.process import nvml

    try:
        return [(gpu, _text(nvml.use_of(gpu))) for gpu in nvml.gpus() or ()]
    except nvml.DriverFault as error:
        raise BadRequest(f"NVIDIA's driver does not answer: {error}") from None


def _text(use: GpuUse) -> str:
    percent = "" if use.percent is None else f"{use.percent} % GPU, "
    return f"{percent}{size(use.used or 0)} of {size(use.total or 0)}"


def _by_uuid() -> dict[str, str]:
    """The use of each GPU, as far as the driver answers."""
    with contextlib.suppress(BadRequest):
        return {gpu.uuid: text for gpu, text in gpus()}
    return {}
