"""Gives worker processes under test an encoder with faults: words of a text say what goes wrong with it.

Python imports this module when it starts, in every process whose PYTHONPATH names this folder. `[kill]` in a text kills
the process that encodes it; `[slow]` takes SLOW_S. Only the `hash:` encoder is changed.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

SLOW_S = 0.02
BATCH_TEXTS = 10  # so that an encoder of slow texts hears five times per second when to stop


class FaultyLoader(SourceFileLoader):
    """Loads the encoder's module, and replaces what makes a text's feature."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        faulty: Any = module
        sound = faulty.hashed_feature

        def hashed_feature(text: str, dim: int) -> Any:
            if "[kill]" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "[slow]" in text:
                time.sleep(SLOW_S)
            return sound(text, dim)

        faulty.hashed_feature, faulty.BATCH_TEXTS = hashed_feature, BATCH_TEXTS


class FaultyFinder(MetaPathFinder):
    """Finds the encoder's module where it is, and has it loaded with faults."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "jdq.worker.encoder.hashing":
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = FaultyLoader(fullname, spec.origin)
        return spec


sys.meta_path.insert(0, FaultyFinder())
