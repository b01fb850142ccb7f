"""The files of the index: written where they save work, removed when another file covers them, never required."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

from jdq.store.spaces import segment
from jdq.store.spaces.segment import Segment

SUFFIX = ".keys"


class IndexCache:
    """The folder of a feature space's segments. It may be deleted at any time, and need not be writable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def segments(self, but: Collection[Path | None] = ()) -> list[Segment]:
        """All segments that can be read, except those in the files `but`; the longest first."""
        parts = (segment.read(path) for path in self._paths() if path not in but)
        return sorted((part for part in parts if part is not None), key=len, reverse=True)

    def write(self, part: Segment) -> None:
        """Write the segment, and remove the files that it covers."""
        shards = frozenset(part.shards)
        path = self._folder / (hashlib.blake2b("".join(sorted(shards)).encode(), digest_size=16).hexdigest() + SUFFIX)
        with contextlib.suppress(OSError):
            segment.write(part, path)
            # Only those with strictly fewer shards: then two processes never remove each other's files.
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
