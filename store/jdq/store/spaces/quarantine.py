"""Removing published files: one process at a time per feature space, and only the file that was checked."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jdq.store.files.publish import make_folder, sync
from jdq.store.spaces.mapped_shard import Identity, current_identity


@contextmanager
def removal_lock(space: Path) -> Iterator[None]:
    """Held while shards of the feature space are removed. Readers, and writers of new shards, never wait for it.

    A name gets another file only by removal and a new publication. So under this lock, a name that still has the file
    that was checked keeps it until it is removed.
    """
    fd = os.open(space / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def quarantine(space: Path, shard: Path, identity: Identity | None) -> Path | None:
    """Move `shard` into the space's quarantine; None where it is gone, or is not the file of this `identity`."""
    folder = space / "quarantine"
    make_folder(folder)
    with removal_lock(space):
        if identity is None or current_identity(shard) != identity:
            return None
        target = folder / f"{shard.stem}.{secrets.token_hex(4)}.h5"
        shard.rename(target)
    sync(folder)
    sync(shard.parent)
    return target
