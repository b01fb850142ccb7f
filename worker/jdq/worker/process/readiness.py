"""What a worker needs before it takes work: a writable store and the machine-learning packages."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec

import redis

from jdq.store.errors import StoreError
from jdq.store.store import open_store
from jdq.worker.config import Config
from jdq.worker.queue.connection import BrokerUnreachable, connect, server_warnings

log = logging.getLogger(__name__)


class NotReady(Exception):
    """The worker cannot work here; the message says why and names the next step."""


def check_readiness(config: Config) -> None:
    """Raises NotReady if the store cannot be opened or written, or if a package is missing."""
    missing = [name for name in ("torch", "transformers", "sklearn") if find_spec(name) is None]
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
    """Warns of a server that may lose jobs; raises NotReady for one that is too old. One that is away is waited for."""
    try:
        for warning in server_warnings(connect(config)):
            log.warning("%s", warning)
    except BrokerUnreachable as error:
        raise NotReady(str(error)) from None
    except redis.RedisError:
        return
