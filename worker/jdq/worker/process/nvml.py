"""The GPUs of this host, and who uses them, as NVIDIA's driver reports them (NVML), without using CUDA."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import pynvml

from jdq.worker.process.devices import Gpu
from jdq.worker.queue.records import GpuUse

T = TypeVar("T")


class DriverFault(Exception):
    """NVIDIA's driver is installed, but does not answer as it should; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of a GPU in bytes: how much is free, and how much each process uses, by pid."""

    free: int
    by_process: dict[int, int]


def gpus() -> list[Gpu] | None:
    """The devices that CUDA can compute on: GPUs, and the slices of GPUs in MIG mode. None without NVIDIA's driver.

    Raises DriverFault.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        return None
    except pynvml.NVMLError as error:
        raise DriverFault(str(error)) from None
    return _answer(lambda: [gpu for index in range(pynvml.nvmlDeviceGetCount()) for gpu in _of_card(index)])


def memory_of(gpu: Gpu) -> Memory:
    """Who uses a GPU's memory; call `gpus` before. Raises DriverFault."""

    def ask() -> Memory:
        device = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        free = pynvml.nvmlDeviceGetMemoryInfo(device).free
        return Memory(free=free, by_process={process.pid: process.usedGpuMemory or 0 for process in processes})

    return _answer(ask)


def use_of(gpu: Gpu) -> GpuUse:
    """How much of a GPU is used; the driver does not know a slice's percentage and power. Call `gpus` before. Raises
    DriverFault.
    """

    def ask() -> GpuUse:
        device = pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
        return GpuUse(
            uuid=gpu.uuid,
            percent=_known(lambda: int(pynvml.nvmlDeviceGetUtilizationRates(device).gpu)),
            used=memory.used,
            total=memory.total,
            power_w=_known(lambda: float(pynvml.nvmlDeviceGetPowerUsage(device) / 1000)),
        )

    return _answer(ask)


def _known(question: Callable[[], T]) -> T | None:
    """None if the driver does not know it for this device."""
    try:
        return question()
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument):
        return None


def _of_card(index: int) -> Iterator[Gpu]:
    """The card, or its slices: CUDA cannot compute on a whole card in MIG mode."""
    card = pynvml.nvmlDeviceGetHandleByIndex(index)
    for device in _slices(card) if _in_mig_mode(card) else [card]:
        yield Gpu(
            uuid=pynvml.nvmlDeviceGetUUID(device),
            name=pynvml.nvmlDeviceGetName(device),
            index=index,
            card=pynvml.nvmlDeviceGetUUID(card),
        )


def _in_mig_mode(card: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(card)
    except pynvml.NVMLError_NotSupported:
        return False
    return bool(current == pynvml.NVML_DEVICE_MIG_ENABLE)


def _slices(card: Any) -> Iterator[Any]:
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        try:
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card, number)
        except pynvml.NVMLError_NotFound:
            continue


def _answer(question: Callable[[], T]) -> T:
    try:
        return question()
    except pynvml.NVMLError as error:
        raise DriverFault(str(error)) from None
