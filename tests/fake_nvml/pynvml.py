"""NVML on a host without a GPU: answers as nvidia-ml-py does, from the JSON file that FAKE_NVML names.

`{"error": "DriverNotLoaded"}`, or
`{"gpus": [{"uuid", "name", "free_gib", "percent", "milliwatts", "processes": {pid: GiB}, "slices"}]}`, where `slices`
lists the slices of a card in MIG mode, null for a slice that does not exist. It is read for each question.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NVML_DEVICE_MIG_ENABLE = 1
GIB = 2**30


class NVMLError(Exception):
    """What NVML answers instead."""


class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801 - the real name
    """No driver is installed."""


class NVMLError_DriverNotLoaded(NVMLError):  # noqa: N801
    """The driver's kernel module is not there."""


class NVMLError_NotSupported(NVMLError):  # noqa: N801
    """The card cannot do that."""


class NVMLError_InvalidArgument(NVMLError):  # noqa: N801
    """A slice has no such thing."""


class NVMLError_NotFound(NVMLError):  # noqa: N801
    """There is no such thing."""


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801
    """The card has fallen off the bus."""


@dataclass
class Memory:
    """Bytes."""

    free: int
    total: int = 80 * GIB

    @property
    def used(self) -> int:
        return self.total - self.free


@dataclass
class Utilization:
    """Percent of the time."""

    gpu: int


@dataclass
class Process:
    """A process that computes on a device."""

    pid: int
    usedGpuMemory: int | None  # noqa: N815


def _host() -> dict[str, Any]:
    if not (file := os.environ.get("FAKE_NVML")):
        raise NVMLError_LibraryNotFound("NVML Shared Library Not Found")
    host: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
    if error := host.get("error"):
        raise globals()[f"NVMLError_{error}"](error)
    return host


def nvmlInit() -> None:  # noqa: N802
    _host()


def nvmlDeviceGetCount() -> int:  # noqa: N802
    return len(_host()["gpus"])


def nvmlDeviceGetHandleByIndex(index: int) -> Any:  # noqa: N802
    return _host()["gpus"][index]


def nvmlDeviceGetHandleByUUID(uuid: str) -> Any:  # noqa: N802
    for card in _host()["gpus"]:
        for device in (card, *(card.get("slices") or ())):
            if device and device["uuid"] == uuid:
                return device
    raise NVMLError_NotFound("Not Found")


def nvmlDeviceGetUUID(handle: Any) -> str:  # noqa: N802
    return str(handle["uuid"])


def nvmlDeviceGetName(handle: Any) -> str:  # noqa: N802
    return str(handle["name"])


def nvmlDeviceGetMigMode(device: Any) -> list[int]:  # noqa: N802
    if "slices" not in device:
        raise NVMLError_NotSupported("Not Supported")
    mode = 0 if device["slices"] is None else NVML_DEVICE_MIG_ENABLE
    return [mode, mode]


def nvmlDeviceGetMaxMigDeviceCount(device: Any) -> int:  # noqa: N802
    return len(device["slices"])


def nvmlDeviceGetMigDeviceHandleByIndex(device: Any, index: int) -> Any:  # noqa: N802
    if device["slices"][index] is None:
        raise NVMLError_NotFound("Not Found")
    return device["slices"][index]


def nvmlDeviceGetMemoryInfo(handle: Any, version: Any = None) -> Memory:  # noqa: N802
    return Memory(int(handle.get("free_gib", 80) * GIB))


def nvmlDeviceGetUtilizationRates(handle: Any) -> Utilization:  # noqa: N802
    if handle["uuid"].startswith("MIG-"):
        raise NVMLError_InvalidArgument("Invalid Argument")
    return Utilization(handle.get("percent", 0))


def nvmlDeviceGetPowerUsage(handle: Any) -> int:  # noqa: N802
    if handle["uuid"].startswith("MIG-"):
        raise NVMLError_NotSupported("Not Supported")
    return int(handle.get("milliwatts", 0))


def nvmlDeviceGetComputeRunningProcesses(handle: Any) -> list[Process]:  # noqa: N802
    used = handle.get("processes", {})
    return [Process(int(pid), None if gib is None else int(gib * GIB)) for pid, gib in used.items()]
