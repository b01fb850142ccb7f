"""Checkpoints that a crash cannot make look complete.

The Trainer writes a checkpoint's files one by one at their final names. Here a manifest is written last: the sizes and
digests of all files, after each was flushed to disk. A checkpoint without one, or with another file, is deleted.
"""

import shutil
from pathlib import Path

import msgspec

from jdq.store.files.digests import UnreadableFile, check_file, file_digest
from jdq.store.files.publish import replace, sync
from jdq.worker.finetune.flush import flush_files

MANIFEST = "jdq-seal.json"
PREFIX = "checkpoint-"
# A pickle of the arguments, which nothing here reads.
UNREAD = "training_args.bin"


class Elapsed(msgspec.Struct, frozen=True, kw_only=True):
    """How long training has taken up to a checkpoint. resumed: how often it continued from an earlier one."""

    training_time_s: float
    resumed: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a complete checkpoint holds: size in bytes and blake2b-128 of each file. Older ones have no digests."""

    sizes: dict[str, int]
    elapsed: Elapsed = msgspec.field(name="facts")
    digests: dict[str, str] = {}


def write_manifest(checkpoint: Path, elapsed: Elapsed) -> None:
    """Flushes every file of the checkpoint, then declares it complete."""
    (checkpoint / UNREAD).unlink(missing_ok=True)
    flush_files(checkpoint)
    sizes = {path.name: path.stat().st_size for path in sorted(checkpoint.iterdir()) if path.is_file()}
    sizes.pop(MANIFEST, None)
    digests = {name: file_digest(checkpoint / name) for name in sizes}
    replace(checkpoint / MANIFEST, msgspec.json.encode(Manifest(sizes=sizes, elapsed=elapsed, digests=digests)))
    sync(checkpoint.parent)


def read_manifest(checkpoint: Path) -> Manifest:
    """The manifest of a complete checkpoint. Raises OSError, MsgspecError."""
    # Not strict, because earlier versions wrote floats.
    return msgspec.json.decode((checkpoint / MANIFEST).read_bytes(), type=Manifest, strict=False)


def is_complete(checkpoint: Path) -> bool:
    """Whether there is a manifest and every file has the size and the digest that it names."""
    try:
        manifest = read_manifest(checkpoint)
        sound = all((checkpoint / name).stat().st_size == size for name, size in manifest.sizes.items())
        for name, digest in manifest.digests.items() if sound else ():
            check_file(checkpoint / name, digest)
        return sound and bool(manifest.sizes)
    except (OSError, msgspec.MsgspecError, UnreadableFile):
        return False


def last_complete(folder: Path) -> Path | None:
    """The newest complete checkpoint; others are deleted, so that the Trainer never takes one for its best."""
    if not folder.is_dir():
        return None
    complete = {}
    for checkpoint in folder.glob(PREFIX + "*"):
        step = checkpoint.name.removeprefix(PREFIX)
        if step.isdecimal() and is_complete(checkpoint):
            complete[int(step)] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return complete[max(complete)] if complete else None
