"""The index's files: written when they save work, removed when another covers them, and never relied on."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from jdq.store.spaces import segment
from jdq.store.spaces.segment import Segment

SUFFIX = ".keys"


class IndexCache:
    """The folder of a feature space's segments. It may vanish at any moment, and may not be writable: both are fine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def segments(self, but: Collection[Path | None] = ()) -> list[Segment]:
        """All segments that can be read, but for those from the files `but`; the longest first."""
        found = (segment.read(path) for path in self._paths() if path not in but)
        return sorted((part for part in found if part is not None), key=len, reverse=True)

    def write(self, part: Segment) -> None:
        """Write the segment, and remove the files that say less."""
        shards = frozenset(part.shards)
        path = self._folder / (hashlib.blake2b("".join(sorted(shards)).encode(), digest_size=16).hexdigest() + SUFFIX)
        with contextlib.suppress(OSError):
            segment.write(part, path)
            # Only those that hold strictly less: two processes can then never remove each other's files.
            for other in self.segments(but={path}):
                if shards > frozenset(other.shards):
                    self.remove(other)

    def remove(self, part: Segment) -> None:
        """Remove the segment's file, if it has one."""
        if part.path is not None:
            with contextlib.suppress(OSError):
                part.path.unlink()

    def clear(self) -> None:
        """Remove every segment's file."""
        for path in self._paths():
            with contextlib.suppress(OSError):
                path.unlink()

    def _paths(self) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            yield from sorted(path for path in self._folder.iterdir() if path.suffix == SUFFIX)
