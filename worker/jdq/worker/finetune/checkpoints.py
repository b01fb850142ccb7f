"""Checkpoints that a crash cannot make look whole.

The Trainer writes a checkpoint's files one by one at their final names. Here a seal is written last: the sizes of all
files, after each was flushed to disk. A checkpoint without its seal, or with a file of another size, is deleted.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from jdq.store.publish import sync

SEAL = "jdq-seal.json"
PREFIX = "checkpoint-"
# A pickle of the arguments that nothing here reads.
UNREAD = "training_args.bin"


def seal(checkpoint: Path, facts: Mapping[str, float]) -> None:
    """Flushes every file of the checkpoint and then says that it is whole; `facts` come back from `sealed_facts`."""
    (checkpoint / UNREAD).unlink(missing_ok=True)
    sizes = {}
    for path in sorted(checkpoint.iterdir()):
        if path.is_file() and path.name != SEAL:
            sync(path)
            sizes[path.name] = path.stat().st_size
    partial = checkpoint / (SEAL + ".partial")
    partial.write_text(json.dumps({"sizes": sizes, "facts": dict(facts)}), encoding="utf-8")
    sync(partial)
    partial.rename(checkpoint / SEAL)
    sync(checkpoint)
    sync(checkpoint.parent)


def sealed_facts(checkpoint: Path) -> dict[str, float]:
    """What was sealed with a whole checkpoint."""
    facts: dict[str, float] = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["facts"]
    return facts


def is_whole(checkpoint: Path) -> bool:
    """Whether the seal is there and every file has the size that it says."""
    try:
        sizes = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))["sizes"]
        return bool(sizes) and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return False


def last_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint; torn ones are deleted, so that the Trainer never takes one for its best."""
    if not folder.is_dir():
        return None
    whole = {}
    for checkpoint in folder.glob(PREFIX + "*"):
        step = checkpoint.name.removeprefix(PREFIX)
        if step.isdecimal() and is_whole(checkpoint):
            whole[int(step)] = checkpoint
        else:
            shutil.rmtree(checkpoint)
    return whole[max(whole)] if whole else None
