"""Gives worker processes under test an encoder with faults: words of a text, or a file, say what goes wrong with it.

Python imports this module when it starts, in every process whose PYTHONPATH names this folder. `[kill]` in a text
kills the process that encodes it; `[slow]` takes SLOW_S. While the file `$JDQ_HOME/sick/<worker>` exists, that worker
is sick as the file says: `raises`, `nan`, `slow`, `hangs` (and then `hanging` is in that folder), `locks`, or `flips`
(one bit, from the next canary texts on). Only the `hash:` encoder is changed. While `$JDQ_HOME/sick/replies` exists,
one reply of Redis in twenty is lost. With `FINE_TUNES_SLEEP`, a fine-tune is STEPS short sleeps, each a checkpoint.
The clock of the scripts is wrong by the milliseconds in the key `test:clock-offset`.
"""

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

SLOW_S = 0.02
LOST_REPLIES = 0.05
STEPS, STEP_S = 400, 0.1
BATCH_TEXTS = 10  # so that an encoder of slow texts hears five times per second when to stop


flips = False  # the worker's last canary texts were encoded with a flipped bit


def sickness() -> str:
    """What the file of this process's worker says; '' where there is none."""
    try:
        return Path(os.environ["JDQ_HOME"], "sick", os.environ["JDQ_WORKER_NAME"]).read_text(encoding="utf-8")
    except (OSError, KeyError):
        return ""


def suffer(text: str, canaries: Sequence[str]) -> None:
    """Does what the text and the sickness ask for."""
    global flips
    sick = sickness()
    if text in canaries:
        flips = sick == "flips"
    if "[kill]" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    if sick == "raises":
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if sick == "hangs":
        Path(os.environ["JDQ_HOME"], "sick", "hanging").touch()
        time.sleep(3600)
    if sick == "locks":
        ctypes.PyDLL(None).sleep(3600)  # with Python's lock held: no thread of this process runs
    if "[slow]" in text:
        time.sleep(SLOW_S * (10 if sick == "slow" else 1))


def damaged(feature: Any) -> Any:
    """The feature as a sick worker computes it."""
    if sickness() == "nan":
        return feature * float("nan")
    if flips:
        feature[0] = int(feature[0]) ^ 128
    return feature


class FaultyLoader(SourceFileLoader):
    """Loads the encoder's module, and replaces what makes a text's feature."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        faulty: Any = module
        sound = faulty.hashed_feature
        encode = faulty.HashEncoder.encode

        def hashed_feature(text: str, dim: int) -> Any:
            from jdq.worker.jobs.canary import TEXTS

            suffer(text, TEXTS)
            return damaged(sound(text, dim))

        def encode_and_check(self: Any, tokens: Any, **options: Any) -> Any:
            from jdq.worker.encoder.errors import NotFiniteFeatures

            rows = encode(self, tokens, **options)
            if positions := [n for n, row in enumerate(rows) if row[0] != row[0]]:
                raise NotFiniteFeatures(positions, "float32")
            return rows

        faulty.hashed_feature, faulty.BATCH_TEXTS = hashed_feature, BATCH_TEXTS
        faulty.HashEncoder.encode = encode_and_check


class LossyLoader(SourceFileLoader):
    """Loads redis-py's connection, which loses replies: the server ran the command, and the caller does not know."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        lossy: Any = module
        read_response = lossy.AbstractConnection.read_response
        lost = Path(os.environ.get("JDQ_HOME", "/nonexistent"), "sick", "replies")

        def read_or_lose(self: Any, *arguments: Any, **options: Any) -> Any:
            response = read_response(self, *arguments, **options)
            if random.random() < LOST_REPLIES and lost.exists():
                self.disconnect()
                raise lossy.ConnectionError("a test lost the reply")
            return response

        lossy.AbstractConnection.read_response = read_or_lose


class SleepingLoader(SourceFileLoader):
    """Loads the work of a fine-tune, which only sleeps: a network takes longer to load than a test may."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        sleeping: Any = module

        def compute(self: Any, prepared: None, held: Any) -> int:
            checkpoint = self.context.runtime.job_files.folder(self.context.job) / "steps"
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.touch()
            while (done := checkpoint.stat().st_size) < STEPS:
                time.sleep(STEP_S)
                with suppress(OSError), checkpoint.open("ab") as file:  # the disk may be full
                    file.write(b".")
                held.report(step=done, steps=STEPS)
            return STEPS

        work = sleeping.FineTuneWork
        work.prepare, work.compute = lambda self: None, compute
        work.publish = lambda self, steps: sleeping.Outcome(result={"steps": steps})


class SteppedLoader(SourceFileLoader):
    """Loads the ledger's scripts, on a clock that a test can step."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        scripts: Any = module
        source = scripts._source

        def stepped(name: str) -> str:
            text: str = source(name)
            clock = "math.floor(time[2] / 1000)\n"
            assert clock in text
            return text.replace(clock, f"{clock}now = now + tonumber(redis.call('GET', 'test:clock-offset') or 0)\n", 1)

        scripts._source = stepped


class ListedGpuLoader(SourceFileLoader):
    """Loads a module whose checks of GPUs pass, for hosts whose GPUs are only listed (tests/fake_nvml)."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        vars(module).update(check_gpu_build=lambda: None, check_device=lambda device: None)


def loader_of(fullname: str) -> type[SourceFileLoader] | None:
    """The loader that changes this module here, if any."""
    loaders: dict[str, type[SourceFileLoader]] = {
        "jdq.worker.encoder.hashing": FaultyLoader,
        "jdq.worker.queue.scripts": SteppedLoader,
        "redis.connection": LossyLoader,
    }
    if os.environ.get("FINE_TUNES_SLEEP"):
        loaders["jdq.worker.jobs.fine_tune"] = SleepingLoader
    if fullname in loaders:
        return loaders[fullname]
    listed = os.environ.get("GPUS_ARE_LISTED")
    if listed and fullname == "jdq.worker.process.readiness":
        return ListedGpuLoader
    if listed == "sound" and fullname == "jdq.worker.encoder.self_test":
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
