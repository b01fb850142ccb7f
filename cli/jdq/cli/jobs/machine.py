"""What the workers on this machine take of it: memory, processor and GPU."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

from jdq.cli.output import size

if TYPE_CHECKING:
    from jdq.worker.queue.records import Worker

QUERY = "--query-gpu=index,utilization.gpu,memory.used,memory.total"


class Machine:
    """Measures between two calls, so it is kept."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._processes: dict[int, psutil.Process] = {}

    def use(self, workers: Iterable[Worker]) -> dict[str, str]:
        """By name, for the living workers of this host."""
        here = [worker for worker in workers if worker.host == self._host and worker.state != "dead"]
        measured = gpus() if any(worker.device.startswith("cuda") for worker in here) else {}
        return {worker.name: text for worker in here if (text := self._use(worker, measured))}

    def _use(self, worker: Worker, gpus: dict[str, str]) -> str:
        parts = []
        with contextlib.suppress(psutil.Error):
            processes = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
            known = [self._processes.setdefault(process.pid, process) for process in processes]
            memory = sum(process.memory_info().rss for process in known)
            parts.append(f"{sum(process.cpu_percent() for process in known):.0f} % CPU, {size(memory)}")
        if worker.device.startswith("cuda"):
            parts.append(gpus.get(worker.device.partition(":")[2].split(" ")[0] or "0", ""))
        return ", ".join(filter(None, parts))


def gpus() -> dict[str, str]:
    """By index: use and memory, as nvidia-smi reports them; none where it is not installed or does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    try:
        command = [program, QUERY, "--format=csv,noheader,nounits"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(map(_gpu, answer.splitlines()))


def _gpu(line: str) -> tuple[str, str]:
    index, use, used, total = (part.strip() for part in line.split(","))
    return index, f"{use} % GPU, {used} of {total} MiB"
