"""The files of the index: written where they save work, removed when another file covers them, never required."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from jdq.store.files.digests import digest_of
from jdq.store.spaces import segment
from jdq.store.spaces.segment import Segment

SUFFIX = ".keys"


class IndexCache:
    """The folder of a feature space's segments. It may be deleted at any time, and need not be writable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.read_only = False

    def segments(self, but: Collection[Path | None] = ()) -> list[Segment]:
        """All sound segments, except those in the files `but`; the longest first."""
        parts = (segment.read(path) for path in self.paths() if path not in but)
        return sorted((part for part in parts if part is not None), key=len, reverse=True)

    def write(self, parts: Sequence[Segment], alive: Collection[str]) -> Segment | None:
        """One segment of these parts, in a file; None where it cannot be written. Files that it covers are removed."""
        shards = {name for part in parts for name in part.shards if name in alive}
        path = self._folder / (digest_of("".join(sorted(shards)).encode()) + SUFFIX)
        with contextlib.suppress(OSError):
            if self.read_only:
                return None
            written = segment.write(path, parts, alive)
            for part in parts:
                # Only those with strictly fewer shards: then two processes never remove each other's files.
                if part.path is not None and shards > set(part.shards):
                    part.path.unlink()
            return written
        return None

    def clear(self) -> None:
        """Remove every segment's file."""
        for path in self.paths():
            with contextlib.suppress(OSError):
                path.unlink()

    def paths(self) -> Iterator[Path]:
        """The segments' files."""
        with contextlib.suppress(OSError):
            yield from sorted(path for path in self._folder.iterdir() if path.suffix == SUFFIX)
