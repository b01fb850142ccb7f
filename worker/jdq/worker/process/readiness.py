"""What a worker needs before it takes work: a writable store and the machine-learning packages."""

import logging
import os
import runpy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import redis

from jdq.store.errors import StoreError
from jdq.store.store import open_store
from jdq.worker.config import Config
from jdq.worker.queue.connection import BrokerUnreachable, connect, server_warnings

log = logging.getLogger(__name__)


class NotReady(Exception):
    """The worker cannot work here; the message says why and names the next step."""


def check_gpu_build() -> None:
    """Raises NotReady if PyTorch was built for CPUs."""
    build = _torch_build()
    if build and build.get("cuda") is None and build.get("hip") is None:
        raise NotReady(
            f"this host has an NVIDIA GPU, but its PyTorch ({build['__version__']}) is built for CPUs\n"
            "  try: pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130\n"
            "  or, to compute on the CPU: JDQ_DEVICE=cpu"
        )


def is_rocm_build() -> bool:
    """Whether PyTorch was built for AMD's GPUs, which it calls cuda as well."""
    return _torch_build().get("hip") is not None


def _torch_build() -> dict[str, Any]:
    """What PyTorch was built for, from a file in its package, because importing it takes seconds; {} if missing."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    return runpy.run_path(str(Path(spec.origin).parent / "version.py"))


def check_readiness(config: Config) -> None:
    """Raises NotReady if the store cannot be opened or written, or if a package is missing."""
    missing = [name for name in ("torch", "transformers", "sklearn", "pynvml") if find_spec(name) is None]
    if missing:
        raise NotReady(f"a worker needs {', '.join(missing)}\n  try: pip install 'jdq[worker]'")
    store = config.store
    if store.is_dir() and not os.access(store, os.W_OK | os.X_OK):
        owner = store.stat()
        raise NotReady(
            f"the store {store} belongs to user {owner.st_uid}, group {owner.st_gid}; "
            f"this worker is user {os.getuid()} and may not write there\n  try: chown -R {os.getuid()} {store}"
        )
    try:
        open_store(store)
    except (StoreError, OSError) as error:
        raise NotReady(f"the store {store} cannot be used: {error}") from error


def check_server(config: Config) -> None:
    """Warns about a server that may lose jobs; raises NotReady for one that is too old. None is needed to start."""
    try:
        for warning in server_warnings(connect(config)):
            log.warning("%s", warning)
    except BrokerUnreachable as error:
        raise NotReady(str(error)) from None
    except redis.RedisError:
        return
