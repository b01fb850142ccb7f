"""Gives worker processes under test an encoder with faults: words of a text, or a file, say what goes wrong with it.

Python imports this module when it starts, in every process whose PYTHONPATH names this folder. `[kill]` in a text kills
the process that encodes it; `[slow]` takes SLOW_S. While the file `$JDQ_HOME/sick/<worker>` exists, that worker is sick
as the file says: `raises`, `nan`, `slow`, `hangs`, or `locks`. Only the `hash:` encoder is changed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

SLOW_S = 0.02
BATCH_TEXTS = 10  # so that an encoder of slow texts hears five times per second when to stop


def sickness() -> str:
    """What the file of this process's worker says; '' where there is none."""
    try:
        return Path(os.environ["JDQ_HOME"], "sick", os.environ["JDQ_WORKER_NAME"]).read_text(encoding="utf-8")
    except (OSError, KeyError):
        return ""


def suffer(text: str) -> bool:
    """Does what the text and the sickness ask for; whether the feature is to be NaN."""
    sick = sickness()
    if "[kill]" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if sick == "raises":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if sick == "hangs":
        time.sleep(3600)
    if sick == "locks":
        ctypes.PyDLL(None).sleep(3600)  # with Python's lock held: no thread of this process runs
    if "[slow]" in text:
        time.sleep(SLOW_S * (10 if sick == "slow" else 1))
    return sick == "nan"


class FaultyLoader(SourceFileLoader):
    """Loads the encoder's module, and replaces what makes a text's feature."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        faulty: Any = module
        sound = faulty.hashed_feature
        encode = faulty.HashEncoder.encode

        def hashed_feature(text: str, dim: int) -> Any:
            return sound(text, dim) * (float("nan") if suffer(text) else 1)

        def encode_and_check(self: Any, tokens: Any, **options: Any) -> Any:
            from jdq.worker.encoder.errors import NotFiniteFeatures

            rows = encode(self, tokens, **options)
            if positions := [n for n, row in enumerate(rows) if row[0] != row[0]]:
                raise NotFiniteFeatures(positions, "float32")
            return rows

        faulty.hashed_feature, faulty.BATCH_TEXTS = hashed_feature, BATCH_TEXTS
        faulty.HashEncoder.encode = encode_and_check


class ListedGpuLoader(SourceFileLoader):
    """Loads a module whose checks of GPUs pass, for hosts whose GPUs are only listed."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).update(check_gpu_build=lambda: None, check_device=lambda device: None)


def loader_of(fullname: str) -> type[SourceFileLoader] | None:
    """The loader that changes this module here, if any."""
    if fullname == "jdq.worker.encoder.hashing":
        return FaultyLoader
    checks = ("jdq.worker.process.readiness", "jdq.worker.encoder.self_test")
    if fullname in checks and os.environ.get("GPUS_ARE_LISTED"):
        return ListedGpuLoader
    return None


class FaultyFinder(MetaPathFinder):
    """Finds a module where it is, and has it loaded with changes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loader = loader_of(fullname)
        if loader is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = loader(fullname, spec.origin)
        return spec


sys.meta_path.insert(0, FaultyFinder())
