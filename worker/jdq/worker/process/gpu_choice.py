"""Which GPUs of this host a worker may lease, and which of them have enough memory free."""

from collections.abc import Callable, Iterable, Mapping

import psutil

from jdq.worker.config import Config
from jdq.worker.process.devices import Gpu
from jdq.worker.process.nvml import DriverFault, Memory, gpus, memory_of, use_of
from jdq.worker.process.readiness import NotReady, check_gpu_build, is_rocm_build
from jdq.worker.queue.records import GpuUse

GIB = 2**30
ON_THE_CPU = "\n  or, to compute on the CPU: JDQ_GPUS=none"


def usable_gpus(config: Config, environment: Mapping[str, str]) -> list[Gpu]:
    """The GPUs that a worker of the gpu queue may lease; none if it computes without a lease.

    Those of `JDQ_GPUS`, less those that `CUDA_VISIBLE_DEVICES` hides; the N-th of them for `JDQ_DEVICE=cuda:N`. Raises
    NotReady if a GPU is wanted, or NVIDIA's driver is installed, but none can be used.
    """
    if config.device == "cpu" or (config.device, config.gpus) == ("auto", "none"):
        return []
    try:
        present = gpus()
    except DriverFault as error:
        raise NotReady(f"NVIDIA's driver does not answer: {error}\n  try: nvidia-smi{ON_THE_CPU}") from None
    if present is None:
        if (config.device, config.gpus) == ("auto", "all") or is_rocm_build():
            return []
        raise NotReady(
            f"JDQ_DEVICE={config.device}, JDQ_GPUS={config.gpus}: this host has no NVIDIA driver{ON_THE_CPU}"
        )
    check_gpu_build()
    return _one_if_given(_visible(present, _chosen(present, config.gpus), environment), config.device)


def _chosen(present: list[Gpu], names: str) -> list[Gpu]:
    """The GPUs that `JDQ_GPUS` names."""
    if names == "all":
        return present
    chosen = []
    for name in () if names == "none" else names.split(","):
        if not (named := _named(present, name)):
            raise NotReady(f"JDQ_GPUS={names}: {name} matches no GPU or several; this host has: {_listed(present)}")
        chosen += named
    return chosen


def _named(present: list[Gpu], name: str) -> list[Gpu]:
    """What an index or a UUID, perhaps shortened, stands for: a GPU, a slice, or a card's slices; else nothing."""
    if name.isdigit():
        return [gpu for gpu in present if gpu.index == int(name)]
    matching = [gpu for gpu in present if name and gpu.uuid.startswith(name)]
    if len(matching) != 1:
        matching = [gpu for gpu in present if name and gpu.card.startswith(name)]
    return matching if len({gpu.card for gpu in matching}) == 1 else []


def _visible(present: list[Gpu], chosen: list[Gpu], environment: Mapping[str, str]) -> list[Gpu]:
    """Those of the chosen GPUs that `CUDA_VISIBLE_DEVICES` shows, in its order; all if it is not set."""
    value = environment.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        usable = list(dict.fromkeys(chosen))
    else:
        names = [name.strip() for name in value.split(",")]
        _check_order(present, names, environment)
        shown = dict.fromkeys(_until_unknown(_named(present, name) for name in names))
        usable = [gpu for gpu in shown if gpu in chosen]
    if not usable:
        hidden = "" if value is None else f" with CUDA_VISIBLE_DEVICES={value}"
        raise NotReady(f"jdq may use no GPU of this host{hidden}; it has: {_listed(present)}{ON_THE_CPU}")
    return usable


def _check_order(present: list[Gpu], names: list[str], environment: Mapping[str, str]) -> None:
    """Refuses indexes that may mean other cards to CUDA, which counts the fastest first, than to nvidia-smi."""
    if environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({gpu.name for gpu in present}) == 1:
        return
    if any(name.isdigit() for name in names):
        raise NotReady(
            "this host has different GPUs, which CUDA_VISIBLE_DEVICES counts in another order than nvidia-smi\n"
            "  try: CUDA_DEVICE_ORDER=PCI_BUS_ID, or UUIDs (nvidia-smi -L)"
        )


def _until_unknown(named: Iterable[list[Gpu]]) -> Iterable[Gpu]:
    """All GPUs before the first unknown name, because CUDA also ignores the names after it."""
    for gpus_of_name in named:
        if not gpus_of_name:
            return
        yield from gpus_of_name


def _one_if_given(usable: list[Gpu], device: str) -> list[Gpu]:
    _, _, number = device.partition(":")
    if not number:
        return usable
    if int(number) >= len(usable):
        raise NotReady(f"JDQ_DEVICE={device}: jdq may use {len(usable)} GPUs, from cuda:0 on: {_listed(usable)}")
    return [usable[int(number)]]


def _listed(present: list[Gpu]) -> str:
    return ", ".join(f"{gpu.index} {gpu.name} {gpu.uuid}" for gpu in present) or "none"


def reported_use(gpu: Gpu) -> GpuUse | None:
    """What a worker's heartbeat reports about its GPU; None if the driver does not answer."""
    try:
        return use_of(gpu)
    except DriverFault:
        return None


class MemoryLeft:
    """How much of a GPU's memory others leave to a worker, compared with `JDQ_GPU_MIN_FREE_GIB`."""

    def __init__(self, min_free_gib: float, *, own: Callable[[], set[int]] | None = None) -> None:
        """own: the pids of this worker."""
        self._min_free_gib = min_free_gib
        self._own = own or _own_processes

    def shortage(self, gpu: Gpu, *, held: bool) -> str:
        """Why the GPU must be left to others, or ''. held: this worker's own memory counts as free.

        In a container without `pid: host`, NVML reports none of this worker's pids, so nobody can tell whose memory it
        is, and a GPU that is held is kept.
        """
        if not self._min_free_gib:
            return ""
        try:
            memory = memory_of(gpu)
        except DriverFault as error:
            return f"GPU {gpu.uuid} does not answer: {error}"
        mine = self._mine(memory) if held else 0
        if mine is None or (free := (memory.free + mine) / GIB) >= self._min_free_gib:
            return ""
        return f"GPU {gpu.uuid}: others leave {free:.1f} GiB, JDQ_GPU_MIN_FREE_GIB is {self._min_free_gib:g}"

    def _mine(self, memory: Memory) -> int | None:
        own = self._own() & memory.by_process.keys()
        return sum(memory.by_process[pid] for pid in own) if own else None


def _own_processes() -> set[int]:
    worker = psutil.Process()
    return {worker.pid, *(child.pid for child in worker.children(recursive=True))}
